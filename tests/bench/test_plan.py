"""``plan=true``: what it says of cells that cannot be built here, and when nothing is left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cell.probe import finding
from bench.command import cli, plan, trial
from bench.errors import BadInput
from bench.sweep import sweep
from bench.sweep.folder import Folder

PLANNED = {
    "wide": ["n_hidden=40000", "limits.memory_gib=1"],
    "too wide": ["n_hidden=100000000"],
    "undefined": ["algo=otpe", "model=gru"],
    "too many inputs": ["task=random_spikes", "task.n_in=1000", "n_steps=1000000",
                        "batch_size=1024", "algo=es_d_rtrl"],
}  # fmt: skip


@pytest.fixture(scope="module")
def planned() -> dict[str, trial.Finding]:
    """What is found about each of these, by one process."""
    cells = [cli.cells_of(None, overrides, multirun=False)[0] for overrides in PLANNED.values()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "START_S", 600.0)  # time enough, whatever else this machine does
        found = trial.trial(cells, "memory")
    return {name: found[place] for place, name in enumerate(PLANNED)}


def test_memory_is_predicted_where_there_is_none_to_build_the_cell(
    planned: dict[str, trial.Finding],
) -> None:
    # Its recurrent weights alone are 6 GiB, more than its process may hold.
    assert planned["wide"]["predicted_mib"] > 4 * 40_000**2 / 2**20
    assert planned["too wide"]["predicted_mib"] is None
    assert planned["too wide"]["note"].startswith("too large to build here: ")


def test_a_rule_that_is_not_defined_on_a_model_is_planned_as_skipped(
    planned: dict[str, trial.Finding],
) -> None:
    reason = planned["undefined"]["skipped"]
    assert reason.startswith("expected leaky integrators with one constant decay")


def test_a_cell_that_would_crash_is_not_planned_as_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {"crashes": finding(error="algo: no"), "skipped": finding(skipped="no such rule")}
    for state, status in (("crashes", 1), ("skipped", 0)):
        monkeypatch.setattr(cli, "trial", lambda *_, state=state, **__: {0: found[state]})
        assert cli.main(["plan=true"]) == status
        assert (
            f"{state}: {found[state]['error'] or found[state]['skipped']}"
            in capsys.readouterr().out
        )


def test_memory_is_predicted_where_there_is_none_to_draw_a_batch(
    planned: dict[str, trial.Finding],
) -> None:
    inputs = 4 * 1000 * 1_000_000 * 1024 / 2**20
    assert inputs < planned["too many inputs"]["predicted_mib"] < 1.1 * inputs


def test_a_probe_that_does_not_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(trial, "START_S", 0.1)
    cells = cli.cells_of(None, ["n_hidden=8,16", "limits.deadline_s=0.1"], multirun=True)
    with pytest.raises(BadInput, match=r"expected a cell that is made within 0\.3 s"):
        trial.trial(cells, "memory")


def test_why_no_memory_is_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cli.cells_of(None, ["seed=0,1"], multirun=True)
    plan.show(cells, {place: finding(note="too large") for place in (0, 1)}, Folder(tmp_path))
    said = capsys.readouterr().out
    assert said.count("?") == 2
    assert said.count("no memory predicted: too large\n") == 1
    assert "no past records to estimate from" in said
    monkeypatch.setattr(plan, "why_skipped", lambda *_: "no such library")
    plan.show(cells[:1], {0: finding(note="too large")}, Folder(tmp_path))
    assert "too large" not in capsys.readouterr().out


def test_nothing_is_left_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "counts", lambda *_: True)
    plan.show(cli.cells_of(None, [], multirun=False), {0: finding()}, Folder(tmp_path))
    assert capsys.readouterr().out.endswith("; nothing is left to run\n")


@pytest.mark.parametrize("planned", [True, False])
def test_out_is_a_file(
    planned: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(cli, "trial", lambda *_, **__: {0: finding()})
    monkeypatch.setattr(sweep, "run", lambda *_: 0)
    assert cli.main([f"out={file}", f"plan={planned}"]) == 2
    assert capsys.readouterr().err == (
        f"error: out: expected a folder that can be written; got {file}. Not a directory. "
        "Try out=DIR with another folder.\n"
    )
