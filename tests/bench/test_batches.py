"""Tasks that break their promises: named before anything is computed of their batches."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from bench.answers import NUMBERS
from bench.cell import probe
from bench.cell.batches import batches, held
from bench.cell.build import build, model_of
from bench.command import cli
from bench.errors import BadInput
from bench.instantiate import task_of
from bench.metrics.learning import Learning
from bench.sweep.cell import Cell
from bench.tasks.base import Task

HERE = {"_target_": "tests.bench.test_batches.Planted"}
XS, YS = np.zeros((8, 3, 2), np.float32), np.array([0, 1, 3], np.int32)
PROMISED = r"inputs: expected \[T, B, I\] = \[8, 3, 2\] float32; got "


class Planted(Task):
    """A task of two inputs and four classes, whose batches are what a test says."""

    n_in: Any = 2
    n_out: Any = 4
    drawn: Any = ()

    def __init__(self, n_steps: int, batch_size: int, seed: int, broken: str = "") -> None:
        if broken == "raises":
            raise KeyError("labels")
        if broken:
            setattr(self, broken, "4")

    def batches(self, epoch: int) -> Any:
        return self.drawn[epoch]

    def test(self) -> None:
        return None


def cell(*overrides: str) -> Cell:
    typed = ["task=random_classification", "batch_size=3", "n_hidden=4", "model=gru", *overrides]
    return cli.cells_of(None, typed, multirun=False)[0]


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ((XS.swapaxes(0, 1), YS), PROMISED + r"\[3, 8, 2\] float32"),
        ((XS[..., :1], YS), PROMISED + r"\[8, 3, 1\] float32"),
        ((XS[:, :2], YS[:2]), PROMISED + r"\[8, 2, 2\] float32"),
        ((XS.astype(str), YS), PROMISED + r"\[8, 3, 2\] <U"),
        ((XS + np.nan, YS), "inputs: expected finite numbers"),
        ((XS, YS + 1), "labels: expected 0 to 3; got 1 to 4"),
        ((XS, YS - 1), "labels: expected 0 to 3; got -1 to 2"),
        ((XS, YS.astype(np.float32)), r"answers: expected \[3\] int32; got \[3\] float32"),
        ((XS, np.eye(4)[YS]), r"answers: expected \[3\] int32; got \[3, 4\] float64"),
        ((XS, YS, YS), "expected batches to be pairs of arrays, inputs and answers; got tuple"),
        (None, "expected batches to be pairs of arrays, inputs and answers; got NoneType"),
    ],
)
def test_a_batch_that_breaks_a_promise_is_refused(
    batch: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Planted, "drawn", [[batch]])
    with pytest.raises(BadInput, match=f"task: {words}"):
        build(cell().having(task=HERE).config, cell().choices)


@pytest.mark.parametrize("mask", [np.zeros(8), -np.ones(8), np.full(8, np.nan)])
def test_a_mask_that_asks_for_nothing_is_refused(
    mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Planted, "mask", mask)
    config = cell().having(task=HERE).config
    with pytest.raises(BadInput, match="mask: expected weights from 0, some of them above; got"):
        held(task_of(config), (XS, YS), config)


def test_answers_that_never_vary_have_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = XS, np.ones((3, 8, 4), np.float32)
    monkeypatch.setattr(Planted, "answers", NUMBERS)
    monkeypatch.setattr(Planted, "drawn", [[batch]])
    task = task_of(cell().having(task=HERE).config)
    assert math.isnan(NUMBERS.score(0.5, None, task))


@pytest.mark.parametrize("none", [None, [], iter(())])
def test_an_epoch_without_a_batch_is_refused(none: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planted, "drawn", {7: none})
    config = cell().having(task=HERE).config
    with pytest.raises(BadInput, match="at least one training batch in epoch 7; got none"):
        next(batches(task_of(config), 7, config))


def test_other_widths_and_lists_of_numbers_are_taken() -> None:
    config = cell("dtype=float64").having(task=HERE).config
    task = task_of(config)
    for xs, ys in ((XS, YS.astype(np.int64)), (XS.astype(int), YS), (XS.tolist(), YS.tolist())):
        found, labels = held(task, (xs, ys), config)
        assert (found.dtype, labels.dtype) == (np.float64, np.int32)
        assert np.array_equal(found, XS)
        assert np.array_equal(labels, YS)


def test_every_batch_is_held_and_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cell("epochs=2")
    run, _ = build(made.config, made.choices)
    good, bad = run.batch, (run.batch[0], run.batch[1] + run.task.n_out)
    for training, test in (([good, bad], good), ([good], bad)):
        monkeypatch.setattr(run.task, "batches", lambda epoch, all=training: iter(all))
        monkeypatch.setattr(run.task, "test", lambda batch=test: batch)
        with pytest.raises(BadInput, match="task: labels: expected 0 to 9; got 1"):
            Learning().measure(run)


@pytest.mark.parametrize(
    ("model", "came"), [("Weightless", "no ParamState"), ("nothing", "NoneType")]
)
def test_a_model_without_weights_that_can_be_trained_is_refused(model: str, came: str) -> None:
    made = cell().having(model={"_target_": f"tests.bench.planted_groups.{model}"})
    with pytest.raises(BadInput, match=f"model: expected .*; got {came}"):
        model_of(made.config, task_of(made.config))


@pytest.mark.parametrize(
    ("layers", "came"), [(2, "float32[3, 20]"), (3, "NoneType"), (4, "int32[3]"), (5, "tuple")]
)
def test_outputs_that_are_not_those_of_the_task_are_refused(layers: int, came: str) -> None:
    model = {"_target_": "tests.bench.planted_groups.Answering"}
    made = cell().having(model=model, n_layers=layers)
    words = f"model: expected update to return outputs [B, 10] of floating point; got {came}."
    with pytest.raises(BadInput, match=re.escape(words)):
        build(made.config, made.choices)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("raises", "task: KeyError: 'labels'"),
        ("answers", "task.answers: expected CLASSES or NUMBERS of bench.answers; got '4'."),
        ("n_in", "task.n_in: expected a whole number of at least 1; got '4'."),
        ("n_out", "task.n_out: expected a whole number of at least 1; got '4'."),
    ],
)
def test_a_task_that_cannot_be_made_is_quoted(broken: str, words: str) -> None:
    config = cell().having(task=HERE | {"broken": broken}).config
    job = {"config": config, "choices": {}, "depth": "task", "tuned": False}
    assert probe.look(job)["error"] == words
