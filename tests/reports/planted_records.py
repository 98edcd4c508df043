"""Record sets with a known right answer: what the first sentence says of each, and what not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from synthetic_records import Records, Rng, failing, way

Planted = Callable[[Rng], Records]
# records -> what the first sentence says, and what it does not
PLANTED: dict[Planted, tuple[tuple[str, ...], tuple[str, ...]]] = {}

UNTRAINED = dict.fromkeys(("accuracy", "test_accuracy", "loss_final", "loss_first"))
ALL = "of the fastest ways that learn as well as the best"


def says(*wanted: str, never: tuple[str, ...] = ()) -> Callable[[Planted], Planted]:
    def keep(planted: Planted) -> Planted:
        PLANTED[planted] = wanted, never
        return planted

    return keep


def at(records: Records, **config: Any) -> Records:
    """The records with these settings, which are part of their identity."""
    for built in records:
        built["config"] |= config
        name = f"{sum(repr(config).encode()):06d}"
        built["key"] = built["key"][: -len(name)] + name
    return records


def by_turns(records: Records, ratio: float) -> Records:
    """By turns with BPTT, processes one after another 1 % below that ratio, at it and above it."""
    for nth, built in enumerate(records):
        mine = ratio * (1 + 0.01 * (nth % 3 - 1) * (len(records) > 1))
        ends = {"time_vs_bptt_low": mine * 0.98, "time_vs_bptt_high": mine * 1.02}
        built["metrics"] |= {"time_vs_bptt": mine, **ends}
    return records


def contended(records: Records, told: bool = True) -> Records:
    for built in records:
        built["metrics"]["contended"] = int(told)
    return records


@says("start with d_rtrl, the fastest", never=("noise",))
def one_dominates(rng: Rng) -> Records:
    return [*way(rng, "bptt", 10, 40), *way(rng, "d_rtrl", 6, 20), *way(rng, "es_d_rtrl", 9, 30)]


@says("start with d_rtrl, the fastest", never=("noise",))
def one_dominates_with_one_process_each(rng: Rng) -> Records:
    return [*way(rng, "bptt", 10, 40, seeds=1), *way(rng, "d_rtrl", 5, 20, seeds=1)]


@says("start with d_rtrl, which needs the least memory", "; bptt is as fast within noise",
      never=("es_d_rtrl",))  # fmt: skip
def tie_within_noise(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 40, repeats=2), *way(rng, "d_rtrl", 5, 20, repeats=2),
            *way(rng, "es_d_rtrl", 9, 10, repeats=2)]  # fmt: skip


@says("start with d_rtrl, which needs the least memory", "; bptt is as fast within noise")
def bimodal_times_tie(rng: Rng) -> Records:
    made = [*way(rng, "bptt", 5, 40, repeats=3), *way(rng, "d_rtrl", 5, 20, repeats=3)]
    for built in made:
        built["metrics"]["step_time_ms"] *= 1.4 if rng.random() < 0.3 else 1.0
    return made


@says(f"start with bptt, which has the least approximate gradient {ALL}")
def one_seed_that_was_lucky(rng: Rng) -> Records:
    return [r for algo, accuracy in (("bptt", 0.9), ("d_rtrl", 0.95))
            for r in way(rng, algo, 5, 20, accuracy, seeds=1, spread=1e-4)]  # fmt: skip


@says(f"start with bptt, which has the least approximate gradient {ALL}",
      "; d_rtrl and es_d_rtrl are as fast within noise")  # fmt: skip
def equal_to_the_last_bit(rng: Rng) -> Records:
    return [r for algo in ("es_d_rtrl", "bptt", "d_rtrl")
            for r in way(rng, algo, 5, 20, noise=0, spread=0)]  # fmt: skip


@says("start with d_rtrl, which needs the least memory, then has the least approximate gradient "
      + ALL)  # fmt: skip
def memory_then_approximations(rng: Rng) -> Records:
    return [r for algo, mib in (("bptt", 40), ("d_rtrl", 20), ("es_d_rtrl", 20))
            for r in way(rng, algo, 5, mib, spread=0.001)]  # fmt: skip


@says("start with d_rtrl, the fastest of the ways that learn as well", never=("es_d_rtrl",))
def fast_but_did_not_learn(rng: Rng) -> Records:
    return [*way(rng, "es_d_rtrl", 1, 5, 0.101), *way(rng, "d_rtrl", 5, 20),
            *way(rng, "bptt", 9, 40)]  # fmt: skip


@says("start with d_rtrl", never=("start with bptt",))
def fast_with_one_seed_at_chance(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 40, 0.748, seeds=1, classes=2, n_test=256),
            *way(rng, "d_rtrl", 4, 20, 0.977, seeds=1, classes=2, n_test=256)]  # fmt: skip


@says("start with d_rtrl, the only way that learned as well as the best", never=("bptt",))
def faster_and_worse(rng: Rng) -> Records:
    return [*way(rng, "bptt", 2, 10, 0.748, classes=2),
            *way(rng, "d_rtrl", 4, 20, 0.977, classes=2)]  # fmt: skip


@says("start with d_rtrl, the fastest", "; the best is 0.95, not significantly better with 1 seed")
def one_seed_a_little_behind(rng: Rng) -> Records:
    return [*way(rng, "bptt", 9, 20, 0.95, seeds=1, spread=1e-4),
            *way(rng, "d_rtrl", 5, 20, 0.9, seeds=1, spread=1e-4)]  # fmt: skip


@says("start with bptt, the only way that learned as well as the best", never=("d_rtrl",))
def one_seed_far_behind(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 20, seeds=1), *way(rng, "d_rtrl", 1, 20, 0.4, seeds=1)]


@says("start with d_rtrl, the fastest of the ways that learn as well", never=("es_d_rtrl",))
def one_seed_beyond_what_its_test_data_leave_open(rng: Rng) -> Records:
    return [r for algo, ms, accuracy in (("bptt", 9, 1.0), ("d_rtrl", 5, 1.0),
                                         ("es_d_rtrl", 2, 0.87))
            for r in way(rng, algo, ms, 20, accuracy, seeds=1, spread=1e-4)]  # fmt: skip


@says("start with bptt, the only way that learned as well as the best", never=("d_rtrl",))
def worse_on_other_seeds(rng: Rng) -> Records:
    made = way(rng, "d_rtrl", 2, 20, 0.75, spread=0.005)
    for built in made:
        built["row"]["seed"] += 10
    return [*way(rng, "bptt", 5, 20, 0.9, spread=0.005), *made]


@says("No recommendation: nothing learned", never=("start with",))
def nothing_learned(rng: Rng) -> Records:
    return [r for a, ms, seeds in (("bptt", 9, 3), ("d_rtrl", 3, 1))
            for r in way(rng, a, ms, 20, 0.1, spread=0.005, seeds=seeds)]  # fmt: skip


@says("so their times say nothing; training is not healthy: never spikes. Try")
def nothing_learned_for_the_same_reason(rng: Rng) -> Records:
    return [r for algo in ("bptt", "d_rtrl") for r in way(rng, algo, 5, 20, 0.1,
                                                          health="never spikes")]  # fmt: skip


@says("No recommendation: nothing learned. For lif_net on hard", "start with d_rtrl, the",
      never=("start with bptt",))  # fmt: skip
def one_task_learned(rng: Rng) -> Records:
    return [r for algo, ms in (("bptt", 5), ("d_rtrl", 3))
            for task, accuracy in (("hard", 0.1), ("digits", 0.9))
            for r in way(rng, algo, ms, 20, accuracy, spread=0.003, task=task)]  # fmt: skip


@says("start with d_rtrl", never=("start with bptt",))
def d_rtrl_is_better_than_bptt(rng: Rng) -> Records:
    return [*way(rng, "bptt", 4, 10, 0.85, seeds=5), *way(rng, "d_rtrl", 6, 20, 0.95, seeds=5)]


@says("start with bptt, the only way that learned, as far as that was measured", never=("d_rtrl",))
def the_faster_has_no_accuracy(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 20), *way(rng, "d_rtrl", 2, 20, None)]


@says("was timed; d_rtrl needs", never=("start with", "bptt"))
def what_learned_was_not_timed(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 20, 0.1, spread=0.002),
            *way(rng, "d_rtrl", 2, 10, metrics={"step_time_ms": None})]  # fmt: skip


@says("start with bptt, the only way that learned", "final loss 0.4", never=("d_rtrl",))
def losses_alone(rng: Rng) -> Records:
    known = {"accuracy": None, "test_accuracy": None, "n_classes": None, "loss_first": 2.3}
    return [*way(rng, "bptt", 5, 20, metrics=known | {"loss_final": 0.4}),
            *way(rng, "d_rtrl", 3, 20, metrics=known | {"loss_final": 2.29})]  # fmt: skip


@says("start with d_rtrl", "1 run of 10 here ran out of memory")
def out_of_memory_in_some_repeats(rng: Rng) -> Records:
    return [*way(rng, "d_rtrl", 3, 20, repeats=3), *failing("oom", 1, algo="d_rtrl", seed=9),
            *way(rng, "bptt", 9, 40, repeats=3)]  # fmt: skip


@says("start with bptt", never=("start with d_rtrl",))
def out_of_memory_in_most_repeats(rng: Rng) -> Records:
    lost = failing("oom", 9, algo="d_rtrl", seed=9)
    return [*way(rng, "d_rtrl", 3, 20), *lost, *way(rng, "bptt", 9, 40)]


@says("H = 64", "start with bptt", "ran out of memory at H = 512")
def out_of_memory_at_the_largest(rng: Rng) -> Records:
    return [*way(rng, "bptt", 3, 20, n_hidden=64), *way(rng, "d_rtrl", 6, 30, n_hidden=64),
            *failing("oom", algo="bptt", n_hidden=512),
            *way(rng, "d_rtrl", 60, 300, n_hidden=512)]  # fmt: skip


@says("start with bptt", "; it ran out of time at H = 128 and H = 256.")
def out_of_time_at_two_sizes(rng: Rng) -> Records:
    lost = [r for h in (128, 256) for r in failing("timeout", algo="bptt", n_hidden=h)]
    ran = [r for h in (64, 128, 256) for r in way(rng, "d_rtrl", h, 20, n_hidden=h)]
    return [*ran, *lost, *way(rng, "bptt", 5, 20, n_hidden=64)]


@says("H = 512", "start with bptt, the fastest", never=("noise",))
def out_of_memory_where_most_was_tried(rng: Rng) -> Records:
    return [*way(rng, "bptt", 3, 20, n_hidden=64), *way(rng, "d_rtrl", 2, 30, n_hidden=64),
            *failing("oom", algo="d_rtrl", n_hidden=512), *way(rng, "bptt", 30, 200, n_hidden=512),
            *way(rng, "es_d_rtrl", 60, 100, n_hidden=512)]  # fmt: skip


@says("start with es_d_rtrl, the only way that ran")
def all_but_one_out_of_memory(rng: Rng) -> Records:
    return [*failing("oom", algo="bptt"), *failing("timeout", algo="d_rtrl"),
            *way(rng, "es_d_rtrl", 5, 9)]  # fmt: skip


@says("No answer: no cell got through", never=("start with",))
def all_failed(rng: Rng) -> Records:
    return [*failing("oom", algo="bptt"), *failing("crashed", algo="d_rtrl")]


@says("Only one way was measured", "9 runs of 12 here failed")
def most_of_the_only_way_failed(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 20), *failing("crashed", 9, algo="bptt", seed=9)]


@says("Only one way was measured", "nothing to compare", "d_rtrl", never=("start with",))
def one_way_only(rng: Rng) -> Records:
    return way(rng, "d_rtrl", 5, 20)


@says("Only one way was measured", "epochs = ", never=("start with",))
def unequal_epochs(rng: Rng) -> Records:
    return [*at(way(rng, "bptt", 3, 20, 0.6), epochs=2),
            *at(way(rng, "d_rtrl", 6, 20, 0.95), epochs=20)]  # fmt: skip


@says("dtype = float32 (cpu), start with bptt", "Only one way was measured", "dtype = float64",
      never=("start with d_rtrl",))  # fmt: skip
def double_precision_of_one(rng: Rng) -> Records:
    return [*at(way(rng, "bptt", 3, 20), dtype="float32"),
            *at(way(rng, "d_rtrl", 6, 20), dtype="float32"),
            *at(way(rng, "d_rtrl", 1, 20), dtype="float64")]  # fmt: skip


@says("on digits", "start with bptt, the fastest", "on copy_memory",
      "start with d_rtrl, the fastest")  # fmt: skip
def two_tasks(rng: Rng) -> Records:
    return [r for task, algo, ms, mib in (("digits", "bptt", 3, 20), ("digits", "d_rtrl", 6, 30),
                                          ("copy_memory", "bptt", 9, 90),
                                          ("copy_memory", "d_rtrl", 5, 30))
            for r in way(rng, algo, ms, mib, spread=0.002, task=task)]  # fmt: skip


@says("machine = machine-a", "machine = machine-b", "start with bptt, the fastest",
      never=("start with d_rtrl",))  # fmt: skip
def merged_machines(rng: Rng) -> Records:
    return [r for machine, slow in (("machine-a", 1), ("machine-b", 10))
            for algo, ms in (("bptt", 2), ("d_rtrl", 3))
            for r in way(rng, algo, ms * slow, 20, spread=0.002, fingerprint=machine)]  # fmt: skip


@says("Only one way was measured", never=("start with", "fastest"))
def one_way_on_each_machine(rng: Rng) -> Records:
    return [*way(rng, "bptt", 2, 20, fingerprint="machine-a"),
            *way(rng, "d_rtrl", 30, 20, fingerprint="machine-b")]  # fmt: skip


@says("with B = 16 (cpu), start with d_rtrl, the fastest")
def sizes_not_told(rng: Rng) -> Records:
    made = [*way(rng, "bptt", 5, 20, spread=0.002), *way(rng, "d_rtrl", 3, 20, spread=0.002)]
    for built in made:
        built["row"] |= {"n_hidden": None, "n_steps": None}
    return made


@says("start with d_rtrl, the fastest", never=("noise",))
def one_outlier_process(rng: Rng) -> Records:
    made = [*way(rng, "d_rtrl", 5, 20, repeats=2), *way(rng, "bptt", 7, 20, repeats=2)]
    made[0]["metrics"]["step_time_ms"] *= 5
    return made


@says("start with bptt, the fastest", never=("noise",))
def one_seed(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 20, 0.93, seeds=1, repeats=5),
            *way(rng, "d_rtrl", 9, 30, 0.95, seeds=1, repeats=5)]  # fmt: skip


@says("start with d_rtrl, the only way that learned as well as the best",
      "at learning rate 0.01")  # fmt: skip
def one_learning_rate_learns(rng: Rng) -> Records:
    return [r for lr, a, b in ((1e-4, 0.1, 0.1), (1e-3, 0.9, 0.1), (1e-2, 0.1, 0.97))
            for algo, ms, accuracy in (("bptt", 5, a), ("d_rtrl", 9, b))
            for r in at(way(rng, algo, ms, 20, accuracy, spread=0.003), lr=lr)]  # fmt: skip


@says("start with d_rtrl, the fastest", "at learning rate 0.001")
def other_learning_rates_diverged(rng: Rng) -> Records:
    return [r for lr, accuracy in ((1e-3, 0.9), (1.0, None))
            for algo, ms in (("bptt", 9), ("d_rtrl", 5))
            for r in at(way(rng, algo, ms, 20, accuracy, spread=0.003), lr=lr)]  # fmt: skip


@says("start with bptt, the only way that learned", never=("d_rtrl",))
def two_of_three_seeds_diverged(rng: Rng) -> Records:
    made = way(rng, "d_rtrl", 3, 20, spread=0.003)
    for built in made[1:]:
        built["health"] = "loss is not finite"
        built["metrics"] |= {"test_accuracy": 0.1, "accuracy": 0.1}
    return [*way(rng, "bptt", 5, 20, spread=0.003), *made]


@says("start with d_rtrl, the fastest of the ways that learn as well", "final loss 0.201")
def losses_of_which_guessing_is_unknown(rng: Rng) -> Records:
    none = ("accuracy", "test_accuracy", "n_classes", "guess_loss", "loss_first")
    return [r for algo, ms, loss in (("bptt", 5, 0.2), ("d_rtrl", 2, 0.201))
            for r in way(rng, algo, ms, 20,
                         metrics=dict.fromkeys(none) | {"loss_final": loss})]  # fmt: skip


@says("start with bptt", never=("d_rtrl",))
def not_healthy(rng: Rng) -> Records:
    return [*way(rng, "d_rtrl", 3, 10, health="layer 0 never spikes"), *way(rng, "bptt", 9, 40)]


@says("start with d_rtrl, for want of a sound way", "not healthy: dead", never=("fastest",))
def all_sick(rng: Rng) -> Records:
    return [*way(rng, "bptt", 5, 20, health="silent"), *way(rng, "d_rtrl", 3, 20, health="dead")]


@says("start with bptt · vmap, the fastest")
def batching_differs_by_rounding(rng: Rng) -> Records:
    return [*way(rng, "bptt", 9, 20, 0.90, batching="manual"),
            *way(rng, "bptt", 5, 20, 0.91, batching="vmap"),
            *way(rng, "d_rtrl", 9, 20, 0.92, batching="manual"),
            *way(rng, "d_rtrl", 9, 20, 0.90, batching="vmap")]  # fmt: skip


@says("start with d_rtrl, the fastest of the ways with a gradient cosine of 0.95 or more",
      "gradient cosine 0.97", never=("es_d_rtrl",))  # fmt: skip
def nothing_trained(rng: Rng) -> Records:
    return [
        r
        for algo, ms, cosine in (("bptt", 9, 1.0), ("d_rtrl", 6, 0.97), ("es_d_rtrl", 2, 0.6))
        for r in way(rng, algo, ms, 20, None, metrics=UNTRAINED | {"grad_cosine": cosine})
    ]


@says("start with es_d_rtrl, the fastest:", never=("cosine",))
def no_gradient_is_close(rng: Rng) -> Records:
    return [
        r
        for algo, ms, cosine in (("d_rtrl", 5, 0.5), ("es_d_rtrl", 3, 0.4))
        for r in way(rng, algo, ms, 20, None, metrics=UNTRAINED | {"grad_cosine": cosine})
    ]


@says("start with es_d_rtrl, the fastest", never=("cosine",))
def a_poor_cosine_that_learns(rng: Rng) -> Records:
    return [*way(rng, "bptt", 9, 20), *way(rng, "es_d_rtrl", 4, 10, metrics={"grad_cosine": 0.3})]
