"""pytest-benchmark suites of the core's hot paths; run by `make benchmarks`.

Compare with an earlier run by `--benchmark-compare --benchmark-compare-fail=median:10%`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import pytest

from tests.benchmarks.core_speed import ALGORITHMS
from tests.benchmarks.networks import CASES, ours

SMALL = [name for name in CASES if "512" not in name]


@pytest.mark.parametrize("batching", ["manual", "vmap"])
@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
@pytest.mark.parametrize("case", SMALL)
def test_gradient_of_a_sequence(benchmark: Any, case: str, algorithm: str, batching: str) -> None:
    xs, labels = CASES[case].data()
    make = partial(ALGORITHMS[algorithm], case=CASES[case])
    run = ours(CASES[case], make, batching)
    jax.block_until_ready(run(xs, labels))
    grads = benchmark(lambda: jax.block_until_ready(run(xs, labels)))
    norms = [float(abs(leaf).max()) for leaf in jax.tree.leaves(grads)]
    assert norms
    assert max(norms) > 0, "a benchmark that trains nothing"
