"""The gate with a clock: what it calls, what it leaves to a duel, what it says it could see."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.compare.pairing import Cell, prepared
from reports.compare.result import Line
from reports.compare.times import time_lines

TIME, RATIO = "step_time_ms", "time_vs_bptt"


def processes(columns: dict[str, Any]) -> pd.DataFrame:
    """Processes with these columns, on one machine."""
    known = {"key": "", "health": "", "env.fingerprint": "a", "cell": "cell", "side": 0}
    return prepared(pd.DataFrame(known | columns))


def cells_of(times: list[tuple[np.ndarray, np.ndarray]]) -> list[Cell]:
    """Cells whose processes took these times."""
    each = [side for pair in times for side in pair]
    rows, ends = processes({TIME: np.concatenate(each)}), np.cumsum([0, *map(len, each)])
    parts = [rows.iloc[a:b] for a, b in pairwise(ends)]
    return [Cell(f"cell {i}", *parts[2 * i : 2 * i + 2]) for i in range(len(times))]


def test_equal_sweeps_in_moods_of_their_own_raise_no_alarm() -> None:
    """Processes spread by 5 %, a drift of 3 % between the two sweeps, three cells each."""
    rng = np.random.default_rng(0)
    alarms = undecided = 0
    for _ in range(200):
        drift = 0.03 * rng.standard_normal()
        times = [tuple(np.exp(0.05 * rng.standard_normal((2, 8)) + [[0], [drift]]))
                 for _ in range(3)]  # fmt: skip
        lines = time_lines(cells_of(times), TIME, bar=0.05)
        alarms += any(line.alarm for line in lines)
        undecided += sum(line.verdict == "cannot tell" for line in lines)
    assert alarms <= 2
    assert undecided > 0


def test_three_processes_that_happen_to_agree_are_no_quiet_machine() -> None:
    """Two modes, a third apart: in each cell a side may by chance be all of one of them."""
    low, high = np.array([1.0, 1.001, 0.999]), np.array([1.3, 1.301, 1.299])
    mixed = np.array([1.0, 1.3, 1.0])
    (unlucky, *_) = time_lines(cells_of([(low, high)] + [(mixed, mixed)] * 5), TIME, bar=0.05)
    assert unlucky.verdict == "cannot tell"
    (alone,) = time_lines(cells_of([(low, high)]), TIME, bar=0.05)
    assert alone.verdict == "worse"


@pytest.mark.parametrize(("repeats", "cells", "factor"), [(3, 1, 1.25), (3, 1, 10), (5, 12, 1.3)])
def test_few_processes_can_raise_an_alarm(repeats: int, cells: int, factor: float) -> None:
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(40):
        times = [tuple(np.exp(0.02 * rng.standard_normal((2, repeats)))) for _ in range(cells)]
        times[0] = (times[0][0], times[0][1] * factor)
        first, *others = time_lines(cells_of(times), TIME, bar=0.05)
        found += first.verdict == "worse"
        assert not any(line.alarm for line in others)
    assert found >= 38


def test_what_it_could_have_seen_is_seen_in_eighty_of_a_hundred() -> None:
    rng = np.random.default_rng(7)
    seen = draws = 0
    for _ in range(40):
        times = [tuple(np.exp(0.06 * rng.standard_normal((2, 5)))) for _ in range(4)]
        (line, *_) = time_lines(cells_of(times), TIME, bar=0.05)
        for _ in range(5):
            base, head = np.exp(0.06 * rng.standard_normal((2, 5)))
            again = [(base, head * (1 + line.detectable)), *times[1:]]
            seen += time_lines(cells_of(again), TIME, bar=0.05)[0].verdict == "worse"
            draws += 1
    assert 0.7 <= seen / draws <= 0.95


def test_a_change_that_moods_make_is_left_to_a_duel() -> None:
    rng = np.random.default_rng(8)
    base, head = np.exp(0.01 * rng.standard_normal((2, 8)))
    (line,) = time_lines(cells_of([(base, 1.1 * head)]), TIME, bar=0.05)
    assert line.verdict == "cannot tell"
    assert line.note == "two sweeps differ by up to 15% without a change; a duel can tell"


def test_a_change_that_all_cells_share_takes_more() -> None:
    rng = np.random.default_rng(9)
    times = [tuple(np.exp(0.01 * rng.standard_normal((2, 5)))) for _ in range(4)]
    moved = [(base, 1.2 * head) for base, head in times]
    lines = time_lines(cells_of(moved), TIME, bar=0.05)
    assert {line.verdict for line in lines} == {"cannot tell"}
    assert "what ran beside it changed as well" in lines[0].note
    verdicts = [line.verdict for line in time_lines(cells_of([moved[0], *times[1:]]), TIME, 0.05)]
    assert verdicts == ["worse", "same", "same", "same"]
    doubled = [(base, 2 * head) for base, head in times]
    assert all(line.alarm for line in time_lines(cells_of(doubled), TIME, bar=0.05))


def sides(base: dict[str, Any], head: dict[str, Any]) -> list[Line]:
    """The lines of one cell with these columns."""
    return told(Cell("cell", processes(base), processes(head)))


def told(cell: Cell) -> list[Line]:
    return [line for metric in (TIME, RATIO) for line in time_lines([cell], metric, bar=0.05)]


STEADY, SLOWER = [1.0, 1.01, 1.02, 1.0], [1.5, 1.51, 1.52, 1.5]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_time_that_is_not_finite_in_head_alone_is_a_regression(bad: float | None) -> None:
    (line,) = sides({TIME: STEADY}, {TIME: pd.Series([*STEADY[:3], bad], dtype=float)})
    assert line.verdict == "worse"
    assert line.note == "not finite or not recorded in 1 of 4 processes of head"


def test_times_that_are_not_finite_on_both_sides_are_named_and_the_others_judged() -> None:
    holes = [*STEADY[:3], float("nan")]
    (line,) = sides({TIME: holes}, {TIME: holes})
    assert line.verdict == "same"
    assert line.note == ("not finite or not recorded in 1 of 4 processes of base and "
                         "1 of 4 processes of head")  # fmt: skip
    none = {TIME: [float("nan")] * 3}
    asked = none | {"cfg.metric.timing.budget_s": 1.0}
    (line,) = sides(asked, asked)
    assert (line.verdict, line.alarm) == ("cannot tell", False)
    assert line.note == "not finite or not recorded in any process of either side"
    assert sides(none, none) == []


@pytest.mark.parametrize("busy", [[1.0] * 4, [True] * 4, [0, 0, 1, 1]])
def test_a_time_under_contention_is_not_called_slower(busy: list[float]) -> None:
    (line,) = sides({TIME: STEADY, "contended": [0] * 4}, {TIME: SLOWER, "contended": busy})
    assert line.verdict == "cannot tell"
    assert line.note == "contended: other programs ran beside them; a duel can tell"


def test_contended_processes_are_left_out_where_enough_others_are_there() -> None:
    (line,) = sides({TIME: STEADY, "contended": float("nan")},
                    {TIME: [*SLOWER[:3], 99.0], "contended": [0, 0, 0, 1]})  # fmt: skip
    assert line.verdict == "worse"
    assert line.note == "1 contended process left out"
    assert line.high is not None
    assert line.high < 1


def test_a_ratio_to_bptt_of_one_thread_is_judged_whatever_the_machine_does() -> None:
    busy = {"contended": [1] * 4, "cfg.threads": 1}
    time, ratio = sides({TIME: STEADY, RATIO: [0.5, 0.51, 0.5, 0.51], **busy},
                        {TIME: SLOWER, RATIO: [0.56, 0.57, 0.56, 0.57], **busy})  # fmt: skip
    assert (time.verdict, ratio.metric, ratio.verdict) == ("cannot tell", RATIO, "worse")
    assert ratio.note == "against BPTT in the same process, unless that became faster"
    (alone,) = sides({TIME: STEADY}, {TIME: STEADY, RATIO: [0.5] * 4})
    assert alone.metric == TIME


@pytest.mark.parametrize("threads", [None, 2, 1])
def test_load_that_moves_ratios_of_several_threads_raises_no_alarm(threads: int | None) -> None:
    """On a busy head alone ratios move by up to 25 % either way; those of one thread do not."""
    rng, alarms, found = np.random.default_rng(0), 0, 0
    logs = np.log(0.8) + 0.01 * rng.standard_normal((100, 3, 4))
    logs[:, 1:] += rng.uniform(-0.25, 0.25, (100, 1, 1)) * (threads != 1)
    logs[:, 2] += 0.2
    place = {"cfg.threads": threads, "env.cores": "2", "contended": 100 * (4 * [0] + 8 * [1])}
    rows = processes(dict.fromkeys((TIME, RATIO), np.exp(logs).ravel()) | place)
    for i in range(0, len(rows), 12):
        base, same, slower = (rows.iloc[k : k + 4] for k in range(i, i + 12, 4))
        alarms += any(line.alarm for line in told(Cell("same", base, same)))
        found += told(Cell("slower", base, slower))[1].verdict == "worse"
    assert alarms == 0
    assert found == (100 if threads == 1 else 0)


def test_the_bptt_that_took_turns_tells_a_mood_from_a_change() -> None:
    moved = np.array([1.2, 1.21, 1.2])
    time, ratio = sides({TIME: moved / 1.2, RATIO: [0.5, 0.51, 0.5]},
                        {TIME: moved, RATIO: [0.5, 0.51, 0.5]})  # fmt: skip
    assert (time.verdict, ratio.verdict) == ("cannot tell", "same")
    assert "what ran beside it changed as well" in time.note
    time, ratio = sides({TIME: moved / 1.2, RATIO: [0.5, 0.51, 0.5]},
                        {TIME: moved, RATIO: [0.6, 0.61, 0.6]})  # fmt: skip
    assert (time.verdict, time.note, ratio.verdict) == ("worse", "", "worse")
    (time,) = sides({TIME: moved / 1.2}, {TIME: moved})
    assert (time.verdict, time.alarm) == ("worse", True)
    assert time.note.startswith("one cell alone: a mood of the machine can look like this")
