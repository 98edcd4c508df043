"""Outputs that are closed, whose reader has left, or that cannot show every letter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench import cli, provenance
from tests.bench.test_sweep import records

BENCH = f"{sys.executable} -m bench"
UTF8 = {**os.environ, "PYTHONPATH": str(provenance.ROOT), "PYTHONUTF8": "1"}
ASCII = {**UTF8, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

# The command's own handling of its streams around planted cells.
PLANTED = """
import sys
from pathlib import Path
from bench import cli
from tests.bench import test_sweep as t
t.plant(setattr)
cli.answer = lambda argv: t.run(t.cells_of(*argv[1:]), Path(argv[0]))
sys.exit(cli.main(sys.argv[1:]))
"""


def shell(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], cwd=cwd, env={**UTF8, **variables},
                          capture_output=True, encoding="utf-8", check=False)


def test_closed_outputs(tmp_path: Path) -> None:
    for command, status in (("--help >&-", 0), ("plan=true out=out >&-", 0),
                            ("algo=x <&- >&- 2>&-", 2)):
        done = shell(f"{BENCH} {command}", tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_a_sweep_whose_reader_leaves_keeps_its_records(tmp_path: Path) -> None:
    sweep = subprocess.Popen(
        [sys.executable, "-c", PLANTED, str(tmp_path / "out"), "seed=0,5,10,15"], env=UTF8,
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert sweep.stdout is not None
    assert sweep.stderr is not None
    assert sweep.stdout.readline().startswith("[1/4] ok")
    sweep.stdout.close()
    said = sweep.stderr.read()
    sweep.stderr.close()
    assert sweep.wait() == cli.BROKEN_PIPE
    kept = len(records(tmp_path / "out"))
    assert 1 <= kept < 4
    assert said == (f"nobody reads the output any more: {kept} of 4 cells are recorded in "
                    f"{tmp_path / 'out'}; the same command runs the others\n")


def test_a_locale_without_letters(tmp_path: Path) -> None:
    done = shell(f"{BENCH} \"algo='größe'\"", tmp_path, **ASCII)
    assert done.returncode == 2
    assert done.stderr.endswith(", got größe.\n")
    done = shell(f"{BENCH} plan=true \"out='ü'\"", tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 cells in \\xfc; " in done.stdout
