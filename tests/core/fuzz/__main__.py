"""Run many random models: `python -m tests.core.fuzz --models 1000 --seed 0`, with D-RTRL,
ES-D-RTRL, BPTT and RTRL; with `--rules` the others, every second model of leaky integrators.

Status 0 when every number was right and every refusal has a reason in the model's structure.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import Counter

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import brainstate
import brainunit as u
import jax

from .check import check, report
from .generate import random_net
from .plan import plans, rule_plans
from .shrink import shrunk


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.core.fuzz", description=__doc__)
    parser.add_argument("--models", type=int, default=100, help="how many random models")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the next have the next")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--ways", type=int, default=2, help="how many ways to run each, up to 4")
    parser.add_argument("--plan", type=int, help="only this one of each model's ways to be run")
    parser.add_argument("--show", action="store_true", help="print failing models, made smaller")
    parser.add_argument("--rules", action="store_true", help="the rules beside D-RTRL")
    options = parser.parse_args()

    warnings.filterwarnings("ignore")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    begin, counts, refusals, models = time.monotonic(), Counter[str](), Counter[str](), 0
    with brainstate.environ.context(precision=64, dt=1.0 * u.ms):
        for seed in range(options.seed, options.seed + options.models):
            if time.monotonic() - begin > 60 * options.minutes:
                break
            net, models = random_net(seed, options.rules and bool(seed % 2)), models + 1
            ways = rule_plans if options.rules else plans
            for k, plan in enumerate(ways(net, seed, options.ways)):
                if options.plan not in (None, k):
                    continue
                outcome = check(net, plan)
                counts[outcome.kind] += 1
                if outcome.kind.startswith("refused"):
                    refusals[outcome.words] += 1
                if outcome.kind not in ("ok", "refused"):
                    print(
                        f"{outcome.kind}: --seed {seed} --plan {k}: {plan}\n   {outcome.words}",
                        flush=True,
                    )
                    if options.show:
                        small, smaller, last = shrunk(net, plan, outcome)
                        print(report(small, smaller, last), flush=True)
            if models % 20 == 0:
                jax.clear_caches()
    print(f"{models} models, {dict(counts)}, {time.monotonic() - begin:.0f} s")
    for words, n in refusals.most_common():
        print(f"{n:6d} refused: {words}")
    return 0 if set(counts) <= {"ok", "refused"} else 1


if __name__ == "__main__":
    sys.exit(main())
