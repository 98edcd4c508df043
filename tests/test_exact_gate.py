"""The exact gate of CI: against a committed baseline, and silent where none fits."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reports import cli
from reports.records import read_sweeps
from reports.records.table import write
from reports.study import Study
from tests.reports.synthetic_records import grid, record, write_sweep

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = sorted((ROOT / ".ci" / "baseline").glob("*"))


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with folders of its own."""
    spec = importlib.util.spec_from_file_location("exact_gate", ROOT / ".ci" / "exact_gate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "BASELINES", tmp_path / ".ci" / "baseline")
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    real = subprocess.run

    def here(command: list[str], stdout: int | None = None, **settings: Any) -> Any:
        """`python -m reports` without a process for it."""
        if command[1:3] != ["-m", "reports"]:
            return real(command, stdout=stdout, **settings)
        with redirect_stdout(io.StringIO() if stdout else sys.stdout):
            return subprocess.CompletedProcess(command, cli.main(command[3:]))

    monkeypatch.setattr(module.subprocess, "run", here)
    return module


def swept(folder: Path, **changed: Any) -> Path:
    """A sweep of three cells with its tables; ``changed`` replaces metrics of the D-RTRL cell."""
    records = grid(algo=["bptt", "es_d_rtrl"])
    exact = {"n_compilations": 1.0, "loss_final": 1.25, "grad_cosine": 0.97} | changed
    records.append(record("d_rtrl", metrics=exact))
    write_sweep(folder, records)
    sweeps = read_sweeps([folder])
    write(Study(sweeps).everything, folder)
    return folder


def test_without_a_baseline_it_says_so_and_passes(
    gate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.check(swept(tmp_path / "head")) == 0
    said = capsys.readouterr().out
    assert "no baseline for" in said
    assert "nothing was compared. `make baseline` makes one." in said


def test_nothing_changed(gate: ModuleType, tmp_path: Path) -> None:
    assert gate.renew(swept(tmp_path / "base")) == 0
    assert gate.check(swept(tmp_path / "head")) == 0
    assert (tmp_path / "runs" / "compare.md").is_file()


@pytest.mark.parametrize(
    "changed",
    [
        {"etrace_mib": 0.5 * 1.05},
        {"n_compilations": 2.0},
        {"loss_final": 1.25 * (1 + 1e-3)},
        {"grad_cosine": 0.97 - 1e-4},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_change_that_no_clock_has_a_part_in_is_caught(
    gate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, float]
) -> None:
    same = {"etrace_mib": 0.5}
    gate.renew(swept(tmp_path / "base", **same))
    assert gate.check(swept(tmp_path / "head", **(same | changed))) == 1
    assert "d_rtrl" in capsys.readouterr().out


def test_another_kind_of_machine_has_a_baseline_of_its_own(
    gate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = swept(tmp_path / "head")
    here = gate.key(gate.machine_kind(head))
    monkeypatch.setattr(gate, "processor_flags", lambda: {"asimd"})
    assert gate.key(gate.machine_kind(head)) != here
    assert gate.machine_kind(head)["features"] == ["asimd"]


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_committed_baseline_lies_under_its_own_key(gate: ModuleType, folder: Path) -> None:
    kind = json.loads((folder / "machine.json").read_text(encoding="utf-8"))
    assert gate.key(kind) == folder.name
    assert (folder / "results.parquet").is_file()


def test_usage_is_told(gate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main([]) == 2
    assert "against REF" in capsys.readouterr().err


def test_a_base_that_is_no_revision_is_refused(
    gate: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert shutil.which("git")
    assert gate.main(["against", "no-such-revision"]) == 2
    assert "is no revision of this repository" in capfd.readouterr().err
