"""Every test of the core runs in float64 with steps of 1 ms, and keeps what it compiles."""

from __future__ import annotations

from collections.abc import Iterator

import brainstate
import brainunit as u
import jax
import pytest

from tests.kept import kept_programs


@pytest.fixture(autouse=True, scope="module")
def float64_and_kept_programs() -> Iterator[None]:
    wide = brainstate.environ.context(precision=64, dt=1.0 * u.ms)
    with kept_programs(), jax.enable_x64(True), wide:
        yield
