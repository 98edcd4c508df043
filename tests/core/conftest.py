"""Every test of the core runs in float64 with steps of 1 ms, and keeps what it compiles."""

from __future__ import annotations

import os
from collections.abc import Iterator

import brainstate
import brainunit as u
import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

# Programs are kept for the next test, worker and run.
KEPT = {
    "jax_enable_compilation_cache": True,
    "jax_compilation_cache_dir": os.environ["ETRACE_BENCH_COMPILATION_CACHE"],
    "jax_persistent_cache_min_compile_time_secs": 0,
}


@pytest.fixture(autouse=True, scope="module")
def float64_and_kept_programs() -> Iterator[None]:
    before = {name: jax.config.values[name] for name in KEPT}

    def set_to(values: dict[str, object]) -> None:
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # whether it is used is decided once

    set_to(KEPT)
    try:
        with jax.enable_x64(True), brainstate.environ.context(precision=64, dt=1.0 * u.ms):
            yield
    finally:
        set_to(before)
