"""The command line: statuses, messages, and what it costs to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_records import grid, record, write_sweep

from reports import __main__
from reports.cli import main

ALGOS = ["bptt", "d_rtrl"]


def test_folders_alone_mean_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_sweep(tmp_path, grid(algo=ALGOS))
    (folder / "cells" / "half.json").write_text('{"schema": 1,')
    assert main([str(folder)]) == 0
    captured = capsys.readouterr()
    path, answer = captured.out.splitlines()
    assert path == str(folder / "report" / "index.html")
    assert answer.startswith("For lif_net on digits with ")
    assert ", start with " in answer
    assert "left out" in captured.err
    assert "half.json: not readable as JSON" in captured.err
    for name in ("results.parquet", "results.csv", "report/index.html", "report/report.md"):
        assert (folder / name).stat().st_size > 100


def test_out_names_another_place(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "a", [record()])
    assert main(["report", str(folder), "--out", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "report" / "index.html").exists()
    assert not (folder / "report").exists()


@pytest.mark.parametrize(
    "arguments",
    [["{}"], ["report", "{}"], ["claims", "{}"], ["table", "{}"], ["compare", "{}", "{}"],
     ["export", "{}", "--to", "wandb"]],
)  # fmt: skip
def test_a_folder_that_is_no_sweep_is_status_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([a.format(tmp_path) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("reports: expected ")
    assert "; got " in error
    assert "Traceback" not in error


def test_an_unwritable_place_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sweep(tmp_path / "a", [record()])
    (tmp_path / "file").write_text("")
    assert main([str(folder), "--out", str(tmp_path / "file" / "below")]) == 2
    assert "reports: cannot write or read" in capsys.readouterr().err


def test_tables_name_what_they_averaged_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_sweep(tmp_path, grid(algo=ALGOS, n_hidden=[8, 16], n_steps=[8, 16])))
    assert main(["table", folder, "--values", "memory_peak_mib"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "| n_hidden | bptt | d_rtrl |"
    assert "medians over different n_steps" in captured.err
    assert main(["table", folder, "--format", "latex", "--cols", "n_steps"]) == 0
    assert r"\begin{tabular}{lrr}" in capsys.readouterr().out
    assert main(["table", folder, "--values", "time_to_target_s"]) == 2


def test_claims_are_told_with_their_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_sweep(tmp_path, grid(algo=ALGOS, n_steps=[8, 16, 32])))
    assert main(["claims", folder]) == 0
    told = capsys.readouterr().out
    assert "HOLDS           BPTT has to keep the whole sequence" in told
    assert "NOT TESTED HERE " in told
    assert "It takes " in told


def test_compare_gives_its_status_and_writes_where_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_sweep(tmp_path / "base", grid(algo=ALGOS))
    head = write_sweep(tmp_path / "head", grid(algo=["bptt"]))
    out = tmp_path / "made" / "result.md"
    assert main(["compare", str(base), str(base)]) == 0
    assert main(["compare", str(base), str(head), "--format", "markdown", "--out", str(out)]) == 1
    assert "1 missing cell" in capsys.readouterr().out
    assert "1 missing cell" in out.read_text()
    assert main(["compare", str(base), str(head), "--bar", "50"]) == 2
    assert "--bar to be a share such as 0.05" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for command in ("report", "claims", "compare", "export", "table"):
        assert command in shown


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("small"), grid(algo=ALGOS, n_steps=[8, 16, 32]))


def in_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    reports = f"{sys.executable} -m reports"
    return subprocess.run(
        ["bash", "-c", command.format(reports=reports)], capture_output=True, text=True,
        timeout=120, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_a_terminal_without_unicode_gets_escapes_not_a_traceback(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, [record("d_rtrl", model="réseau")])
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = in_shell(f"{{reports}} claims {folder}", **ascii_only)
    assert (result.returncode, result.stderr) == (0, "")
    assert r"r\xe9seau on digits" in result.stdout


@pytest.mark.parametrize(("command", "end"), [("table {}", "| true"), ("claims {}", ">&-")])
def test_output_that_nobody_reads_ends_quietly(small: Path, command: str, end: str) -> None:
    result = in_shell(f"{{reports}} {command.format(small)} {end}")
    assert all(line.startswith("reports: medians") for line in result.stderr.splitlines())


def test_a_full_disk_is_said_to_be_full(small: Path) -> None:
    result = in_shell(f"{{reports}} claims {small} > /dev/full")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr


def test_importing_reports_loads_neither_drawing_nor_jax() -> None:
    code = ("import sys, reports; "
            "print(*(m for m in sys.modules if m.split('.')[0] in "
            "('matplotlib', 'jax', 'core', 'bench')))")  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "\n"


def test_an_interrupt_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("reports.cli.main", interrupted)
    assert __main__.run(["report", "x"]) == 130
    assert capsys.readouterr().err == "reports: interrupted. Run the same command again.\n"
