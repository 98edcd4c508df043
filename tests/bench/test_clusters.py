"""Jobs in processes of their own, and a planted Slurm: the rows of a sweep in turn."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bench.sweep.provenance import ROOT
from tests.bench.sweeps import records

# One that runs and one that says why it cannot.
TINY = [
    "-m",
    "batching=single",
    "devices=1,2",
    "task=random_spikes",
    "n_steps=4",
    "n_hidden=4",
    "batch_size=2",
    "epochs=1",
    "metric=[learning]",
    "report=false",
]


def bench(cwd: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=cwd,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
    )


def learned(out: Path) -> list[Any]:
    return sorted(
        (r["key"], r["row"], r["status"], r["reason"], r["curves"].get("loss"))
        for r in records(out)
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where processes of this machine have run the cells."""
    cwd = tmp_path_factory.mktemp("processes")
    answer = bench(cwd, *TINY, "out=out", "hydra/launcher=processes", "hydra.launcher.jobs=2")
    assert answer.returncode == 0, answer.stderr
    assert "2 cells for 2 jobs\n" in answer.stdout
    assert "warning" not in answer.stdout  # no clock is read
    return cwd


def test_jobs_run_the_cells_that_a_sweep_in_turn_would(local: Path) -> None:
    assert sorted(row[2] for row in learned(local / "out")) == ["ok", "skipped"]
    assert "2 of 2 cells are recorded already" in bench(local, *TINY, "out=out").stdout


def test_submitit_on_this_machine(local: Path, tmp_path: Path) -> None:
    answer = bench(tmp_path, *TINY, "out=out", "devices=1", "hydra/launcher=submitit_local")
    assert answer.returncode == 0, answer.stderr
    (row,) = learned(tmp_path / "out")
    assert row in learned(local / "out")


# A cluster of one node that is this machine: what Slurm's programs answer, as far as they are used.
SLURM = {
    "sbatch": """
        for script; do :; done
        cp "$script" "$CLUSTER/script"
        for task in 0 1; do
            export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task
            export SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0
            export SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost
            (bash "$CLUSTER/script" > "$CLUSTER/$task.out" 2>&1
             echo "7_$task|COMPLETED|node" >> "$CLUSTER/ended") > "$CLUSTER/no" 2>&1 &
        done
        echo "Submitted batch job 7" """,
    "srun": """
        while [[ "$1" == -* ]]; do
            case "$1" in --output|--error) shift 2 ;; *) shift ;; esac
        done
        exec "$@" """,
    "sacct": """
        echo "JobID|State|NodeList"
        cat "$CLUSTER/ended" 2> "$CLUSTER/no" || true """,
}


def test_slurm_array(local: Path, tmp_path: Path) -> None:
    for name, text in SLURM.items():
        program = tmp_path / name
        program.write_text("#!/bin/bash\n" + textwrap.dedent(text) + "\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    answer = bench(
        tmp_path,
        *TINY,
        "out=out",
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.jobs=2",
        "hydra.launcher.partition=long",
        "hydra.launcher.setup=[date]",
        CLUSTER=str(tmp_path),
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    )
    outputs = "".join(path.read_text() for path in tmp_path.glob("?.out"))
    assert answer.returncode == 0, answer.stdout + answer.stderr + outputs
    assert learned(tmp_path / "out") == learned(local / "out")
    script = (tmp_path / "script").read_text()
    assert "\ndate\n" in script
    for line in (
        "--array=0-1%2",
        "--exclusive",
        "--partition=long",
        "--time=240",
        "--job-name=etrace-bench",
    ):
        assert f"#SBATCH {line}\n" in script
