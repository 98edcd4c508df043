"""Repeats of a cell: what they measure anew, and how their records are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from bench.cell.build import build
from bench.command import cli
from bench.metrics.base import Metric, Run, of_repeats
from bench.metrics.learning import Learning
from bench.metrics.timing import Timing
from bench.sweep import cell as cell_module
from bench.sweep.cell import Cell, kind_of


def processes(*overrides: str) -> list[Cell]:
    return cli.cells_of(None, [*overrides, "repeats=3"], multirun=False)


def test_a_repeat_measures_what_another_process_may_change() -> None:
    first, *again = processes()
    assert {*first.config.metric} > {"learning", "fidelity", "health", "work"}
    # Agreement is the same in each, but without it no time may be shown.
    assert [[*cell.config.metric] for cell in again] == [["agreement", "timing", "memory"]] * 2
    assert [cell.repeat for cell in again] == [1, 2]
    assert len({cell.identity for cell in (first, *again)}) == 3
    # With the settings of the first, also those of the metrics.
    set_by_hand = processes("metric.timing.budget_s=0.5")
    assert {cell.config.metric["timing"]["budget_s"] for cell in set_by_hand} == {0.5}


@pytest.mark.parametrize("asked", ["learning", "learning,fidelity,health"])
def test_training_alone_is_repeated_as_asked(asked: str) -> None:
    """It shows whether training comes to the same bits in every process."""
    names = [[*cell.config.metric] for cell in processes(f"metric=[{asked}]")]
    assert names == [asked.split(",")] * 3


class Untold(Metric):
    """A metric of somebody's own, which may need what training left."""

    def measure(self, run: Run) -> dict[str, Any]:
        return {}


def test_a_metric_that_does_not_say_is_measured_each_time_after_all_others() -> None:
    assert of_repeats({"timing": Timing(), "learning": Learning()}) == ["timing"]
    own = {"timing": Timing(), "learning": Learning(), "untold": Untold()}
    assert of_repeats(own) == [*own]


def test_a_repeat_is_expected_to_take_as_long_as_other_repeats() -> None:
    first, second, third = (kind_of(cell.row()) for cell in processes())
    assert first != second == third


def test_cells_that_run_once_build_no_metric_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of 100,000 cells is listed in seconds."""
    (cell,) = cli.cells_of(None, [], multirun=False)
    monkeypatch.setattr(cell_module.instantiate, "instantiate", lambda node: pytest.fail(str(node)))
    assert cell.processes() == [cell]


def test_the_first_gradient_is_recorded_by_every_process() -> None:
    """By it a comparison sees whether a program comes to the same bits each time."""
    asked = ["task=random_spikes", "n_hidden=8", "batch_size=4", "epochs=1"]
    (cell,) = cli.cells_of(None, asked, multirun=False)
    run, parts = build(cell.config, cell.choices)
    _, result = run.stepper(run.stepper.values(), run.stepper.prepare(*run.batch))
    assert parts["metrics"]["grad_norm"] == float(result.grad_norm) > 0
