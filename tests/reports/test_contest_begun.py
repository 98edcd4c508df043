"""Contests that were interrupted: what is said before all ways have run on fresh seeds."""

from __future__ import annotations

import numpy as np
from contest_records import TUNE, complete, way
from synthetic_records import study

from reports import page
from reports.page import tables


def test_trials_alone_are_no_contest_yet() -> None:
    records = [complete(r) for r in way(np.random.default_rng(0), "bptt")[1:5]]
    assert study(records).contests == []
    assert "No answer" in page.answer(study(records).facts)


def test_a_contest_without_fresh_seeds_recommends_nothing_for_its_cost() -> None:
    rng = np.random.default_rng(2)
    begun = [complete(r) for a in ("bptt", "d_rtrl") for r in way(rng, a)[:3]]
    told = page.answer(study(begun).facts, missing=2)
    assert told.endswith("Not run yet: 2 planned cells.")
    assert told.startswith("No answer yet: the contest on gru on digits with T = 16, H = 32")
    assert "start with" not in told
    for each in begun:  # the same as no contest is about cost
        each["config"] = {**each["config"], "tune": TUNE | {"trials": None}}
    assert "start with" in page.answer(study(begun).facts)


def test_ways_that_are_yet_to_finish_leave_the_others_in_order() -> None:
    rng = np.random.default_rng(0)
    made = [(task, way(rng, algo, good)) for task in ("digits", "mnist1d")
            for algo, good in (("bptt", 0.9), ("d_rtrl", 0.5), ("es_d_rtrl", 0.7))]  # fmt: skip
    for task, some in made:
        for each in some:
            each["row"]["task"] = each["config"]["task"] = task
    begun = [r for _, some in [*made[:4], (0, made[4][1][:5]), made[5]] for r in some]
    cells = tables.overview(study([complete(r) for r in begun]).contests).cells
    assert cells["way"].tolist() == ["bptt", "es_d_rtrl", "d_rtrl"]
