"""History over commits: planted steps are found where they are, and quiet series stay quiet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_records import grid, write_sweep

from reports.cli import main
from reports.errors import InputError
from reports.history import change_points, history, sweeps_below
from reports.records import Sweeps, read_sweeps


def read_history(folders: list[Path]) -> Sweeps:
    return read_sweeps(sweeps_below(folders))


def commits(folder: Path, n: int, slower_from: int, **axes: Any) -> Path:
    """One sweep per commit below the folder; D-RTRL is 15 % slower from one commit on."""
    for i in range(n):
        made = grid(algo=["bptt", "d_rtrl"], repeat=range(3), commit=[f"{i:07d}"],
                    created=[f"2025-02-{i + 1:02d}"], **axes)  # fmt: skip
        for built in made:
            if built["row"]["algo"] == "d_rtrl" and i >= slower_from:
                built["metrics"]["step_time_ms"] *= 1.15
        write_sweep(folder / f"commit{i}", made)
    return folder


def test_a_planted_step_is_found_at_its_commit(tmp_path: Path) -> None:
    series = history(read_history([commits(tmp_path, 14, slower_from=9)]))
    changed = [s for s in series if s.changes]
    assert [s.metric for s in changed] == ["step_time_ms"]
    assert changed[0].cell.startswith("d_rtrl")
    (change,) = changed[0].changes
    assert (change.before, change.after) == ("0000008", "0000009")
    assert change.ratio == pytest.approx(1.15, abs=0.04)


def test_machines_have_histories_of_their_own(tmp_path: Path) -> None:
    """Two machines of different speed, taking turns, are no change points."""
    commits(tmp_path / "a", 10, slower_from=99)
    commits(tmp_path / "b", 10, slower_from=99, fingerprint=["machine-b"])
    for file in (tmp_path / "b").rglob("cells/*.json"):
        built = json.loads(file.read_text())
        built["metrics"]["step_time_ms"] *= 3
        file.write_text(json.dumps(built))
    series = history(read_history([tmp_path]))
    assert {s.machine for s in series} == {"machine-a", "machine-b"}
    assert not any(s.changes for s in series)


NOISE = {
    "normal": lambda rng, n: 0.03 * rng.standard_normal(n),
    "heavy tails": lambda rng, n: 0.03 * rng.standard_t(2, n),
    "spikes": lambda rng, n: (
        0.02 * rng.standard_normal(n) + ((rng.random(n) < 0.1) * rng.exponential(0.5, n))
    ),
    "two speeds": lambda rng, n: 0.2 * (rng.random(n) < 0.4) + 0.01 * rng.standard_normal(n),
}


@pytest.mark.parametrize("noise", NOISE)
def test_rough_nights_rarely_show_a_change_point(noise: str) -> None:
    rng = np.random.default_rng(0)
    false = sum(bool(change_points(10 * np.exp(NOISE[noise](rng, 24)))) for _ in range(100))
    assert false <= 4


@pytest.mark.parametrize(("noise", "least"), [("normal", 29), ("heavy tails", 27), ("spikes", 25)])
def test_a_step_of_thirty_percent_is_found_in_rough_nights(noise: str, least: int) -> None:
    rng = np.random.default_rng(1)
    level = np.repeat([10.0, 13.0], [12, 12])
    found = sum(
        any(abs(s - 12) <= 2 for s in change_points(level * np.exp(NOISE[noise](rng, 24))))
        for _ in range(30)
    )
    assert found >= least


def test_a_new_option_and_other_libraries_do_not_hide_a_step(tmp_path: Path) -> None:
    commits(tmp_path, 14, slower_from=7)
    for file in tmp_path.rglob("cells/*.json"):
        built = json.loads(file.read_text())
        if built["provenance"]["commit"] >= "0000007":
            built["config"]["new_option"] = 3
            built["provenance"] |= {"fingerprint": "other libraries"}
        built["provenance"]["machine"] = "one"
        file.write_text(json.dumps(built))
    changed = [s for s in history(read_history([tmp_path])) if s.changes]
    assert [c.after for s in changed for c in s.changes] == ["0000007"]


def test_too_few_commits_have_no_change_points() -> None:
    assert change_points(np.array([1.0, 1.0, 5.0, 5.0])) == []


def test_the_command_prints_changes_and_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = commits(tmp_path / "history", 10, slower_from=5)
    out = tmp_path / "out"
    assert main(["history", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "0000005  step time (ms)  +1" in printed
    assert "1 change points in 1 of 5 series" in printed
    assert (out / "report" / "history_1.svg").exists()
    assert "0000005" in (out / "report" / "report.md").read_text()


def test_a_first_commit_is_no_series_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", str(commits(tmp_path, 1, slower_from=9))]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("no series yet: a series takes one cell, measured on one machine")
    assert "there are 1." in printed


def test_a_folder_without_sweeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder with sweeps below it"):
        read_history([tmp_path])
