"""Many more random models than the tests run, none of which may be off; and how long one takes.

`python -m tests.core.fuzz --models 1000 --seed 0` runs as many as wanted.
"""

from __future__ import annotations

import itertools
from typing import Any

import brainstate
import brainunit as u
import jax

from tests.core.fuzz.check import check, report
from tests.core.fuzz.generate import random_net
from tests.core.fuzz.plan import plans

N_MODELS, FIRST = 150, 10_000


def test_random_models(benchmark: Any) -> None:
    seeds = itertools.count(FIRST)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)

    def one() -> None:
        seed = next(seeds)
        net = random_net(seed)
        for plan in plans(net, seed):
            outcome = check(net, plan)
            assert outcome.kind in ("ok", "refused"), report(net, plan, outcome)

    try:
        with jax.enable_x64(True), brainstate.environ.context(precision=64, dt=1.0 * u.ms):
            benchmark.pedantic(one, rounds=N_MODELS)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    assert next(seeds) == FIRST + N_MODELS
