"""How a sweep's records, tables and report grow: measured on records of an invented machine.

    python -m tests.benchmarks.many_records 1000 10000 100000

Each step runs in a process of its own and prints its CPU seconds and its peak of resident memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.reports.synthetic_records import record

# Samples of a step's time that a real record holds, most of its bytes.
SAMPLES = 200
AXES = {
    "algo": ("bptt", "d_rtrl", "es_d_rtrl"),
    "batching": ("manual", "vmap"),
    "model": ("lif_net", "gru"),
    "batch_size": (16, 32, 64, 128),
    "n_hidden": (32, 64, 128, 256),
    "n_steps": (16, 32, 64, 128),
    "repeat": tuple(range(5)),
}
# What is asked of all the records in the end: one model and batch size.
SELECTION = {"model": "gru", "batch_size": 16}
# The tables' folder; where the report writes its own, no file may be that no report wrote.
TABLES = "tables"


def write_records(folder: Path, count: int) -> None:
    """One grid of cells for each seed, `count` cells in all, and a manifest that plans them."""
    cells = folder / "cells"
    cells.mkdir(parents=True)
    planned = []
    grid = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    made = [record(**axes) for axes in grid[:count]]
    for built in made:
        built["samples"]["step_time_ms"] = (built["samples"]["step_time_ms"] * SAMPLES)[:SAMPLES]
    texts = [json.dumps(built, indent=1) for built in made]
    for i in range(count):
        seed, place = divmod(i, len(grid))
        # The numbers of another seed are the same: what is measured here is how many there are.
        old = made[place]["key"]
        key = f"{seed:04x}{old[4:]}"
        text = texts[place].replace(old, key).replace('"seed": 0', f'"seed": {seed}')
        (cells / f"{key}.json").write_text(text)
        planned.append({"key": key, "row": {**made[place]["row"], "seed": seed}})
    (folder / "sweep.json").write_text(
        json.dumps({"schema": 1, "experiment": "many", "question": "", "planned": planned})
    )


def read(folder: Path) -> None:
    from reports.records import read_sweeps

    read_sweeps([folder])


def tables(folder: Path) -> None:
    from reports.records import read_sweeps
    from reports.records.table import frame, write

    records = read_sweeps([folder]).records
    (folder / TABLES).mkdir()
    write(frame(records), folder / TABLES)


def parquet(folder: Path) -> None:
    import pandas as pd

    table = pd.read_parquet(folder / TABLES / "results.parquet")
    chosen = table.loc[(table[list(SELECTION)] == pd.Series(SELECTION)).all(axis=1)]
    assert 0 < len(chosen) < len(table)
    chosen.pivot_table(index="n_hidden", columns="algo", values="step_time_ms", aggfunc="median")


def report(folder: Path) -> None:
    from reports.build import build

    build([folder])


def resume(folder: Path) -> None:
    """What the same command does before it finds that nothing is left to run."""
    from bench.sweep.folder import Folder

    place = Folder(folder)
    planned = json.loads((folder / "sweep.json").read_text())["planned"]
    assert all(place.load(cell["key"]) for cell in planned)


STEPS: dict[str, Callable[[Path], None]] = {
    "tables": tables,
    "parquet": parquet,
    "resume": resume,
    "read": read,
    "report": report,
}


def peak_mib() -> float:
    """The high-water mark of this process alone; `ru_maxrss` would start at that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def measured(name: str, folder: Path) -> str:
    """CPU seconds and peak memory of one step, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.many_records", "--step", name, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    last = (answer.stdout or answer.stderr).strip().splitlines()[-1]
    return last if answer.returncode == 0 else f"failed: {last}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", help="records, in thousands of your patience")
    parser.add_argument("--step", nargs=2, help="one step on a folder (used by this program)")
    parser.add_argument("--skip", nargs="*", default=[], choices=STEPS, help="steps to leave out")
    arguments = parser.parse_args()
    if arguments.step:
        name, folder = arguments.step
        began = time.process_time()
        STEPS[name](Path(folder))
        print(f"{time.process_time() - began:8.1f} s {peak_mib():8.0f} MiB")
        return
    for count in map(int, arguments.counts):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "sweep"
            write_records(folder, count)
            size = sum(file.stat().st_size for file in (folder / "cells").iterdir())
            print(f"{count} records, {size / 2**20:.0f} MiB", flush=True)
            for name in STEPS:
                if name not in arguments.skip:
                    print(f"  {name:8} {measured(name, folder)}", flush=True)
            for file in ("results.parquet", "results.csv", "report/index.html"):
                if (folder / file).exists():
                    print(f"  {file}: {(folder / file).stat().st_size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
