"""What tests compile and do not time is kept for the next test, worker and run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Settings of jax, here and, in capitals, in the environment of a process.
KEPT = {
    "jax_enable_compilation_cache": True,
    "jax_compilation_cache_dir": os.environ["ETRACE_BENCH_COMPILATION_CACHE"],
    "jax_persistent_cache_min_compile_time_secs": 0,
}
ENVIRONMENT = {name.upper(): str(value) for name, value in KEPT.items()}


@contextmanager
def kept_programs() -> Iterator[None]:
    """What is compiled in this process meanwhile is kept."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    before = {name: jax.config.values[name] for name in KEPT}

    def set_to(values: dict[str, object]) -> None:
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # whether it is used is decided once

    set_to(KEPT)
    try:
        yield
    finally:
        set_to(before)
