"""Contests whose outcome is planted in their records: who wins, who ties, who is not judged."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from contest_records import RATES, TUNE, complete, way
from synthetic_records import study

from reports import page
from reports.judge.contest import Match
from reports.page import Context


def one(*ways: list[dict[str, Any]]) -> Match:
    (match,) = study([complete(r) for some in ways for r in some]).contests
    return match


def names(match: Match, score: str, place: str = "first") -> list[str]:
    return [e.name for e in match.standing(score, place)]


def test_a_better_way_is_named_and_equal_ones_are_not_told_apart() -> None:
    """The learning rate that is best for one is ruinous for the other."""
    for i in range(4):
        rng = np.random.default_rng([1, i])
        planted = one(way(rng, "bptt", 0.95), way(rng, "d_rtrl", 0.90, best=2),
                      way(rng, "immediate", 0.85, steps=400))  # fmt: skip
        assert names(planted, "best") == ["bptt"]
        equal = one(way(rng, "bptt", 0.92), way(rng, "d_rtrl", 0.92, best=2))
        assert not names(equal, "best", "behind")
        assert not names(equal, "soonest", "behind")
        fast = one(way(rng, "bptt", ms=1.0), way(rng, "d_rtrl", ms=2.0, best=1))
        assert names(fast, "soonest") == ["bptt"]


def test_trials_decide_the_rate_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    match = one(way(rng, "bptt", 0.9, best=3), way(rng, "es_d_rtrl", 0.9, best=2))
    chosen = {e.name: (e.chosen["lr"], e.edge.get("lr"), e.tried) for e in match.entries}
    assert chosen == {"bptt": (0.00178, "lowest", 4), "es_d_rtrl": (0.0316, "highest", 4)}
    assert all(e.mean == pytest.approx(0.9, abs=0.03) for e in match.entries)
    assert names(match, "best")
    assert not names(match, "best", "behind")


def test_decays_are_tuned_and_tell_no_ways_apart() -> None:
    rng = np.random.default_rng(0)
    tune = TUNE | {"decay": [0.5, 0.99]}
    some = way(rng, "es_d_rtrl", tune=tune)
    for i, each in enumerate(some):
        each["config"]["algo"] = {"_target_": "x", "decay_or_rank": 0.5 + 0.01 * (i % 5)}
    for each in some[5:]:
        each["config"]["algo"]["decay_or_rank"] = 0.52
    match = one(some, way(rng, "bptt", tune=tune))
    assert [e.name for e in match.entries] == ["bptt", "es_d_rtrl"]
    assert match.entries[1].chosen == {"lr": 0.01, "decay": 0.52}


def test_a_second_contest_chooses_by_validation_and_never_by_test_data() -> None:
    """More trials, other fresh seeds and another range in one folder are one contest."""
    rng = np.random.default_rng(0)
    more = TUNE | {"trials": 8, "seeds": 4, "decay": [0.5, 0.99]}
    for first, then in ((0.9, 0.7), (0.7, 0.9)):  # on test data
        before = [way(rng, "bptt"), way(rng, "es_d_rtrl", first, best=0)]
        after = [r for r in way(rng, "es_d_rtrl", then, best=1, seeds=4, tune=more)[1:]
                 if r["config"]["lr"] == RATES[1]]  # fmt: skip
        for decay, some in ((0.9, before[1]), (0.8, after)):
            for each in some:
                each["config"]["algo"] = {"_target_": "x", "decay_or_rank": decay}
        after[0]["metrics"]["validation_loss"] = 0.1
        entry = one(*before, after).entries[1]
        assert entry.chosen == {"lr": RATES[1], "decay": 0.8}
        assert entry.mean == pytest.approx(then, abs=0.03)
        assert sorted(entry.steps) == sorted(entry.scores) == [1, 2, 3, 4]
        assert entry.tried == 5
        assert entry.ms == 1.0
        after[0]["metrics"]["validation_loss"] = 0.4
        assert one(*before, after).entries[1].mean == pytest.approx(first, abs=0.03)


def test_one_rate_with_two_decays_is_two_points() -> None:
    rng = np.random.default_rng(0)
    tune = TUNE | {"decay": [0.5, 0.99]}
    some = []
    for decay, good, seeds in ((0.5, 0.9, 5), (0.9, 0.6, 3)):
        made = way(rng, "es_d_rtrl", good, tune=tune, seeds=seeds)
        for each in made:
            each["key"] += f"-{decay}"
            each["config"]["algo"] = {"_target_": "x", "decay_or_rank": decay}
        made[1]["metrics"]["validation_loss"] = 1 - decay
        some += made
    (entry,) = one(some).entries
    assert entry.chosen == {"lr": RATES[0], "decay": 0.9}
    assert sorted(entry.scores) == [1, 2, 3]
    assert entry.mean == pytest.approx(0.6, abs=0.03)


def test_a_miss_is_infinite_and_chance_is_not_learning() -> None:
    rng = np.random.default_rng(0)
    match = one(way(rng, "bptt", 0.9), way(rng, "d_rtrl", 0.88, steps=5000),
                way(rng, "immediate", 0.1, steps=5000))  # fmt: skip
    by = {e.name: e for e in match.entries}
    assert by["d_rtrl"].seconds == math.inf
    assert by["d_rtrl"].soonest == by["immediate"].soonest == "nothing"
    assert by["immediate"].best == "nothing"
    assert by["bptt"].seconds == pytest.approx(0.2, rel=0.2)


def test_a_target_that_is_reached_before_any_step_is_no_error() -> None:
    rng = np.random.default_rng(0)
    at_once = way(rng, "bptt", 0.9)
    for record in at_once:
        if "steps_to_target" in record["metrics"]:
            record["metrics"]["steps_to_target"] = 0
    assert names(one(at_once, way(rng, "d_rtrl", 0.9)), "soonest") == ["bptt", "d_rtrl"]


def test_a_way_of_which_two_of_five_seeds_diverged_is_not_among_the_best() -> None:
    rng = np.random.default_rng(0)
    lost = way(rng, "d_rtrl", 0.9)
    for record in [r for r in lost if "test_accuracy" in r["metrics"]][:2]:
        record["metrics"]["test_accuracy"] = 0.1
        record["health"] = "loss is not finite"
    match = one(way(rng, "bptt", 0.9), way(rng, "immediate", 0.9), lost)
    assert sorted(names(match, "best")) == ["bptt", "immediate"]
    assert names(match, "best", "behind") == ["d_rtrl"]
    assert "behind; 2 of 5 seeds guessed" in report([*way(rng, "bptt", 0.9), *lost])


def test_a_way_that_mostly_misses_the_target_is_not_among_the_soonest() -> None:
    rng = np.random.default_rng(0)
    rare = way(rng, "immediate", 0.9)
    for record in [r for r in rare if r["metrics"].get("target_accuracy")][:3]:
        record["metrics"]["steps_to_target"] = None
    match = one(way(rng, "bptt"), rare)
    assert names(match, "soonest") == ["bptt"]
    assert names(match, "soonest", "untold") == ["immediate"]
    told = report([*way(rng, "bptt"), *rare])
    assert "Soonest at 80.0 % of the validation data: **bptt**, after" in told
    assert "; too few seeds of **immediate** got there to tell." in told


def test_one_lucky_seed_on_top_hides_no_difference() -> None:
    rng = np.random.default_rng(0)
    match = one(way(rng, "bptt", 0.9), way(rng, "d_rtrl", 0.6), way(rng, "snap", 0.95, seeds=1))
    assert names(match, "best") == ["bptt"]
    assert names(match, "best", "behind") == ["d_rtrl"]


def test_two_seeds_and_contended_times_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    two = one(way(rng, "bptt", 0.95, seeds=2), way(rng, "d_rtrl", 0.5, seeds=2))
    assert names(two, "best", "untold") == ["bptt", "d_rtrl"]
    busy = way(rng, "d_rtrl", ms=9.0)
    busy[0]["metrics"]["contended"] = 1
    match = one(way(rng, "bptt"), way(rng, "immediate"), busy)
    assert names(match, "soonest", "untold") == ["d_rtrl"]


def test_steps_stand_for_times_that_cannot_be_compared() -> None:
    rng = np.random.default_rng(0)
    some = [way(rng, "bptt", steps=100.0), way(rng, "d_rtrl", steps=300.0)]
    for costs, *_ in some:
        costs["metrics"]["contended"] = 1
    match = one(*some)
    assert match.in_steps
    assert (names(match, "soonest"), names(match, "soonest", "behind")) == (["bptt"], ["d_rtrl"])
    # The next by steps is not the next by a time that is not compared.
    slow = [way(rng, "es_d_rtrl", steps=500.0, ms=0.1), way(rng, "immediate", steps=5000.0)]
    for costs, *_ in slow:
        costs["metrics"]["contended"] = 1
    told = report([r for ways in [*some, *slow] for r in ways])
    assert "In the fewest steps at 80.0 % of the validation data: **bptt**, after" in told
    assert "; next **d_rtrl** after 3" in told
    rows = table_of(told)
    assert [rows[a]["arrives"] for a in ("bptt", "d_rtrl", "es_d_rtrl", "immediate")] == [
        "among the soonest", "later", "later", "not reached"]  # fmt: skip
    assert [rows[a]["s to 80 %"][-1] for a in ("bptt", "d_rtrl", "immediate")] == ["*", "*", "∞"]


@pytest.mark.parametrize("threads", [1, None])
def test_turns_with_bptt_tell_contended_times_of_one_thread_alone(threads: int | None) -> None:
    rng = np.random.default_rng(0)
    some = [way(rng, "bptt", ms=3.0, threads=threads), way(rng, "immediate", ms=9.0,
                                                           threads=threads)]  # fmt: skip
    for (costs, *_), ratio in zip(some, (1.0, 0.5), strict=True):
        costs["metrics"] |= {
            "contended": 1,
            "time_vs_bptt": ratio,
            "time_vs_bptt_low": 0.97 * ratio,
            "time_vs_bptt_high": 1.03 * ratio,
        }
    match = one(*some)
    told = report([r for ways in some for r in ways])
    assert match.by_turns == (threads == 1)
    # The column of the contest is the one that its seconds are made of, as in the table of all.
    column = "time over BPTT's" if threads else "ms per training step"
    for name, row in table_of(told).items():
        assert row[column] == {"bptt": ["3*", "1"], "immediate": ["9*", "0.5"]}[name][threads == 1]
    assert match.in_steps == (threads != 1)
    assert names(match, "soonest", "behind") == ["bptt"] * (threads == 1)
    # By steps, of which both take about as many, neither is sooner.
    assert sorted(names(match, "soonest")) == ["bptt", "immediate"][threads == 1 :]


def test_online_updates_compete_beside_the_others() -> None:
    rng = np.random.default_rng(0)
    online = way(rng, "d_rtrl", 0.8, update_every=1)
    online[-1]["status"] = "crashed"
    match = one(way(rng, "d_rtrl", 0.9), online)
    assert names(match, "best") == ["d_rtrl"]
    assert names(match, "best", "behind") == ["d_rtrl (updated every step)"]
    assert [e.failed for e in match.standing("best", "behind")] == [1]


def test_records_without_tuning_are_no_contest() -> None:
    rng = np.random.default_rng(0)
    untuned = way(rng, "bptt", tune={"trials": None})
    for each in untuned:
        each["config"]["metric"] = {"learning": {"choose": None}}
    assert study([complete(r) for r in untuned]).contests == []


def test_the_report_names_winners_and_ties() -> None:
    rng = np.random.default_rng(0)
    ways = [way(rng, "bptt", 0.95, best=3), way(rng, "d_rtrl", 0.90, ms=2.0),
            way(rng, "immediate", 0.1, steps=5000)]  # fmt: skip
    records = [complete(r) for some in ways for r in some]
    told, shown = report(records), page.html(Context(study(records), [], []))
    assert "## Contest" in told
    assert "**bptt** learns best: 9" in told
    assert "next comes **d_rtrl** with" in told
    assert "No better than guessing: **immediate**." in told
    assert "Soonest at 80.0 % of the validation data: **bptt**, after" in told
    assert "Never there: **immediate**." in told
    for twin in (told, shown):
        assert "0.00178†" in twin
        assert "† the lowest or highest value that was tried: a better one may lie beyond." in twin
    equal = report([r for a in ("bptt", "d_rtrl") for r in way(rng, a)])
    assert "These seeds cannot tell who learns best: **" in equal
    few = report([*way(rng, "bptt", 0.95, spread=0.0), *way(rng, "d_rtrl", 0.5, seeds=2)])
    assert (
        "cannot tell who learns best: **bptt**, 95.0 % of the test data; too few seeds of "
        "**d_rtrl**." in few
    )


def test_a_way_of_too_few_seeds_has_not_failed_to_learn() -> None:
    rng = np.random.default_rng(0)
    told = report([*way(rng, "bptt", 0.1, steps=5000), *way(rng, "d_rtrl", 0.9, seeds=2)])
    assert "Who learns best cannot be told: it takes three seeds of a way." in told
    assert "No better than guessing: **bptt**." in told
    assert "No way learned" not in told
    assert "No way learned" in report(way(rng, "bptt", 0.1, steps=5000))


def test_equal_scores_are_no_range() -> None:
    some = [r for a in ("bptt", "d_rtrl") for r in way(np.random.default_rng(0), a, spread=0)]
    told = report(some)
    assert "**bptt and d_rtrl**, 90.0 % of the test data." in told
    assert "validation data, without a significant difference: **bptt and d_rtrl**." in told


def test_who_was_not_compared_is_named_and_one_way_wins_over_nobody() -> None:
    rng = np.random.default_rng(0)
    lone = way(rng, "bptt")
    untested = [r for r in way(rng, "d_rtrl") if "final" not in str(r["config"]["metric"])]
    alone, beside = report(lone), report([*lone, *untested])
    assert "- **bptt** learns the task: " in alone
    reached = r"- \*\*bptt\*\* reached 80.0 % of the validation data after [^;]* steps\)"
    assert re.search(reached + r"\.", alone)
    assert re.search(reached + r"; not compared: \*\*d_rtrl\*\*\.", beside)
    busy = way(rng, "es_d_rtrl")
    for each in busy:
        each["metrics"]["contended"] = 1
    some = report([*lone, *way(rng, "d_rtrl", steps=500), *busy])
    assert "next **d_rtrl** after" in some
    assert "; not compared: **es_d_rtrl**." in some
    two = report([*lone, *busy])
    assert "fewer than two ways were timed without other programs beside them" in two


def test_a_contest_on_numbers_speaks_of_r2() -> None:
    rng = np.random.default_rng(0)
    some = [*way(rng, "bptt", 0.95), *way(rng, "d_rtrl", 0.85), *way(rng, "immediate", 0.004)]
    for each in some:
        found = each["metrics"]
        each["row"]["task"] = "sine"
        found |= {"n_classes": None, "guess_loss": 0.5}
        for name in ("validation", "test", "target"):
            if f"{name}_accuracy" in found:
                found[f"{name}_r2"] = found.pop(f"{name}_accuracy")
    made = [{**complete(r), "curves": r["curves"]} for r in some]
    for each in made:
        each["metrics"] = {k: v for k, v in each["metrics"].items() if "accuracy" not in k}
    text = report(made)
    assert "**bptt** learns best: R² 0.9" in text
    assert "No better than guessing: **immediate**" in text
    assert re.search("(Soonest|fewest steps) at R² 0.800 on the validation data", text)
    assert "test R²" in text
    about = text.partition("## Glossary")[0]
    assert "accura" not in about
    assert " % " not in about.partition("How it was measured")[0].replace("95 % intervals", "")


def test_contests_on_one_task_are_told_apart_by_what_differs() -> None:
    rng = np.random.default_rng(0)
    records = []
    for task, hidden, good in (("digits", 32, 0.9), ("digits", 64, 0.6), ("mnist1d", 64, 0.8)):
        for made in [r for algo in ("bptt", "d_rtrl") for r in way(rng, algo, good)]:
            made["row"] |= {"task": task, "n_hidden": hidden}
            made["config"] |= {"task": task, "n_hidden": hidden}
            records.append(made)
    head, *_ = [line for line in report(records).splitlines() if line.startswith("|")]
    columns = {c.strip() for c in head.strip("| ").split("|")}
    assert columns == {"way", "digits · gru · H = 32", "digits · gru · H = 64", "mnist1d · gru",
                       "among the best"}  # fmt: skip


def test_several_settings_have_one_table_over_all() -> None:
    rng = np.random.default_rng(0)
    records = [r for a, good in (("bptt", 0.95), ("d_rtrl", 0.85)) for r in way(rng, a, good)]
    assert "Means of the fresh seeds" not in report(records)
    for algo, good in (("bptt", 0.9), ("d_rtrl", 0.9), ("immediate", 0.7)):
        more = way(rng, algo, good)
        for each in more:
            each["row"]["task"] = each["config"]["task"] = "mnist1d"
        records += more
    head, _, *rows = [
        [c.strip() for c in line.strip("| ").split("|")]
        for line in report(records).splitlines()
        if line.startswith("|")
    ][:5]
    assert head[0] == "way"
    assert head[-1] == "among the best"
    assert [row[0] for row in rows] == ["bptt", "d_rtrl", "immediate"]
    assert [row[-1] for row in rows] == ["2 of 2", "1 of 2", "0 of 1"]
    digits, signals = (head.index(h) for h in head[1:-1])
    if "mnist1d" not in head[signals]:
        digits, signals = signals, digits
    assert [row[digits].startswith("**") for row in rows] == [True, False, False]
    assert [row[signals].startswith("**") for row in rows] == [True, True, False]
    assert rows[2][digits] == "–"


def test_one_page_has_one_verdict() -> None:
    """Where there is a contest it alone says who is best, on the page and in the terminal."""
    rng = np.random.default_rng(2)
    found = study([complete(r) for a in ("bptt", "d_rtrl") for r in way(rng, a)])
    told = page.markdown(Context(found, [], []))
    assert "Who learns best is said above" in told
    text = page.answer(found.facts, found.contests)
    assert "These seeds cannot tell who learns best: " in text
    for words in (told, text):
        assert "start with" not in words
    assert "start with" in page.answer(found.facts)


def test_an_answer_of_a_contest_says_that_other_settings_had_none() -> None:
    rng = np.random.default_rng(2)
    records = [complete(r) for a in ("bptt", "d_rtrl") for r in way(rng, a)]
    rest = [{**complete(r), "key": f"{i:08x}"} for i, r in enumerate(way(rng, "bptt")[:1])]
    for each in rest:
        each["row"]["task"] = "sine"
    for made, told in ((records, False), ([*records, *rest], True)):
        found = study(made)
        text = page.answer(found.facts, found.contests)
        assert ("contest alone: 1 further setting in these records had none" in text) == told


def test_the_page_escapes_a_contest_as_anything_else() -> None:
    rng = np.random.default_rng(0)
    records = [r for a in ("bptt", "d_rtrl") for r in way(rng, a)]
    for each in records:
        each["row"]["algo"] += "<b>"
    made = page.html(Context(study([complete(r) for r in records]), [], []))
    assert "bptt&lt;b&gt;" in made
    assert "<b>" not in made.replace("<body>", "")


def table_of(told: str) -> dict[str, dict[str, str]]:
    """Way -> head -> cell, of the table of a report's one contest."""
    lines = told.partition("Contest on")[2].partition("Every way tried")[0].splitlines()
    head, _, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    return {row[0].strip("*"): dict(zip(head, row, strict=True)) for row in rows}


def report(records: list[dict[str, Any]]) -> str:
    return page.markdown(Context(study([complete(r) for r in records]), [], []))
