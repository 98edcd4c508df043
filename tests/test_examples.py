"""Every example runs as its page says, and prints what it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kept import ENVIRONMENT
from tests.reports.synthetic_records import grid, write_sweep

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "examples"

# What the last line must say, with the bounds of its number.
PROMISED = {
    "train_gru.py": (r"test accuracy ([\d.]+)", 0.6, 1.0),
    "stream.py": (r"steps 3500 to 4000: mean squared error ([\d.]+)", 0.0, 0.04),
    "sweep_from_python.py": (r"(2) of 2 cells are recorded already", 2, 2),
    "spiking_every_step.py": (r"batch 29: loss of the last ten steps ([\d.]+)", 0.0, 0.69),
    "own_surrogate.py": (r"W: differs from BPTT by (\S+) of its size", 0.0, 1e-12),
}


# jax 0.10.0 logs an error of features that are none for every program that it finds kept.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}

# In one process, for most of what a small one costs is imports; that of another precision last.
RUN = """
import runpy, sys
for name in sys.argv[1:]:
    print("example", name)
    runpy.run_path(name, run_name="__main__")
"""


def test_every_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *(str(FOLDER / name) for name in PROMISED)],
        env={**os.environ, **ENVIRONMENT, **QUIET, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    said = done.stdout.split("example ")[1:]
    for (name, (pattern, low, high)), text in zip(PROMISED.items(), said, strict=True):
        found = re.search(pattern, text)
        assert found, f"{name}: {text}"
        assert low <= float(found[1]) <= high, name


def test_the_notebook_draws_its_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells in order, without Jupyter."""
    records = grid(algo=["bptt", "d_rtrl"], n_hidden=[64, 128], repeat=[0, 1])
    write_sweep(tmp_path / "runs" / "latest", records)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    made = json.loads((FOLDER / "from_records_to_figure.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in made["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    names["plt"].close("all")
    assert list(names["times"].index) == [
        (algo, width) for algo in ("bptt", "d_rtrl") for width in (64, 128)
    ]
    assert Path("step_time.pdf").read_bytes().startswith(b"%PDF")


def test_the_page_lists_every_example() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    programs = {f.name for f in FOLDER.iterdir() if f.suffix in (".py", ".ipynb")}
    assert set(re.findall(r"\]\((\w+\.(?:py|ipynb))\)", page)) == programs
    assert {name for name in programs if name.endswith(".py")} == set(PROMISED)
