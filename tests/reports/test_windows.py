"""Memory against length is judged from cells that carry their traces, and from no others."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_records import Records, record, study

from reports.claims import answer_all
from reports.claims.base import Finding
from reports.laws import Law, laws
from reports.study import Study
from reports.verdict import answer
from reports.windows import not_carried, windows


def lengths(
    memory: list[tuple[int, float]], window: Any, steps: int | None = None, algo: str = "d_rtrl"
) -> Records:
    return [
        record(algo, n_steps=t, algo_config={"window": window}, metrics={
            "memory_temp_mib": mib, "memory_xla_mib": mib, "memory_peak_mib": mib,
            "window_steps": None if steps is None else min(steps, t)})
        for t, mib in memory
    ]  # fmt: skip


STEEP = [(16, 1.0), (64, 4.0), (256, 16.0)]
LEVEL = [(128, 8.0), (256, 8.0), (512, 8.0)]


def flat(made: Study) -> Finding:
    return next(a.finding for a in answer_all(made) if a.claim.id == "flat-in-time")


def growth_in_time(made: Study) -> Law:
    return next(x for x in laws(made) if (x.metric, x.axis) == ("memory_temp_mib", "n_steps"))


@pytest.mark.parametrize(
    ("window", "steps", "words"),
    [("auto", 4096, "sequences of up to 256 steps fit one window here (algo.window=auto)"),
     ("sequence", None, "sequences of up to 256 steps fit one window here (algo.window=sequence)"),
     ("auto", None, "these records do not tell how many steps a window of algo.window=auto had")],
)  # fmt: skip
def test_where_a_window_covers_the_sequence_growth_is_not_tested(
    window: str, steps: int | None, words: str
) -> None:
    made = study(lengths(STEEP, window, steps))
    found = flat(made)
    assert found.verdict == "not tested here"
    assert words in found.figure
    law = growth_in_time(made)
    assert law.theory is None
    assert words in law.untested
    told = answer(made)
    assert told is not None
    assert not any("grow 4×" in s for s in told.sentences)
    assert any(words in s and "under d_rtrl" in s for s in told.sentences)


def test_lengths_beyond_the_window_are_judged_without_those_inside_it() -> None:
    made = study(lengths([*STEEP[:2], *LEVEL], "auto", 64))
    found = flat(made)
    assert found.verdict == "holds"
    assert "from T = 256 to 512" in found.figure
    law = growth_in_time(made)
    assert (law.theory, law.law.points, law.untested) == (0.0, 3, "")


def test_a_window_of_one_step_that_still_grows_speaks_against_the_claim() -> None:
    assert flat(study(lengths(STEEP, 1))).verdict == "does not hold"


def test_bptt_has_no_windows_to_be_asked_about() -> None:
    made = study([record("bptt", n_steps=t) for t in (8, 16, 32)])
    assert windows(made, made.cells)["carried"].all()
    assert not_carried(made, made.cells) == ""


def test_the_option_is_the_cores_alone() -> None:
    made = study([record("d_rtrl", backend="peer", algo_config={"window": "auto"})])
    assert windows(made, made.cells)["carried"].all()


def test_what_one_window_hides_is_said_beside_what_is_judged() -> None:
    found = flat(study([*lengths(LEVEL, 1), *lengths(STEEP, "auto", 999, "es_d_rtrl")]))
    assert found.verdict == "holds"
    assert "es_d_rtrl is not tested: sequences of up to 256 steps fit one window" in found.figure


def test_a_single_length_is_not_said_to_lack_carried_traces() -> None:
    found = flat(study(lengths(STEEP[:1], "auto", 999)))
    assert found.figure.endswith("with everything else equal.")
