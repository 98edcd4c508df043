"""One bad cell costs one row, whatever goes wrong with it in the process of the sweep."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.sweep import launch, machine_rates, provenance, record, sweep
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.machine_rates import RATES, rates_here
from bench.sweep.sweep import build_report
from tests.bench.sweeps import cells_of, plant, records, run


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    plant(monkeypatch.setattr)


def planted_outcomes(
    monkeypatch: pytest.MonkeyPatch, what: Callable[[int], dict[str, Any]]
) -> None:
    """Cells without processes: what comes of one is chosen by its seed."""

    def run_cell(cell: Cell, result: dict[str, Any], *_: object) -> None:
        record.merge(result, {"status": "ok", **what(cell.config.seed)})

    monkeypatch.setattr(launch, "run_cell", run_cell)


def test_what_goes_wrong_in_this_process_costs_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(seed: int) -> dict[str, Any]:
        if seed == 5:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        if seed == 10:
            raise RecursionError("maximum recursion depth exceeded")
        return {}

    planted_outcomes(monkeypatch, fails)
    assert run(cells_of("seed=0,5,10,15"), tmp_path / "out") == 1
    assert [(r["status"], r["reason"].split(" [log")[0]) for r in records(tmp_path / "out")] == [
        ("ok", ""),
        ("crashed", "not measured: BlockingIOError: [Errno 11] Resource temporarily unavailable"),
        ("crashed", "not measured: RecursionError: maximum recursion depth exceeded"),
        ("ok", ""),
    ]


def test_a_cell_says_nothing_about_where_it_is_filed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    planted_outcomes(
        monkeypatch,
        lambda seed: {"provenance": {"identity": "../../mine", "device": "cpu", "code": "x"}},
    )
    (cell,) = cells_of("seed=0")
    assert run([cell], tmp_path / "out") == 0
    (found,) = records(tmp_path / "out")
    assert found["provenance"]["device"] == "cpu"
    assert found["provenance"]["code"] == provenance.code_of(cell.config)
    assert mine.exists()


def test_a_title_may_look_like_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted_outcomes(monkeypatch, lambda seed: {})
    cells = [replace(cell, apart=("path=[/x]",)) for cell in cells_of("seed=0")]
    assert run(cells, tmp_path / "out") == 0
    assert capsys.readouterr().out.count("path=[/x]") == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "\0",
        "null",
        "[1]",
        '{"copy_bytes_per_s": [1, 2]}',
        '{"product_flops_per_s": [1, 2], "copy_bytes_per_s": [0, 2]}',
        '{"product_flops_per_s": [1, 2], "copy_bytes_per_s": "12"}',
    ],
)
def test_a_floor_that_is_none_is_measured(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cell = Folder.open(tmp_path / "out"), cells_of("seed=0")[0]
    rates = {rate: [1.0, 2.0] for rate in RATES}
    monkeypatch.setattr(machine_rates, "_measured", lambda _: rates)
    (folder.path / "rates").mkdir()
    file = folder.path / "rates" / f"{provenance.fingerprint(cell.config)}-cpu-float32.json"
    file.write_text(text)
    assert rates_here(folder, cell) == rates == record.load(file)


def test_a_report_that_failed_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(path: Path, modules: list[str]) -> str:
        raise ChildProcessError("python -m reports ended with status -9: Killed")

    monkeypatch.setattr(sweep, "build_report", fails)
    assert run(cells_of("seed=0"), tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "report:  none (python -m reports ended with status -9: Killed)" in printed


def test_a_report_runs_the_plots_of_its_own_sweep_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[list[str], str]] = []
    monkeypatch.setattr(sweep, "build_report", build_report)
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, env, **_: (
            commands.append((command, (env or {}).get("PYTHONPATH", "")))
            or subprocess.CompletedProcess(command, 2, "", "reports: no")
        ),
    )
    cells = cells_of("seed=0", "+plot.mine._target_=json")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.json").write_text('{"plots": ["planted"]}')
    assert run(cells, tmp_path / "out") == 1
    command, path = commands[-1]
    assert command[-3:] == [str(tmp_path / "out"), "--plots", "json"]
    # As this command found them: also in the current folder.
    assert path.endswith(os.pathsep + str(tmp_path))
