"""``tune=N``: the same points for everyone, each way's own best, fresh seeds, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cell.probe import finding
from bench.command import cli
from bench.command import contest as contest_module
from bench.command.contest import Contest, is_learning
from bench.config import MAX_SEED
from bench.sweep import sweep
from bench.sweep.cell import Cell
from bench.sweep.tuning import Tuning, tuning_of
from tests.bench.sweeps import in_this_process
from tests.bench.test_launchers import InProcess

TUNED = ["tune.trials=4", "tune.seeds=3", "tune.decay=[0.5,0.99]", "metric=[learning,timing]"]

REFUSED = {
    "tune=0": "tune: expected a whole number of at least 1, or null; got 0. Try tune=8.",
    "tune=4 tune.lr=[1e-1,1e-4]": "tune.lr: expected [LOWEST,HIGHEST], two numbers above 0, the "
    "lower one first; got [0.1, 0.0001]. Try tune.lr=[1e-4,1e-1].",
    "tune=4 tune.lr=[]": "the lower one first; got []. Try tune.lr=[1e-4,1e-1].",
    "tune=4 tune.decay=[0.5,1.0]": "two numbers from 0 and below 1, the lower one first; got "
    "[0.5, 1.0]. Try tune.decay=[0.8,0.999].",
    "tune=4 tune.decay=[0.5,0.9] algo=bptt": "tune.decay: expected a number that some algorithm of "
    "the sweep has; got decay. They have none.",
    "-m tune=4 lr=1e-2,1e-3": "tune: expected no axis of what it chooses itself; got lr=0.01 and "
    "lr=0.001.",
    "-m tune=3 algo=es_d_rtrl algo.decay_or_rank=0.5,0.9 tune.decay=[0.5,0.9]": (
        "tune: expected no axis of what it chooses itself; got decay_or_rank=0.5 and "
        "decay_or_rank=0.9."
    ),
    "tune=4 task=random_spikes": "task: expected validation data to tune by; got none of "
    "RandomSpikes.",
    "tune=4 metric.learning.target=1.5": "metric.learning.target: expected a score (accuracy) "
    "above that of guessing, 0.1, and at most 1; got 1.5.",
    "tune=4 metric=[timing]": "metric: expected learning among them, to tune by; got others only.",
    "tune=4 lr=0.01": "lr: expected no value beside tune=N, which tries its own; got 0.01. Try "
    "tune.lr=[1e-4,1e-1].",
    "tune.seeds=3": "tune.seeds: expected tune=N beside it; got no contest. Add tune=8, or leave "
    "it out.",
    "metric.learning.target=0.9": "metric.learning.target: expected tune=N beside it; got no "
    "contest.",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_a_contest_that_cannot_be_held_is_one_sentence(
    arguments: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert REFUSED[arguments] in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_experiment_may_say_how_many_trials(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ntune: 3\n")
    (cell,) = cli.cells_of(str(tmp_path), ["+experiment=mine"], multirun=False)
    tuning = tuning_of(cell.config.tune)
    assert tuning is not None
    assert (tuning.trials, tuning.seeds, tuning.ranges) == (3, 5, {"lr": (1e-4, 1e-1)})


def contest(*overrides: str) -> Contest:
    cells = cli.cells_of(None, [*overrides, *TUNED], multirun=True)
    tuning = tuning_of(cells[0].config.tune)
    assert tuning is not None
    return Contest(cells, tuning, Path("out"))


def test_the_points_cover_the_ranges_and_more_of_them_keep_the_first() -> None:
    ranges = {"lr": (1e-4, 1e-1), "decay": (0.8, 0.999)}
    few, many = (Tuning(n, 3, None, ranges).points() for n in (5, 64))
    assert many[:5] == few
    # Of 64 points of a sequence of low discrepancy each eighth of a range has eight.
    places = np.log10([p["lr"] for p in many]) / 3 + 4 / 3
    assert set(np.histogram(places, 8, (0, 1))[0]) <= {7, 8, 9}
    short = np.log([(1 - p["decay"]) / 0.2 for p in many]) / np.log(0.001 / 0.2)
    assert set(np.histogram(short, 4, (0, 1))[0]) <= {15, 16, 17}


def test_every_way_tries_the_same_rates_and_learns_by_itself() -> None:
    cells = contest("algo=bptt,es_d_rtrl").first()
    trials = [c for c in cells if is_learning(c)]
    costs = [c for c in cells if not is_learning(c)]
    rates = {
        a: [c.config.lr for c in trials if c.choices["algo"] == a] for a in ("bptt", "es_d_rtrl")
    }
    assert rates["bptt"] == rates["es_d_rtrl"]
    assert len(set(rates["bptt"])) == 4
    decays = [c.config.algo["decay_or_rank"] for c in trials if c.choices["algo"] != "bptt"]
    assert len(set(decays)) == 4
    assert [list(c.config.metric) for c in costs] == [["timing"], ["timing"]]
    assert all(list(c.config.metric) == ["learning"] for c in trials)
    # A larger N, or other seeds, leave the names of the trials' records as they are.
    again = contest("algo=bptt,es_d_rtrl", "epochs=5").first()
    assert {c.identity for c in again} == {c.identity for c in cells}


def test_cells_are_told_apart_by_their_way_and_by_their_point() -> None:
    titles = [c.title() for c in contest("algo=es_d_rtrl", "optimizer=adam,sgd").first()]
    assert len(set(titles)) == len(titles) == 2 + 2 * 4


def test_repeats_are_of_costs_alone() -> None:
    """Two processes of one trial would be two ways, each with a choice and fresh seeds."""
    once, twice = (contest("algo=bptt,es_d_rtrl", r) for r in ("repeats=1", "repeats=2"))
    assert len(twice.ways) == len(once.ways) == 2
    assert [c.repeat for c in twice.first() if not is_learning(c)] == [0, 0, 1, 1]
    trials = [[c.identity for c in held.first() if is_learning(c)] for held in (once, twice)]
    assert trials[0] == trials[1]


def test_each_way_gets_fresh_seeds_at_its_own_best_trial() -> None:
    """Best for one and ruinous for the other: neither choice touches the other's."""
    held = contest("algo=bptt,d_rtrl,es_d_rtrl")
    rates = list(dict.fromkeys(c.config.lr for c in held.first() if is_learning(c)))
    best = {"bptt": rates[0], "d_rtrl": rates[2]}

    def found(cell: Cell) -> dict[str, Any] | None:
        algo, lr = cell.choices["algo"], cell.config.lr
        if algo == "es_d_rtrl":  # diverges everywhere
            return {"status": "ok", "metrics": {"validation_loss": None}}
        if lr == rates[1]:  # the lowest loss, of a run that is no result
            return {"status": "invalid", "metrics": {"validation_loss": 0.0}}
        return {"status": "ok", "metrics": {"validation_loss": 0.1 if lr == best[algo] else 2.3}}

    finals = held.finals(found)
    assert [(c.choices["algo"], c.config.lr, c.config.seed) for c in finals] == [
        (algo, best[algo], seed) for seed in (1, 2, 3) for algo in ("bptt", "d_rtrl")
    ]
    assert all(c.config.metric["learning"]["choose"] == "final" for c in finals)
    assert held.finals(lambda cell: None) == []


