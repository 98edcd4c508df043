"""Launchers: the same rows as in turn, whichever machine runs them and whatever is lost."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import processes
from bench.command import cli
from bench.errors import BadInput
from bench.launchers.base import CELLS_PER_JOB, Job, Launcher
from bench.launchers.processes import Processes
from bench.sweep import jobs, launch, measure, provenance, sweep
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from tests.bench.sweeps import cells_of, counting, plant_without_processes, records, with_code

ABOUT = {"experiment": "", "question": "", "overrides": []}


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Cells whose seed chooses a fault; the seeds that ran, in order."""
    monkeypatch.chdir(tmp_path)
    plant_without_processes(monkeypatch.setattr)
    return counting(monkeypatch)


class Ended(Job):
    def __init__(self, problem: str) -> None:
        self._problem = problem

    def done(self) -> bool:
        return True

    def problem(self) -> str:
        return self._problem


class InProcess(Launcher):
    """Jobs one after the other in this process, some of them lost before they begin."""

    here = False

    def __init__(
        self, jobs: int | None, lost: Sequence[int] = (), work: Callable[[str], None] = jobs.run
    ) -> None:
        self.jobs = jobs
        self._lost = lost
        self._work = work

    def start(self, shares: Sequence[Path], logs: Path) -> list[Job]:
        for job, path in enumerate(shares):
            if job not in self._lost:
                self._work(str(path))
        return [
            Ended(f"job {job}: the node is gone" if job in self._lost else "")
            for job in range(len(shares))
        ]


def run(out: Path, *arguments: str, launcher: Launcher | None = None) -> int:
    runner = partial(jobs.launch, launcher) if launcher else None
    folder = Folder.open(out, anywhere=launcher is not None)
    return sweep.run(cells_of(*arguments), folder, ABOUT, runner)


def rows(out: Path) -> list[Any]:
    return [
        (r["key"], r["row"], r["status"], r["reason"].split(" [log")[0], r["metrics"])
        for r in records(out)
    ]


