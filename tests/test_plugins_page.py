"""The plug-ins of docs/plugins.md, run as the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.command import cli
from reports import cli as reports_cli
from tests.bench.sweeps import in_this_process
from tests.kept import kept_programs

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE, re.DOTALL)
SHELL = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = SHELL.replace("\\\n", " ").splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's files lie in ``mine``."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, text in FILES:
        path = folder / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@contextmanager
def cells_here(folder: Path) -> Iterator[None]:
    """Commands and cells in this process, which finds the page's files; so does a report's."""
    import jax

    wide = jax.config.jax_enable_x64
    with pytest.MonkeyPatch.context() as patch, kept_programs():
        patch.chdir(folder)
        patch.syspath_prepend(folder / "mine")
        patch.setenv("PYTHONPATH", str(folder / "mine"))
        in_this_process(patch.setattr)
        yield
    jax.config.update("jax_enable_x64", wide)


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, dict[str, object]]:
    """Records by algorithm, after running the page's first command on the page's files."""
    only = ["metric=[learning,fidelity,weights]"]  # no clock, and no rates of the machine for it
    with cells_here(folder):
        assert cli.main([*words_of(COMMANDS[0]), *SMALL, *only]) == 0
    return by_algorithm(folder / "runs/mine")


SMALL = ["epochs=2", "n_hidden=16", "batch_size=32"]


def words_of(command: str) -> list[str]:
    """What one of the page's commands asks of bench."""
    variable, *words = shlex.split(command)
    assert variable == "PYTHONPATH=mine"
    assert words[:3] == ["python", "-m", "bench"]
    return words[3:]


def by_algorithm(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(file.read_text()) for file in (out / "cells").glob("*.json")]
    return {record["row"]["algo"]: record for record in found}


@pytest.fixture
def here(folder: Path) -> Iterator[None]:
    with cells_here(folder):
        yield


@pytest.fixture(scope="module")
def report(folder: Path, records: dict[str, dict[str, object]]) -> Path:
    """Where the sweep's report is."""
    return folder / "runs/mine/report"


def test_the_page_has_one_of_each() -> None:
    assert {Path(name).parts[1] for name, _ in FILES if name.startswith("conf")} == {
        "algo",
        "backend",
        "metric",
        "model",
        "plot",
        "task",
    }
    assert len(FILES) == 12
    assert len(COMMANDS) == 3


def test_every_cell_is_ok_and_has_the_new_metric(records: dict[str, dict[str, object]]) -> None:
    assert set(records) == {"fading", "d_rtrl"}
    for record in records.values():
        assert record["status"] == "ok"
        metrics = record["metrics"]
        assert isinstance(metrics, dict)
        assert metrics["weight_change_rms"] > 0


def test_the_figures_say_what_the_page_says(records: dict[str, dict[str, object]]) -> None:
    cosine = {algo: record["metrics"]["grad_cosine"] for algo, record in records.items()}  # type: ignore[index]
    assert cosine["d_rtrl"] == pytest.approx(1, abs=1e-12)
    assert 0.5 < cosine["fading"] < 0.999


@pytest.mark.usefixtures("here")
def test_the_library_agrees_with_the_core_and_says_what_it_lacks(folder: Path) -> None:
    # Its own cells: the agreement is with the core, whose cells are those of the first command.
    only = ["backend=autodiff", "metric=[agreement,learning]", "report=false"]
    assert cli.main([*words_of(COMMANDS[1]), *SMALL, *only]) == 0
    found = by_algorithm(folder / "runs/libraries")
    assert {algo: r["status"] for algo, r in found.items()} == {"bptt": "ok", "d_rtrl": "skipped"}
    theirs = found["bptt"]["metrics"]
    assert theirs["agreement_weights"] == 4
    assert theirs["agreement_rel_error"] < 1e-12
    assert theirs["loss_final"] < theirs["loss_first"]
    assert found["d_rtrl"]["reason"].startswith("autodiff has algo=bptt")


@pytest.mark.usefixtures("here")
def test_the_algorithm_keeps_its_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words_of(COMMANDS[2])) == 0
    assert capsys.readouterr().out.endswith("fading: 9 of 9 checks passed\n")


def test_the_plot_is_in_the_report(report: Path) -> None:
    assert (report / "moved.svg").exists()
    assert "Change of the weights" in (report / "index.html").read_text(encoding="utf-8")


def test_the_plot_is_drawn_again_by_name_alone(
    report: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the page says of sweeps that are there already, also of those that did not ask for it."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder / "mine")
    manifest = folder / "runs/mine/sweep.json"
    asked = json.loads(manifest.read_text())
    assert asked["plots"] == ["moved"]

    def rebuilt(*words: str) -> int:
        (report / "moved.svg").unlink(missing_ok=True)
        return reports_cli.main(["runs/mine", *words])

    # A folder may be a stranger's: what only its sweep.json names is not run.
    assert rebuilt() == 0
    page = (report / "report.md").read_text(encoding="utf-8")
    assert "**moved**: its code runs only where it is named: add --plots moved." in page
    assert not (report / "moved.svg").exists()
    manifest.write_text(json.dumps({**asked, "plots": []}))
    assert rebuilt("--plots", "moved") == 0
    assert (report / "moved.svg").exists()
    assert rebuilt("--plots", "json") == 2
    assert "got json without ORDER, TITLE, make" in capsys.readouterr().err
