"""Cells under other interpreters: what is refused, what is recorded, whose code runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.command import cli
from bench.errors import BadInput
from bench.sweep import interpreters, launch, provenance
from bench.sweep.interpreters import NEEDED


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A Python without anything installed."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


def test_what_cannot_run_cells_is_refused_before_any_work(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent, listing = tmp_path / "silent", tmp_path / "listing"
    silent.write_text("#!/bin/sh\n", encoding="utf-8")
    listing.write_text("#!/bin/sh\necho '[]'\n", encoding="utf-8")
    for path in (silent, listing):
        path.chmod(0o755)
    for python, words in (
        (
            "no-such-python",
            "python: expected a Python interpreter; got no-such-python. Give the path",
        ),
        (str(silent), f"got {silent}. It does not answer like one."),
        (str(listing), f"got {listing}. It does not answer like one."),
        (str(bare), f"got {bare}, which lacks {', '.join(NEEDED)}. Install them"),
    ):
        assert cli.main([f"python={python}", f"out={tmp_path / 'out'}"]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interpreter_says_what_it_has() -> None:
    names = (*provenance.PACKAGES, "no-such-distribution")
    told = interpreters.packages(sys.executable, names)
    assert told == interpreters.packages(None, names)
    assert told["versions"]["jax"]
    assert "no-such-distribution" not in told["versions"]


def test_a_cell_of_another_interpreter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"jax": "0.9", "etrace-bench": "0.0.1"}
    real = interpreters.packages
    monkeypatch.setattr(
        provenance,
        "packages",
        lambda python, names: (
            {"python": "3.12.1", "versions": versions} if python else real(python, names)
        ),
    )
    (own,) = cli.cells_of(None, [], multirun=False)
    other = own.having(python="other/python")
    # Whether or not this project is installed there, it runs this code.
    path = launch.environment(other.config)["PYTHONPATH"].split(os.pathsep)
    assert path[0] == str(provenance.ROOT)
    described = provenance.describe(other.config)
    ours = provenance.describe(own.config)
    assert (described["python"], described["versions"]) == ("3.12.1", versions)
    assert described["code"] == ours["code"]
    assert described["fingerprint"] != ours["fingerprint"]
    assert described["machine"] == ours["machine"]


def test_paths_become_absolute_but_links_stay(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert interpreters.checked(str(link)) == str(link)
    with pytest.raises(BadInput):
        interpreters.checked(str(tmp_path / "other"))