def on_another_machine(path: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        real = provenance.environment
        patch.setattr(
            provenance,
            "environment",
            lambda python, platform: real(python, platform) | {"processor": "another"},
        )
        jobs.run(path)


def test_rows_are_those_of_a_sweep_in_turn(
    planted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []
    monkeypatch.setattr(sweep, "build_report", lambda path, _: built.append(path) or "none")
    arguments = ["seed=0,1,2,5,6", "repeats=2"]
    assert run(tmp_path / "serial", *arguments) == 1
    assert run(tmp_path / "jobs", *arguments, launcher=InProcess(3)) == 1
    assert rows(tmp_path / "jobs") == rows(tmp_path / "serial")
    assert len(rows(tmp_path / "jobs")) == 10
    assert built == [tmp_path / "serial", tmp_path / "jobs"]
    # Dealt in turn; nothing of the dealing stays.
    first, second, third = [0, 5, 1, 6], [1, 6, 2], [2, 0, 5]
    assert planted[10:] == [*first, *second, *third]
    assert not (tmp_path / "jobs" / "shares").exists()


def test_jobs_that_read_clocks_side_by_side_are_warned_of(
    planted: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(InProcess, "here", True)
    warning = "warning: 2 jobs on this machine may run at the same time"
    assert run(tmp_path / "timed", "seed=0,5", launcher=InProcess(2)) == 0
    assert warning in capsys.readouterr().out
    assert run(tmp_path / "not", "seed=0,5", "metric=[learning]", launcher=InProcess(2)) == 0
    assert warning not in capsys.readouterr().out


def test_what_another_machine_recorded_is_not_run_again(
    planted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    elsewhere = InProcess(2, work=on_another_machine)
    assert run(out, "seed=0,5", launcher=elsewhere) == 0
    assert {r["provenance"]["processor"] for r in records(out)} == {"another"}
    planned = {cell["key"] for cell in json.loads((out / "sweep.json").read_text())["planned"]}
    assert planned == {r["key"] for r in records(out)}
    assert run(out, "seed=0,5", launcher=InProcess(2)) == 0
    assert planted == [0, 5]
    # Run in turn, this machine wants times of its own.
    assert run(out, "seed=0,5") == 0
    assert planted == [0, 5, 0, 5]
    assert len(records(out)) == 4
    # Newer code replaces the record of whichever machine.
    with_code(monkeypatch, "newer code")
    assert run(tmp_path / "other", "seed=0", launcher=elsewhere) == 0
    with_code(monkeypatch, "newest code")
    assert run(tmp_path / "other", "seed=0", launcher=InProcess(1)) == 0
    assert len(records(tmp_path / "other")) == 1


def test_a_lost_job_is_named_and_its_cells_run_next_time(
    planted: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(out, "seed=0,5,10,15", launcher=InProcess(2, lost=[1])) == 1
    assert planted == [0, 10]
    printed = capsys.readouterr().out
    assert "lost: job 1: the node is gone" in printed
    assert "0 of 4 cells failed, 2 have no record" in printed
    assert run(out, "seed=0,5,10,15", launcher=InProcess(2)) == 0
    assert planted == [0, 10, 5, 15]


@pytest.mark.parametrize("resume", ["true", "false", "retry"])
def test_a_job_that_is_queued_again_goes_on_where_it_was(
    planted: list[int], tmp_path: Path, resume: str
) -> None:
    def twice(path: str) -> None:
        on_another_machine(path)
        jobs.run(path)

    # Seed 1 fails, which is a result that its job does not try again.
    run(tmp_path / "out", "seed=0,1", f"resume={resume}", launcher=InProcess(1, work=twice))
    assert planted == [0, 1]


def test_a_cell_goes_to_its_job_without_the_names_that_it_has_on_this_machine(
    tmp_path: Path,
) -> None:
    (cell,) = cells_of("seed=0")
    assert cell.key
    (share,) = jobs.deal([cell], Folder.open(tmp_path), 1)
    (sent,) = pickle.loads(share.read_bytes())[2]
    assert sent == cell
    assert not {"key", "identity", "identity_anywhere"} & {*vars(sent)}


def test_a_withdrawn_sweep_stops_between_cells(
    planted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = jobs.deal(cells_of("seed=0,5"), Folder.open(tmp_path / "out", anywhere=True), 1)
    real = sweep.measured

    def withdraw(*arguments: Any) -> dict[str, Any]:
        path.unlink()
        return real(*arguments)

    monkeypatch.setattr(sweep, "measured", withdraw)
    jobs.run(str(path))
    jobs.run(str(path))
    assert planted == [0]


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_a_launcher_that_breaks_still_gets_a_report(
    kind: type[BaseException],
    planted: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(path: str) -> None:
        jobs.run(path)
        raise kind("no answer\nfrom the queue")

    assert run(tmp_path / "out", "seed=0,5", launcher=InProcess(2, work=broken)) == 1
    assert planted == [0]
    printed = capsys.readouterr().out
    assert f"lost: {kind.__name__}: no answer from the queue" in printed
    assert "report:  none" in printed
    assert not (tmp_path / "out" / "shares").exists()


def test_no_slurm_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["hydra/launcher=submitit_slurm", "out=out"]) == 2
    assert capsys.readouterr().err == (
        "error: hydra/launcher: expected sbatch on the PATH; got submitit_slurm. Start the sweep "
        "on a login node of the cluster.\n"
    )


def test_a_job_imports_what_the_sweep_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    program = "import bench, etb_mine; print(bench.__file__)"
    (tmp_path / "etb_mine.py").touch()
    real, started = subprocess.Popen, []

    def start(command: list[str], **settings: Any) -> subprocess.Popen[bytes]:
        started.append(real([*command[:2], "-c", program], **settings))
        return started[-1]

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        (job,) = Processes().start([tmp_path / "0.json"], tmp_path / "jobs")
    started[0].wait()
    (log,) = (tmp_path / "jobs").iterdir()
    assert log.read_text().strip() == str(provenance.ROOT / "bench" / "__init__.py")
    assert job.problem() == ""


def test_jobs_fit_the_sweep() -> None:
    assert InProcess(None).jobs_for(3) == 1
    assert InProcess(None).jobs_for(10 * CELLS_PER_JOB + 1) == 11
    assert InProcess(8).jobs_for(3) == 3


def test_a_missing_library_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "submitit" else real(name)
    )
    assert cli.main(["hydra/launcher=submitit_slurm"]) == 2
    assert capsys.readouterr().err == (
        "error: hydra/launcher: expected the package submitit to be installed; "
        "got submitit_slurm. Run pip install 'etrace-bench[slurm]'.\n"
    )


def test_a_cluster_may_have_the_device_that_is_missing_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provenance, "gpu_name", lambda: "")
    assert cli.cells_of(None, ["device=gpu", "hydra/launcher=submitit_slurm"], multirun=False)
    words = r"device: expected a device of this machine; got gpu \(no NVIDIA GPU answers nvidia-smi"
    with pytest.raises(BadInput, match=words):
        cli.cells_of(None, ["device=gpu", "hydra/launcher=processes"], multirun=False)


@pytest.mark.parametrize(
    ("theirs", "mine", "shared"),
    [
        ({"JAX_PLATFORMS": "cpu"}, "cpu", True),
        ({"JAX_PLATFORMS": "cuda"}, "cpu", False),
        ({"JAX_PLATFORMS": "cuda"}, "gpu", True),
        ({"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "1"}, "gpu", False),
        ({"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "0,1"}, "gpu", True),
    ],
)
def test_a_cell_beside_another_is_seen(
    theirs: dict[str, str], mine: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | theirs
    other = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()", "-m", launch.WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
    )
    # Other tests start cells of their own at any moment: only this one is to be counted.
    everything = psutil.process_iter
    monkeypatch.setattr(
        psutil, "process_iter", lambda attrs: [p for p in everything(attrs) if p.pid == other.pid]
    )
    try:
        assert other.stdout
        assert other.stdout.readline() == b"up\n"
        own = measure.others(mine)
        monkeypatch.setattr(processes, "descendants", lambda pid: [])
        seen = measure.others(mine)
    finally:
        other.communicate(b"\n")
    assert own == 0  # a child of this process is its own cell
    assert seen == int(shared)


@pytest.mark.parametrize(
    ("phases", "columns"),
    [
        (["compile", "timing", "memory", "end"], {"shared_with": 2}),
        (["build", "compile", "learning", "end"], {}),
    ],
)
def test_other_cells_are_looked_for_at_both_ends_of_timing(
    phases: list[str], columns: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_cell(cell: Cell, result: dict[str, Any], log: Path, on_phase: Any) -> None:
        for phase in phases:
            on_phase(phase)

    found = iter([2, 1])
    monkeypatch.setattr(launch, "run_cell", run_cell)
    monkeypatch.setattr(measure, "others", lambda platform: next(found))
    (cell,) = cells_of("seed=0")
    result = measure.measured(cell, Folder.open(tmp_path))
    assert result["metrics"] == columns
    assert next(found, None) == (None if columns else 2)
