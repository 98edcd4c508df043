"""Real duels whose right verdict is known: equal versions, a planted slowdown, a planted speed-up.

    python -m tests.benchmarks.trials --aa 20 --slower 10 --faster 3 [--minutes 60] [KEY=VALUE...]

Both trees are copies of a committed revision, so that nothing moves under a trial. Each finished
trial is a line of OUT/trials.jsonl; the same command goes on where it stopped. The kinds take
turns, so that a machine that changes meanwhile changes for all of them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks import planted

ROOT = Path(__file__).resolve().parents[2]
CELL = ["algo=d_rtrl", "model=gru", "n_hidden=32"]
# Base and head of each kind, and the verdict that is right.
KINDS = {
    "aa": ("base", "base", "same"),
    "slower": ("base", "slow", "worse"),
    "faster": ("slow", "base", "better"),
}


def main() -> None:
    """Run what is missing of the trials asked for, then print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, help=f"trials of {KINDS[kind]}")
    parser.add_argument("--percent", type=float, default=10.0, help="planted slowdown")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no trial after these")
    parser.add_argument("--budget-s", type=float, default=1800.0, help="of one duel")
    parser.add_argument("--revision", default="HEAD", help="what both trees are copies of")
    parser.add_argument("--out", type=Path, default=Path("runs/trials"))
    parser.add_argument("cell", nargs="*", default=CELL, help="overrides of the cell")
    asked = parser.parse_args()
    began = time.monotonic()
    out = asked.out.resolve()
    if not (out / "planted.json").exists():
        prepare(out, asked.revision, asked.percent, asked.cell)
    while kind := next_kind({k: getattr(asked, k) for k in KINDS}, finished(out)):
        if time.monotonic() - began > 60 * asked.minutes:
            break
        trial = duel(out, kind, asked.budget_s, asked.cell)
        with (out / "trials.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(trial) + "\n")
        print(json.dumps(trial), flush=True)
    print(summary(finished(out)))


def prepare(out: Path, revision: str, percent: float, cell: list[str]) -> None:
    """Two copies of a revision, one of them slowed down by a calibrated amount."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=True
    ).stdout
    for side in ("base", "slow"):
        shutil.rmtree(out / side, ignore_errors=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(out / side, filter="data")
    planted.plant(out / "slow")
    path = os.pathsep.join([str(out / "slow"), str(ROOT)])
    env = {
        **os.environ,
        "PYTHONPATH": path,
        "JAX_PLATFORMS": "cpu",
        "NPROC": "1",
    }  # as the duel starts its processes
    part = out / "planted.part"
    subprocess.run(
        [sys.executable, "-P", "-m", "tests.benchmarks.planted", str(percent), str(part), *cell],
        cwd=out,
        env=env,
        check=True,
    )
    found = json.loads(part.read_text(encoding="utf-8"))
    planted.set_length(out / "slow", found["loops"])
    part.replace(out / "planted.json")
    print("planted:", json.dumps(found), flush=True)


def finished(out: Path) -> list[dict[str, Any]]:
    """The trials on file."""
    file = out / "trials.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def next_kind(wanted: dict[str, int], trials: list[dict[str, Any]]) -> str | None:
    """The kind that is furthest behind its share; None when all are done."""
    done = Counter(trial["kind"] for trial in trials)
    behind = {kind: done[kind] / count for kind, count in wanted.items() if done[kind] < count}
    return min(behind, key=behind.__getitem__) if behind else None


def duel(out: Path, kind: str, budget_s: float, cell: list[str]) -> dict[str, Any]:
    """One duel in a process of its own, as a user starts it."""
    base, head, right = KINDS[kind]
    folder = out / f"{len(finished(out)):03d}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)  # of a trial that was interrupted
    before, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.duel",
            f"base={out / base}",
            f"head={out / head}",
            f"out={folder}",
            f"budget_s={budget_s}",
            *cell,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{folder.name}: status {done.returncode}\n{done.stdout}{done.stderr}")
    (told,) = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))["cells"]
    pairs = json.loads((folder / "duel.json").read_text(encoding="utf-8"))["pairs"]
    return {
        "kind": kind,
        "right": right,
        "verdict": told["verdict"],
        "status": done.returncode,
        "run_pairs": len(pairs),
        "seconds": round(time.monotonic() - began, 1),
        "load": [round(before, 2), round(os.getloadavg()[0], 2)],
        **{name: told[name] for name in ("estimate", "lo", "hi", "p", "reason")},
    }


def summary(trials: list[dict[str, Any]]) -> str:
    """One line for each kind."""
    lines = []
    for kind, (*_, right) in KINDS.items():
        mine = [trial for trial in trials if trial["kind"] == kind]
        if mine:
            verdicts = ", ".join(
                f"{n} {v}" for v, n in Counter(trial["verdict"] for trial in mine).most_common()
            )
            pairs = sum(trial["run_pairs"] for trial in mine)
            seconds = sum(trial["seconds"] for trial in mine)
            lines.append(
                f"{kind}: {len(mine)} trials ({verdicts}; right is {right}), "
                f"{pairs} pairs, {seconds / pairs:.1f} s a pair"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
