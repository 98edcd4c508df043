"""What a sweep finds in its folder: unreadable records, what is left to run, failed floors."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import child
from bench.cell.probe import finding
from bench.child import End
from bench.command import plan
from bench.sweep import machine_rates, sweep
from bench.sweep.folder import Folder
from bench.sweep.machine_rates import rates_here
from tests.bench.sweeps import cells_of, counting, plant_without_processes, records, run, with_code


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    plant_without_processes(monkeypatch.setattr)


def test_a_record_that_cannot_be_read_is_set_aside_and_its_cell_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, out, ran = cells_of("seed=0,5"), tmp_path / "out", counting(monkeypatch)
    assert run(cells, out) == 0
    victim = out / "cells" / f"{cells[0].key}.json"
    victim.unlink()
    victim.mkdir()
    assert run(cells, out) == 0
    assert "corrupt record, the cell runs again: [Errno 21]" in capsys.readouterr().err
    assert victim.with_suffix(".corrupt").exists()
    assert ran == [0, 5, 0]
    assert [r["row"]["seed"] for r in records(out)] == [0, 5]


def test_a_plan_says_what_will_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine = {place: finding() for place in (0, 1)}
    assert run(cells_of("seed=0,1"), tmp_path / "out") == 1

    def states(*arguments: str) -> list[str]:
        capsys.readouterr()
        plan.show(cells_of("seed=0,1", *arguments), fine, Folder(tmp_path / "out"))
        return [word for word in capsys.readouterr().out.split() if word in ("runs", "recorded")]

    assert states() == ["recorded", "recorded"]
    assert states("resume=retry") == ["recorded", "runs"]
    assert states("resume=false") == ["runs", "runs"]


def test_a_folder_with_other_cells_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> str:
        run(cells_of(*arguments), tmp_path / "out")
        return capsys.readouterr().out

    words = "records of other cells or machines in"
    assert words not in said("seed=0,5")
    # The same cells again, more of them, and the same ones with newer code.
    assert words not in said("seed=0,5")
    assert words not in said("seed=0,5,10", "resume=retry", "repeats=2")
    with_code(monkeypatch, "newer code")
    assert words not in said("seed=0,5,10", "repeats=2")
    assert f"6 {words}" in said("seed=0,5", "n_hidden=8")


def test_latest_is_the_last_sweep_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = tmp_path / "runs" / "latest"
    seen: list[bool] = []
    monkeypatch.setattr(sweep, "build_report", lambda *_: seen.append(latest.exists()) or "page")
    run(cells_of("seed=0"), tmp_path / "whole")
    assert seen == [False]
    assert latest.resolve() == tmp_path / "whole"

    def interrupted(*_: object) -> list[str]:
        assert latest.resolve() == tmp_path / "whole"
        raise KeyboardInterrupt

    broken = Folder.open(tmp_path / "broken")
    assert sweep.run(cells_of("seed=0"), broken, {}, interrupted) == 130
    assert latest.resolve() == tmp_path / "whole"
    run(cells_of("seed=0", "report=false"), tmp_path / "broken")
    assert latest.resolve() == tmp_path / "broken"


def test_a_floor_that_fails_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, folder, asked = cells_of("seed=0")[0], Folder.open(tmp_path / "out"), []

    def hangs(*arguments: object) -> tuple[list[object], End]:
        asked.append(arguments[3])
        return [], End(None, late=True, held=0, output=b"")

    monkeypatch.setattr(machine_rates, "_known", {})
    with monkeypatch.context() as patch:
        patch.setattr(child, "asked", hangs)
        assert [rates_here(folder, cell) for _ in range(2)] == [{}, {}]
    assert asked == [machine_rates.TIMEOUT_S]
    # As another process finds it.
    machine_rates._known.clear()
    assert not (folder.path / "rates").exists()
    rates = {rate: [1.0, 2.0] for rate in machine_rates.RATES}
    monkeypatch.setattr(machine_rates, "_measured", lambda _: rates)
    assert rates_here(folder, cell) == rates
    machine_rates._known.clear()
    monkeypatch.setattr(machine_rates, "_measured", None)
    assert rates_here(folder, cell) == rates
