"""Sweeps: a record per cell whatever happens to one, resume, interruption, two at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.sweep import measure, provenance, record, sweep
from bench.sweep.folder import Folder
from bench.sweep.provenance import ROOT
from tests.bench.sweeps import (
    PROGRAM,
    cells_of,
    counting,
    ended_at_random,
    plant,
    plant_without_processes,
    records,
    rows,
    run,
    start,
    wait_for,
    with_code,
    workers_of,
)


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cells whose seed chooses a fault, in light processes; no floor and no report."""
    monkeypatch.chdir(tmp_path)
    plant(monkeypatch.setattr)


def test_one_row_per_cell_whatever_happens(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(cells_of("seed=0,1,2,3,4", "repeats=2"), out) == 1
    found = records(out)
    assert len(found) == 10
    statuses = [r["status"] for r in found if r["row"]["repeat"] == 1]
    assert statuses == ["ok", "crashed", "crashed", "crashed", "oom"]
    for value in found:
        assert value["metrics"] == {"trace_s": 1.0, "loss_final": None, "shared_with": 0}
        assert value["config"]["seed"] == value["row"]["seed"]
        assert bool(value["reason"]) == (value["status"] != "ok")
        assert (out / value["log"]).exists()
        assert value["provenance"]["wall_s"] > 0
    plan = json.loads((out / "sweep.json").read_text())
    assert {p["key"] for p in plan["planned"]} == {r["key"] for r in found}


def test_a_sweep_can_do_without_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[Path] = []
    monkeypatch.setattr(sweep, "build_report", lambda path, _: built.append(path) or "the page")
    assert run(cells_of("seed=0", "report=false"), tmp_path / "out") == 0
    assert not built
    assert "report:  none (report=false)" in capsys.readouterr().out
    # It is the same cell and the same sweep: the record is there, only the page is made.
    assert run(cells_of("seed=0"), tmp_path / "out") == 0
    assert built == [tmp_path / "out"]
    assert "1 of 1 cells are recorded already" in capsys.readouterr().out


def test_resume_runs_what_is_missing_stale_or_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_without_processes(monkeypatch.setattr)
    out = tmp_path / "out"
    ran = counting(monkeypatch)
    run(cells_of("seed=0,1"), out)
    assert ran == [0, 1]
    # Failures are results as well: the same command does nothing, and keeps its exit status.
    assert run(cells_of("seed=0,1"), out) == 1
    assert ran == [0, 1]
    run(cells_of("seed=0,1,5"), out)
    assert ran == [0, 1, 5]
    run(cells_of("seed=0,1", "resume=retry"), out)
    assert ran == [0, 1, 5, 1]
    run(cells_of("seed=0,5", "resume=false"), out)
    assert ran == [0, 1, 5, 1, 0, 5]
    victim = next((out / "cells").glob("*.json"))
    victim.write_text(victim.read_text()[:50])
    run(cells_of("seed=0,1,5"), out)
    assert len(ran) == 7
    with_code(monkeypatch, "newer code")
    run(cells_of("seed=0,1,5"), out)
    assert len(ran) == 10
    assert len(records(out)) == 3


def test_what_follows_from_a_sweep_runs_it_no_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_without_processes(monkeypatch.setattr)
    seeds = counting(monkeypatch)
    for resume, ran in {"false": [0, 1, 10], "true": [], "retry": [1]}.items():
        first, then = (cells_of(f"resume={resume}", f"seed={s}") for s in ("0,1", "10"))
        folder = Folder.open(tmp_path / "out")
        about = {"experiment": "", "question": "", "overrides": []}
        assert sweep.run(first, folder, about, then=lambda _, then=then: then) == 1
        # What follows is known as the sweep's own only then.
        assert "records of other cells" not in capsys.readouterr().out
        assert sorted(seeds) == ran
        seeds.clear()


@pytest.mark.parametrize("kept", [True, False])
def test_a_cell_whose_code_was_edited_meanwhile_is_invalid_and_runs_again(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    ran = counting(monkeypatch)
    before = provenance.code_of(cells_of("seed=0")[0].config)
    monkeypatch.setattr(provenance, "code_hash", lambda *_: "edited")
    assert run(cells_of("seed=0"), out) == 1
    (record,) = records(out)
    assert (record["status"], ran) == ("invalid", [0])
    assert "was edited since the sweep began" in record["reason"]
    with_code(monkeypatch, "edited" if kept else before)
    assert run(cells_of("seed=0"), out) == 0
    assert [record["status"] for record in records(out)] == ["ok"]
    assert ran == [0, 0]


def test_gpu_cells_without_a_gpu_become_skipped_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "gpu_name", lambda: "")
    assert run(cells_of("seed=0", "device=cpu,gpu"), tmp_path / "out") == 0
    found = {r["row"]["device"]: r for r in records(tmp_path / "out")}
    assert found["cpu"]["status"] == "ok"
    assert found["gpu"]["status"] == "skipped"
    assert found["gpu"]["reason"] == "no NVIDIA GPU answers nvidia-smi on this machine"


DISK = """
mount -t tmpfs -o size=40k none "$1" && cd "$1" || exit 77
run() { "$2" -c "$3" "$1/out" seed=0,5,10,15,20,25; echo "status $?"; ls out/cells/*.json | wc -l; }
run "$@"; mount -o remount,size=1m "$1"; run "$@"
"""


def test_a_really_full_disk(tmp_path: Path) -> None:
    """On a small tmpfs of its own: rows are lost and named, and run again once there is room."""
    done = subprocess.run(
        [
            "unshare",
            "--map-root-user",
            "--mount",
            "bash",
            "-c",
            DISK,
            "bash",
            str(tmp_path),
            sys.executable,
            PROGRAM,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    full, _, roomy = done.stdout.partition("status 1\n")
    lost = full.count("could not be written: [Errno 28] No space left on device")
    assert "[6/6] ok" in full
    assert 0 < lost < 6
    kept = int(roomy.split(maxsplit=1)[0])
    assert kept >= 6 - lost
    assert f"{kept} of 6 cells are recorded already" in roomy
    assert roomy.split()[-3:] == ["status", "0", "6"]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_disk_that_is_full_at_once_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, folder = cells_of("seed=0"), Folder.open(tmp_path / "out")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_bytes", full)
    with pytest.raises(BadInput, match=r"a folder that can be written; .* No space left"):
        sweep.run(cells, folder, {})


def test_two_sweeps_into_one_folder_share_the_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [start(out, "seed=0,5,10,15,20,25") for _ in range(2)]
    texts = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert [r["row"]["seed"] for r in records(out)] == [0, 5, 10, 15, 20, 25]
    assert not list((out / "cells").glob("*.tmp"))


def test_an_ended_sweep_keeps_its_records_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seeds = "seed=" + ",".join(str(5 * i) for i in range(5))
    process = start(out, seeds, PLANTED_HOLD=str(out / "cells"))
    wait_for(lambda: len(list((out / "cells").glob("*.json"))) >= 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    wait_for(lambda: not list(workers_of(tmp_path)))
    before = {r["key"]: r["created"] for r in records(out)}
    assert len(before) >= 2
    assert run(cells_of(seeds), out) == 0
    after = {r["key"]: r["created"] for r in records(out)}
    assert len(after) == 5
    assert before.items() <= after.items()


def test_interrupted_at_random_ends_with_the_same_rows(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = ["seed=" + ",".join(map(str, range(6)))]
    assert run(cells_of(*arguments), whole) == 1
    rng = random.Random(0)
    for _ in range(3):
        ended_at_random(start(broken, *arguments), rng.uniform(0.8, 2.5), signal.SIGKILL)
    wait_for(lambda: not list(workers_of(tmp_path)))
    assert run(cells_of(*arguments), broken) == 1
    assert len(rows(whole)) == 6
    assert rows(whole) == rows(broken)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["devices=2", "batching=single"], "batching=single has no batch to split over devices"),
        (["devices=3"], "batch_size=64 does not split over devices=3"),
        (
            ["batching=single", "update_every=2"],
            "batching=single sums the gradients of whole sequences; update_every needs "
            "batching=manual or vmap",
        ),
        (
            ["backend=braintrace", "algo=es_d_rtrl", "algo.decay_or_rank=4"],
            "braintrace maps a rank to a decay and has no rank form",
        ),
        (["backend=braintrace", "algo=bptt"], "braintrace has no bptt"),
    ],
)
def test_what_cannot_run_is_skipped_with_the_reason(arguments: list[str], reason: str) -> None:
    (cell,) = cells_of(*arguments)
    assert measure.why_skipped(cell) == reason


GROWTH = """
import resource, sys
from pathlib import Path
from bench.sweep import record
from tests.bench import sweeps as t
t.plant(setattr)

def held(repeats):
    # MiB at most, after a sweep of so many cells that are recorded already.
    cells, out = t.cells_of(f"repeats={repeats}"), Path(sys.argv[1]) / str(repeats)
    folder = t.Folder.open(out)
    for cell in cells:
        value = record.blank(cell.key, None, cell.row(), cell.config.plain())
        value["samples"] = {"step_time_ms": [0.1] * 5000}
        own = {"identity": cell.identity, "wall_s": 1.0}
        folder.save(value | {"status": "ok", "provenance": own})
    assert t.run(cells, out) == 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

few, many = held(4), held(400)
print(many - few)
"""


def test_the_parent_holds_no_records(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path)],
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    # The records of 400 cells are 35 MB; what is kept of them is a few numbers each.
    assert float(answer.stdout.splitlines()[-1]) < 12
