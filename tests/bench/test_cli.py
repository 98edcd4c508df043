"""Flags of the command, and what ``check`` takes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from bench.command import cli
from tests.bench.test_compose import ALGOS

ROOT = Path(__file__).resolve().parents[2]

ONLY = "check: expected algo=NAME, algo.KEY=VALUE; got {}. The rest of the cell is its own."
SEVERAL = "check: expected one algorithm; got 2 cells. Check one after the other."


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["algo=bptt,d_rtrl"], SEVERAL),
        (["algo=bptt", "model=gru"], ONLY.format("model=gru")),
        (["n_hidden=3"], ONLY.format("n_hidden=3")),
        (["+experiment=quick"], ONLY.format("+experiment=quick")),
        (["drtrl"], ONLY.format("drtrl")),
    ],
)
def test_check_takes_one_algorithm_and_nothing_else(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {complaint}\n"


def test_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"etrace-bench {metadata.version('etrace-bench')}, ")


def test_cfg_prints_the_cells_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--cfg", "job", "algo=bptt", "n_hidden=7"]) == 0
    said = capsys.readouterr().out
    assert "n_hidden: 7\n" in said
    assert "_target_: core.BPTT\n" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["check", "algo=bptt", "-h"],
        ["--hydra-help"],
        ["--cfg", "hydra", "experiment=quick"],
        ["--cfg", "job", "--resolve", "--package", "limits"],
    ],
)
def test_help_and_information_end_well(arguments: list[str]) -> None:
    # In a process of its own: Hydra's logging closes the streams of handlers that others have made,
    # of this process's captured output too.
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--cfg"],
            "--cfg/-c: expected one argument. --cfg job prints the configuration of a cell; "
            "see python -m bench --help.",
        ),
        (
            ["--cfg", "job", "algo=btt"],
            f"algo: expected one of {ALGOS}; got btt. Did you mean bptt?",
        ),
        *(
            (
                ["--shell-completion", *asked],
                "--shell-completion: expected install=SHELL or uninstall=SHELL of bash, fish, zsh; "
                f"got {' '.join(asked) or 'nothing'}. Try eval "
                '"$(etrace-bench --shell-completion install=bash)".',
            )
            for asked in ([], ["bash=install"], ["install=tcsh"], ["query=bash"])
        ),
        (
            ["--cfg", "job", "-m", "algo=bptt,d_rtrl"],
            "options: Only one of --run, --multirun, --cfg, --info and --shell_completion can be "
            "specified.",
        ),
    ],
)
def test_flags_that_cannot_be_followed(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "COMP_LINE" not in os.environ
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"error: {complaint}\n")


@pytest.mark.parametrize(
    ("line", "completed"),
    [("algo=bptt_", "algo=bptt_checkpointed algo=bptt_truncated\n"), ("check al", "")],
)
def test_a_line_is_completed_or_left_alone(line: str, completed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--shell-completion", "query=bash"],
        env={**os.environ, "COMP_LINE": f"etrace-bench {line}", "COMP_POINT": "80"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, completed, "")
