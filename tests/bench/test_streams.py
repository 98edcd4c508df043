"""Outputs that are closed, whose reader has left, or that cannot show every letter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.command import streams
from bench.sweep import provenance
from tests.bench.sweeps import records

BENCH = f"{sys.executable} -m bench"
UTF8 = {**os.environ, "PYTHONPATH": str(provenance.ROOT), "PYTHONUTF8": "1"}

# The command's own handling of its streams around planted cells.
PLANTED = """
import sys
from pathlib import Path
from bench.command import cli
from tests.bench import sweeps as t
t.plant(setattr)
cli.answer = lambda argv: t.run(t.cells_of(*argv[1:]), Path(argv[0]))
sys.exit(cli.main())
"""


# The command itself, but that what it plans has been looked at: no process builds it.
PLANS = """
import sys
from bench import __main__
from bench.cell.probe import finding
from bench.command import cli
cli.trial = lambda cells, *_, **__: {place: finding() for place in range(len(cells))}
sys.exit(__main__.main())
"""


def shell(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**UTF8, **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_closed_outputs(tmp_path: Path) -> None:
    plans = f"{sys.executable} -c '{PLANS}'"
    for command, status in (
        (f"{BENCH} --help >&-", 0),
        (f"{plans} plan=true out=out >&-", 0),
        (f"{BENCH} algo=x <&- >&- 2>&-", 2),
    ):
        done = shell(command, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_sweep_whose_reader_leaves_goes_on(tmp_path: Path) -> None:
    sweep = subprocess.Popen(
        [sys.executable, "-c", PLANTED, str(tmp_path / "out"), "seed=0,5,10,15"],
        env=UTF8,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert sweep.stdout is not None
    assert sweep.stderr is not None
    assert sweep.stdout.readline().startswith("[1/4] ok")
    sweep.stdout.close()
    said = sweep.stderr.read()
    sweep.stderr.close()
    assert (sweep.wait(), said) == (0, "")
    assert len(records(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("--help >/dev/full", 1, "error: output: No space left on device\n"),
        ("algo=x 2>/dev/full", 2, ""),
        ("check --help | true; exit ${PIPESTATUS[0]}", streams.BROKEN_PIPE, ""),
    ],
)
def test_what_is_there_to_print_and_was_not(
    command: str, status: int, said: str, tmp_path: Path
) -> None:
    done = shell(f"{BENCH} {command}", tmp_path)
    assert (done.returncode, done.stderr) == (status, said)


def test_a_full_device_and_a_terminal_that_is_gone_end_no_sweep(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    for name, output in (("full", os.open("/dev/full", os.O_WRONLY)), ("gone", theirs)):
        sweep = subprocess.Popen(
            [sys.executable, "-c", PLANTED, name, "seed=0,10"],
            env=UTF8,
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
        os.close(output)
        if name == "gone":
            os.close(ours)
        assert sweep.wait(60) == 0
        assert len(records(tmp_path / name)) == 2


def test_an_output_without_letters(tmp_path: Path) -> None:
    command = f"{sys.executable} -c '{PLANS}' plan=true \"out='ü'\""
    done = shell(command, tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 cell in \\xfc; " in done.stdout
