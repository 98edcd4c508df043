"""Run a small sweep, run the same command again (nothing is measured twice), look at its rows."""

import subprocess
import sys
import tempfile
from pathlib import Path

import reports

COMMAND = [
    sys.executable,
    "-m",
    "bench",
    "-m",
    "algo=bptt,d_rtrl",
    "task=random_classification",
    "model=gru",
    "n_hidden=16",
    "n_steps=10",
    "batch_size=8",
    "metric=[timing,memory,learning]",
    "metric.timing.budget_s=1",
    "report=false",
]

with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "sweep"
    for _ in range(2):
        done = subprocess.run([*COMMAND, f"out={out}"], capture_output=True, text=True, check=True)
        print(done.stdout.splitlines()[0])
    cells = reports.load(out)
    columns = ["algo", "batching", "step_time_ms", "memory_peak_mib", "loss_final"]
    print(cells[columns].to_string(index=False))
