"""The project as a package: its version, what a wheel of it holds, and a stranger called `core`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import yaml
from hatchling.builders.wheel import WheelBuilder

import core

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert core.__version__ in (PROJECT["version"], "0+unknown")


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    """Installing and using it: `make test-wheel`."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    packages = ("core", "bench", "reports", "conf")
    wanted = {
        str(file.relative_to(ROOT)) for package in packages for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }  # fmt: skip
    assert held == wanted
    assert {"core/py.typed", "conf/config.yaml", "reports/page/style.css"} <= held


def test_another_core_is_named(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    def importing(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", f"import {name}"], env={**os.environ, "PYTHONPATH": path},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    theirs = re.escape(str(tmp_path / "core" / "__init__.py"))
    refused, warned = importing("bench"), importing("reports")
    assert refused.returncode == 1
    expected = rf"ImportError: expected the package core of etrace-bench, in .*; got {theirs}"
    assert re.search(expected, refused.stderr)
    assert warned.returncode == 0
    assert re.search(f"UserWarning: `import core` means {theirs} here", warned.stderr)
