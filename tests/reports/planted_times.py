"""Record sets with a known right answer in which times decide, or must not: see planted_records."""

from __future__ import annotations

import numpy as np
from planted_records import ALL, at, by_turns, contended, says
from synthetic_records import Records, Rng, way


@says("start with d_rtrl, which needs the least memory", "; bptt is as fast within noise:",
      never=("es_d_rtrl",))  # fmt: skip
def within_noise_of_the_recommended_and_slower_than_the_fastest(_: Rng) -> Records:
    rng, made = np.random.default_rng(0), []
    for algo, ms, mib in (("bptt", 10, 40), ("d_rtrl", 10.7, 20), ("es_d_rtrl", 11.5, 30)):
        made += way(rng, algo, ms, mib, noise=0, spread=0.003, seeds=4)
        for nth, built in enumerate(made[-4:]):
            built["metrics"]["step_time_ms"] *= 1 + 0.024 * (nth - 1.5)
    return made


@says("start with bptt, the only timed way that learned", never=("fastest", "as well"))
def what_learned_as_well_was_not_timed(rng: Rng) -> Records:
    untimed = way(rng, "d_rtrl", 2, 10, metrics={"step_time_ms": None})
    return [*way(rng, "bptt", 5, 20), *untimed, *way(rng, "es_d_rtrl", 2, 10, 0.1, spread=0.002)]


@says("start with d_rtrl, the fastest", never=("contention",))
def the_process_saw_no_contention(rng: Rng) -> Records:
    made = contended([*way(rng, "bptt", 5, 20), *way(rng, "d_rtrl", 2, 30)], told=False)
    for built in made:
        built["provenance"]["load_before"] = 9.0
    return made


@says("start with bptt, which needs the least memory", "d_rtrl may be as fast", "contention",
      never=("fastest", "slower"))  # fmt: skip
def the_process_saw_contention(rng: Rng) -> Records:
    return contended([*way(rng, "bptt", 5, 20, seeds=1), *way(rng, "d_rtrl", 2, 30, seeds=1)])


@says("start with d_rtrl, the fastest", ": 0.6 (0.585 to 0.615) × the time of BPTT,",
      never=("ms per", "may be"))  # fmt: skip
def faster_by_turns_of_one_thread_on_a_busy_machine(rng: Rng) -> Records:
    made = [*way(rng, "bptt", 5, 20, noise=0.5),
            *by_turns(way(rng, "d_rtrl", 5, 30, noise=0.5), 0.6)]  # fmt: skip
    return contended(at(made, threads=1))


@says("start with bptt, which needs the least memory", "d_rtrl may be as fast", "contention",
      never=("fastest", "slower", "faster", "×"))  # fmt: skip
def by_turns_of_several_threads_on_a_busy_machine(rng: Rng) -> Records:
    return contended([*way(rng, "bptt", 5, 20), *by_turns(way(rng, "d_rtrl", 5, 30), 0.8)])


@says("start with d_rtrl, which needs the least memory", "es_d_rtrl may be as fast",
      never=("bptt", "slower"))  # fmt: skip
def by_turns_of_which_some_were_disturbed(rng: Rng) -> Records:
    return [*contended(way(rng, "bptt", 5, 10)), *by_turns(way(rng, "d_rtrl", 4, 20), 0.75),
            *contended(by_turns(way(rng, "es_d_rtrl", 3, 30), 0.6))]  # fmt: skip


@says("start with d_rtrl, the fastest", ": 0.7 × the time of BPTT in one process,",
      never=("may be",))  # fmt: skip
def by_turns_of_the_processes_that_were_calm(rng: Rng) -> Records:
    calm = by_turns(way(rng, "d_rtrl", 5, 30, seeds=1), 0.7)
    disturbed = contended(by_turns(way(rng, "d_rtrl", 5, 30, seeds=4)[1:], 1.1))
    return [*way(rng, "bptt", 7, 20, noise=0.5), *calm, *disturbed]


@says(f"start with bptt, which needs the least memory {ALL}; d_rtrl is as fast within noise",
      never=("may be",))  # fmt: skip
def as_fast_by_turns(rng: Rng) -> Records:
    made = [*way(rng, "bptt", 5, 20, noise=0.5),
            *by_turns(way(rng, "d_rtrl", 5, 30, noise=0.5), 1.01)]  # fmt: skip
    return contended(at(made, threads=1))


@says("start with bptt, which needs the least memory", "; d_rtrl is as fast within noise")
def one_process_may_have_met_the_faster_speed(rng: Rng) -> Records:
    """It is sure of itself, and another process of such a program said 1.05."""
    bptt, other = way(rng, "bptt", 5, 10, seeds=1), way(rng, "d_rtrl", 4.2, 20, seeds=1)
    return at([*bptt, *by_turns(other, 0.86)], threads=1)
