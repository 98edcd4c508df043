"""The duel's statistics: exact p-values, no false alarms, and slowdowns that are found."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.cli import main
from reports.compare import FORMATS
from reports.duel import (
    ALPHA,
    LEAST_PAIRS,
    LOOKS,
    as_comparison,
    decide,
    evidence,
    level_of_a_look,
    looks,
    sign_flip_p,
)


def test_the_test_stays_valid_under_the_null() -> None:
    rng = np.random.default_rng(9)
    # Cauchy: the mean does not even exist.
    pairs = np.exp(np.clip(rng.standard_cauchy((800, 2, 12)), -50, 50))
    p = np.array([evidence(*pair).p for pair in pairs])
    for level in (0.01, 0.05, 0.25):
        # In their own direction, so in either of two.
        assert np.mean(p <= level) <= 2 * level + 4 * math.sqrt(level / 800)


def test_sign_flips_against_counting_by_hand() -> None:
    # Sums of (+-1, +-2, +-2), bounded by 2: 5, 3, 1, 1, -1, -1, -3, -5.
    assert sign_flip_p(np.array([1.0, 2.0, 9.0])) == 1 / 8
    assert sign_flip_p(np.array([-1.0, 2.0, 9.0])) == 2 / 8
    assert sign_flip_p(-np.ones(3)) == 1.0


def test_one_wild_pair_does_not_outweigh_the_others() -> None:
    assert evidence([1.0] * 11, [1.2] * 10 + [0.05]).p == 12 / 2**11


def test_a_lasting_difference_between_two_checkouts_is_no_alarm() -> None:
    rng = np.random.default_rng(10)
    decisions = [played(math.log(1.03), 0.02, rng) for _ in range(40)]
    assert sum(bool(d["worse"] or d["better"]) for d in decisions) <= 1


@pytest.mark.parametrize("cells", [1, 3, 12, 40])
def test_an_alarm_is_possible_at_the_first_look(cells: int) -> None:
    first = looks(cells)[0]
    assert first >= LEAST_PAIRS
    assert evidence([1.0] * first, [1.2] * first).p <= level_of_a_look(cells)
    assert first == LEAST_PAIRS or 2.0 ** -(first - 1) > level_of_a_look(cells)


def test_the_levels_of_all_looks_and_cells_add_up_to_alpha() -> None:
    assert LOOKS * 12 * level_of_a_look(12) == pytest.approx(ALPHA)
    assert len(looks(12)) == LOOKS


def blank(cells: int = 1) -> dict[str, Any]:
    """A duel before its first pair."""
    side = {"asked": "main", "commit": "0123456789abcdef", "dirty": False}
    return {
        "column": "step_time_ms",
        "shared": "n_steps=16",
        "cells": [f"algo={n}" for n in range(cells)],
        "pairs": [],
        "over": False,
        "base": side,
        "head": side,
    }


def outcome(value: float | None) -> dict[str, Any]:
    status = "ok" if value is not None else "crashed"
    return {"status": status, "value": value, "reason": "" if value is not None else "signal 9"}


def played(
    effect: float, sigma: float, rng: np.random.Generator, cells: int = 1, budget: int = 10**6
) -> dict[str, Any]:
    """The decision on a simulated duel: processes drift together and jump now and then.

    Args:
        effect: true log-ratio of the first cell; the other cells are equal.
        sigma: standard deviation of one process' log-time.
        rng: source of the noise.
        cells: number of cells.
        budget: pairs that may be run.
    """
    state = blank(cells)
    drift = 0.0
    while wanted := decide(state)["wanted"]:
        for want in wanted:
            for _ in range(want["pairs"]):
                if len(state["pairs"]) >= budget:
                    state["over"] = True
                    return decide(state)
                drift = 0.9 * drift + rng.normal(0, sigma)
                jumps = 0.3 * (rng.random(2) < 0.05)
                noise = drift + rng.normal(0, sigma, 2) + jumps
                true = effect if want["cell"] == 0 else 0.0
                base, head = np.exp(noise + np.array([0.0, true]))
                pair = {"cell": want["cell"], "round": want["round"]}
                state["pairs"].append({**pair, "base": outcome(base), "head": outcome(head)})
    return decide(state)


@pytest.mark.parametrize(("cells", "duels"), [(1, 20), (6, 2)])
def test_equal_versions_raise_no_alarm(cells: int, duels: int) -> None:
    rng = np.random.default_rng(3)
    assert not any(played(0.0, 0.08, rng, cells)["worse"] for _ in range(duels))


@pytest.mark.parametrize(("sigma", "least"), [(0.01, 20), (0.05, 18)])
def test_ten_percent_slower_is_found_in_nine_of_ten_duels(sigma: float, least: int) -> None:
    rng = np.random.default_rng(4)
    duels = 20
    found = sum(bool(played(math.log(1.1), sigma, rng)["worse"]) for _ in range(duels))
    assert found >= least


def test_faster_is_reported_as_better() -> None:
    decision = played(-math.log(1.25), 0.02, np.random.default_rng(5), cells=2)
    assert decision["better"] == ["algo=0"]
    assert [cell["verdict"] for cell in decision["cells"]] == ["better", "same"]


def test_two_percent_is_no_difference_however_sure() -> None:
    decision = played(math.log(1.02), 0.001, np.random.default_rng(6))
    assert decision["cells"][0]["verdict"] == "same"


def test_a_spent_budget_is_cannot_tell() -> None:
    decision = played(math.log(1.5), 0.001, np.random.default_rng(7), budget=6)
    (cell,) = decision["cells"]
    assert cell["verdict"] == "cannot tell"
    assert cell["reason"] == "the budget ended before it could be told"
    assert decision["wanted"] == []
    (cell,) = played(math.log(1.5), 0.001, np.random.default_rng(7), budget=10)["cells"]
    assert cell["reason"] == "worse at first, the budget ended before it could be confirmed"


def test_a_small_budget_decides_the_first_of_many_cells() -> None:
    decision = played(math.log(1.3), 0.01, np.random.default_rng(11), cells=12, budget=48)
    verdicts = [cell["verdict"] for cell in decision["cells"]]
    assert verdicts[:3] == ["worse", "same", "same"]
    assert verdicts[-1] == "cannot tell"


def test_an_alarm_that_fresh_pairs_do_not_repeat_is_not_raised() -> None:
    state = blank()
    for turn, ratio in [("first", 1.2)] * 7 + [("second", 1.0)] * 7:
        state["pairs"].append(
            {"cell": 0, "round": turn, "base": outcome(1.0), "head": outcome(ratio)}
        )
    (cell,) = decide(state)["cells"]
    assert cell["verdict"] == "cannot tell"
    assert cell["reason"] == "worse at first, same later"


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [(1.0, None, "worse"), (None, 1.0, "cannot tell"), (None, None, "cannot tell")],
)
def test_a_side_that_keeps_failing_is_named(
    base: float | None, head: float | None, verdict: str
) -> None:
    state = blank()
    pair = {"cell": 0, "round": "first", "base": outcome(base), "head": outcome(head)}
    state["pairs"] = [pair] * 3
    assert decide(state)["wanted"] == [{"cell": 0, "round": "first", "pairs": 7}]
    state["pairs"] = [pair] * 4
    decision = decide(state)
    assert decision["cells"][0]["verdict"] == verdict
    assert "crashed, signal 9" in decision["cells"][0]["reason"]
    assert as_comparison(decision, state).lines[0].note == decision["cells"][0]["reason"]
    assert decision["wanted"] == []


def test_failures_now_and_then_are_replaced_by_other_pairs() -> None:
    state = blank()
    good = {"cell": 0, "round": "first", "base": outcome(1.0), "head": outcome(1.0)}
    state["pairs"] = [{**good, "head": outcome(None)}] * 3 + [good] * 6
    assert decide(state)["wanted"] == [{"cell": 0, "round": "first", "pairs": 1}]
    state["pairs"].append(good)
    assert decide(state)["cells"][0]["verdict"] == "same"


def test_words_carry_the_figures() -> None:
    decision = played(math.log(1.2), 0.002, np.random.default_rng(8), cells=2)
    told = as_comparison(decision, blank(2))
    text, markdown = FORMATS["text"](told), FORMATS["markdown"](told)
    assert text.startswith("1 regression (0 exact, 1 in time). Of 2 comparisons: 1 same.\n")
    assert re.search(r"\n  algo=0  step_time_ms: [\d.]+ -> [\d.]+, \+20\.\d\d% \[.*\]  "
                     r"\(16 pairs\)\n", text)  # fmt: skip
    assert "All cells with n_steps=16." in markdown
    assert "A change is the median over pairs" in text
    assert "Base `main (0123456789)`, head `main (0123456789)`. " in markdown
    assert re.search(
        r"\| algo=0 \| step time \(ms\) \| .* \| \+20\.\d\d% \| .*worse: 16 pairs", markdown
    )
    assert (told.lines[0].base or 0) * 1.2 == pytest.approx(told.lines[0].head, rel=0.02)


def test_a_folder_without_a_duel_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["duel", str(tmp_path)]) == 2
    assert "expected a folder with the duel.json of a duel; got" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "{}", '{"cells": ["a"], "pairs": [3], "over": true}', "{"])
def test_a_file_that_holds_no_duel_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "duel.json").write_text(text)
    assert main(["duel", str(tmp_path)]) == 2
    assert f"got {tmp_path / 'duel.json'}, " in capsys.readouterr().err
    assert not list(tmp_path.glob("verdict*"))
