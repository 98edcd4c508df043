"""Every test of the core runs in float64 with steps of 1 ms, and compiles as quickly as XLA can."""

from __future__ import annotations

from collections.abc import Iterator

import brainstate
import brainunit as u
import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def float64_and_quick_compilation() -> Iterator[None]:
    """Compilation is most of what these tests cost; XLA without its slow passes halves it."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with jax.enable_x64(True), brainstate.environ.context(precision=64, dt=1.0 * u.ms):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
