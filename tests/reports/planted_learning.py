"""Record sets with a known right answer in which what was learned decides: see planted_records."""

from __future__ import annotations

import numpy as np
from planted_records import says
from synthetic_records import Records, Rng, way

UNSCORED = dict.fromkeys(("accuracy", "test_accuracy", "n_classes", "guess_loss"))


def losses(rng: Rng, algo: str, ms: float, loss: float, seeds: int = 4) -> Records:
    """A way of which only losses are known, 0.5 before training."""
    made = way(rng, algo, ms, 20, seeds=seeds, metrics=UNSCORED | {"loss_first": 0.5})
    for built in made:
        built["metrics"]["loss_final"] = loss + 0.005 * rng.standard_normal()
    return made


@says("start with bptt, the only way that learned as well as the best",
      never=("es_d_rtrl", "d_rtrl"))  # fmt: skip
def a_third_way_that_diverged_hides_no_difference(rng: Rng) -> Records:
    flaky = way(rng, "d_rtrl", 4, 20, 0.94, spread=0.004, seeds=5)
    flaky[3]["metrics"]["test_accuracy"] = 0.1
    return [*way(rng, "bptt", 5, 20, 0.95, spread=0.004, seeds=5), *flaky,
            *way(rng, "es_d_rtrl", 3, 20, 0.85, spread=0.004, seeds=5)]  # fmt: skip


@says("start with bptt, the fastest of the ways that learn as well as the best", never=("d_rtrl,",))
def one_lucky_seed_on_top_hides_no_difference(rng: Rng) -> Records:
    lucky = way(rng, "es_d_rtrl", 9, 20, 0.93, spread=0, seeds=1)
    return [*way(rng, "bptt", 5, 20, 0.9, spread=0.005, seeds=5), *lucky,
            *way(rng, "d_rtrl", 3, 20, 0.86, spread=0.005, seeds=5)]  # fmt: skip


@says("start with d_rtrl, the fastest", "; on 1 of 5 seeds it is no better than guessing")
def one_seed_of_each_way_guesses(rng: Rng) -> Records:
    ways = (("bptt", 5), ("d_rtrl", 4))
    made = [way(rng, algo, ms, 20, spread=0.004, seeds=5) for algo, ms in ways]
    for some in made:
        some[2]["metrics"]["test_accuracy"] = 0.1
    return [built for some in made for built in some]


@says("start with d_rtrl, the fastest of the ways that learn as well", "final loss -3.19",
      never=("es_d_rtrl",))  # fmt: skip
def losses_below_zero(rng: Rng) -> Records:
    return [*losses(rng, "bptt", 5, -3.2), *losses(rng, "d_rtrl", 4, -3.19),
            *losses(rng, "es_d_rtrl", 2, 0.5)]  # fmt: skip


@says("start with d_rtrl, which learns best of the fastest ways", "bptt is as fast within noise")
def losses_below_zero_decide_among_equally_fast(rng: Rng) -> Records:
    return [*losses(rng, "bptt", 5, -2.9, seeds=2), *losses(rng, "d_rtrl", 5, -3.2, seeds=2)]


@says("start with bptt, the only way that learned as well as the best", never=("d_rtrl",))
def a_loss_that_is_no_number_on_one_seed(rng: Rng) -> Records:
    made = losses(rng, "d_rtrl", 4, 0.1)
    made[2]["metrics"]["loss_final"] = None
    return [*losses(rng, "bptt", 5, 0.1), *made]


@says("start with bptt, the only way that learned as well as the best", never=("d_rtrl",))
def losses_a_factor_apart(rng: Rng) -> Records:
    """As differences the larger losses hide theirs from the smaller."""
    made = [*losses(rng, "bptt", 5, 0, seeds=5), *losses(rng, "d_rtrl", 4, 0, seeds=5)]
    for built in made:
        centre = 1e-4 if built["row"]["algo"] == "bptt" else 1e-2
        built["metrics"]["loss_final"] = centre * float(np.exp(rng.uniform(-1, 1)))
    return made


@says("start with bptt, the only way that learned as well as the best", never=("d_rtrl",))
def small_losses_but_for_a_seed_that_guesses(rng: Rng) -> Records:
    made = losses(rng, "d_rtrl", 4, 0, seeds=5)
    for built, loss in zip(made, (1e-4, 1e-4, 0.5, 1e-4, 1e-4), strict=True):
        built["metrics"]["loss_final"] = loss
    return [*losses(rng, "bptt", 5, 0.05, seeds=5), *made]


@says(
    "start with d_rtrl, the fastest",
    "; the best is 0.93, significantly better (p < 0.001), but by less than 2 points",
)
def better_beyond_chance_and_by_little(rng: Rng) -> Records:
    made = [r for algo, ms in (("bptt", 5), ("d_rtrl", 4)) for r in way(rng, algo, ms, 20, seeds=8)]
    for built in made:
        best = built["row"]["algo"] == "bptt"
        built["metrics"]["test_accuracy"] = (0.93 if best else 0.915) + 1e-4 * built["row"]["seed"]
    return made


@says("start with bptt, the only way that learned:", never=("d_rtrl",))
def the_most_frequent_class_alone(rng: Rng) -> Records:
    known = {"guess_accuracy": 0.667}
    return [r for algo, ms, accuracy in (("bptt", 9, 0.9), ("d_rtrl", 3, 0.665))
            for r in way(rng, algo, ms, 20, accuracy, spread=0.004, classes=2, n_test=114,
                         metrics=known)]  # fmt: skip
