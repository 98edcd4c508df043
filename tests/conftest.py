"""What every test shares: JAX on the CPU, and the programs that were compiled before.

Set before any test module imports jax, because jax reads these once.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compilation is most of what the tests cost: without its slow passes, and without the emitter that
# is the slowest of them, it takes a quarter of that, and a fifth less where a small program is not
# split into 32 parts to be compiled side by side (flags of this jaxlib alone). Timed suites time
# what users run.
if not any("benchmarks" in word for word in sys.argv):
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    if version("jaxlib").startswith("0.10."):
        quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick}".strip()
# Often the same programs are compiled. Cells keep them, by what they compute and XLA's version and
# flags; so do tests by tests/kept.py. `make clean` forgets.
COMPILED = Path(__file__).resolve().parents[1] / "build" / "compiled"
os.environ.setdefault("ETRACE_BENCH_COMPILATION_CACHE", str(COMPILED))
# Elsewhere a kept program would hide what a test says about compilation.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

# What tracing leaves behind is freed at once but for few cycles. To look for these among all that
# jax has loaded, as often as Python does, takes 7 % of the time.
gc.set_threshold(50_000, 10, 10)

# Files whose tests share sweeps. A worker of xdist that has nothing left takes from the end of
# another's list: at its beginning no file is torn in two, and no sweep run twice.
SHARING = {"test_cells", "test_clusters", "test_learning", "test_plan", "test_plugins_page"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in SHARING)


def pytest_collection_finish() -> None:
    gc.freeze()