def test_behind_the_largest_seed_comes_the_smallest() -> None:
    held = contest("algo=es_d_rtrl", f"seed={MAX_SEED - 1}")
    finals = held.finals(lambda cell: {"status": "ok", "metrics": {"validation_loss": 1.0}})
    assert [cell.config.seed for cell in finals] == [MAX_SEED, 0, 1]


def test_a_plan_counts_the_fresh_seeds_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "trial", lambda cells, *_, **__: [finding()] * len(cells))
    monkeypatch.setattr(cli, "refuse_bad_values", lambda *_: None)
    asked = ["algo=bptt,d_rtrl", "tune=2", "tune.seeds=3", "metric=[timing,learning]"]
    assert cli.main(["-m", *asked, "plan=true", "out=o"]) == 0
    *_, now, later = capsys.readouterr().out.splitlines()
    assert now.startswith("6 cells in o; ")
    assert later.startswith("then 6 cells: 3 fresh seeds of each way at the best of its 2 trials.")


def test_a_contest_is_held_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "build_report", lambda *_: "none")
    in_this_process(monkeypatch.setattr)
    monkeypatch.setattr(contest_module, "Processes", InProcess)
    arguments = [
        "out=out",
        "model=gru",
        "n_hidden=8",
        "epochs=2",
        "tune=2",
        "tune.seeds=1",
        "metric=[learning]",
        "tune.lr=[1e-3,1e-1]",
    ]
    assert cli.main(arguments) == 0
    stages = [line for line in capsys.readouterr().out.splitlines() if line.endswith(":")]
    assert stages == ["trials:", "fresh seeds, at the best trial of each way:"]
    read = {p: json.loads(p.read_text()) for p in (tmp_path / "out" / "cells").glob("*.json")}
    by = {r["config"]["metric"]["learning"]["choose"]: [] for r in read.values()}
    for record in read.values():
        by[record["config"]["metric"]["learning"]["choose"]].append(record)
    (final,), trials = by["final"], by["trial"]
    assert len(trials) == 2
    assert all("test_accuracy" not in r["metrics"] for r in trials)
    best = min(trials, key=lambda r: r["metrics"]["validation_loss"])
    assert final["config"]["lr"] == best["config"]["lr"]
    assert (final["config"]["seed"], best["config"]["seed"]) == (1, 0)
    assert 0 <= final["metrics"]["test_accuracy"] <= 1
    assert final["metrics"]["target_accuracy"] == 0.9
    assert final["metrics"]["steps_to_target"] is None
    planned = json.loads((tmp_path / "out" / "sweep.json").read_text())["planned"]
    assert len(planned) == 3
    stamps = {p: p.stat().st_mtime_ns for p in read}
    assert cli.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in read} == stamps
