"""The sweep's folder: where it is, who works on a cell, what is replaced."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.sweep import record
from bench.sweep.folder import Folder, default
from bench.sweep.inputs import ROOT


def saved(folder: Folder, key: str, identity: str) -> None:
    folder.save(record.blank(key, None, {}, {}) | {"provenance": {"identity": identity}})


def test_default_is_the_experiment_or_a_hash_of_what_is_measured() -> None:
    assert default("quick", ["+experiment=quick", "lr=1"]) == Path("runs/quick")
    here = default(None, ["algo=bptt", "lr=1"])
    assert here == default(None, ["algo=bptt", "lr=1", "hydra/launcher=x", "+hydra.launcher.x=1"])
    assert here == default(None, ["lr=1", "algo=bptt", "resume=false", "plan=true"])
    assert here != default(None, ["lr=2", "algo=bptt"])
    assert here.parent == Path("runs")


HOLDS = """
import sys
from pathlib import Path
from bench.sweep.folder import Folder
with Folder(Path(sys.argv[1])).lock("aa") as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_only_one_works_on_a_cell(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout
    assert other.stdout.readline() == "True\n"
    with folder.lock("aa") as mine:
        assert not mine
    with folder.lock("02") as mine:
        assert mine
    other.kill()
    with folder.lock("aa", wait=True) as mine:
        assert mine
    other.communicate()


def test_newer_code_replaces_the_record_of_the_same_cell(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out")
    saved(folder, "01", "c1")
    (folder.cells / "01.log").write_text("log")
    saved(folder, "02", "c2")
    saved(folder, "03", "c1")
    assert folder.load("01") is None
    assert not (folder.cells / "01.log").exists()
    assert folder.load("03") is not None
    assert folder.load("02") is not None


def test_a_corrupt_record_is_named_once_and_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder.open(tmp_path / "out")
    saved(folder, "aa", "cc")
    path = folder.cells / "aa.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert folder.load("aa") is None
    assert folder.load("aa") is None
    printed = capsys.readouterr().err
    assert printed.startswith("corrupt record, the cell runs again: aa.json is not whole JSON")
    assert printed.count("\n") == 1
    assert path.with_suffix(".corrupt").exists()


def test_a_plan_leaves_a_corrupt_record_where_it_is_and_names_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Folder.open(tmp_path).cells / "aa.json"
    path.write_text("{")
    read_only = Folder(tmp_path)
    assert read_only.load("aa") is None
    assert read_only.times() == {}
    assert capsys.readouterr().err.count("aa.json") == 1
    assert [file.name for file in path.parent.iterdir()] == ["aa.json"]


@pytest.mark.parametrize("text", ["../../mine", "\udcff", "a" * 100, "aa\n", ""])
def test_an_index_that_leads_elsewhere_deletes_nothing(text: str, tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out", anywhere=True)
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    (folder.cells / ".c1.key").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert folder._newest("identity_anywhere", "c1") is None
    saved(folder, "aa", "c1")
    saved(folder, "bb", "../../mine")
    assert mine.read_text() == "mine"
    assert (folder.cells / ".c1.key").read_text() == "aa"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "out"]


def test_an_index_retires_no_record_of_another_cell(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out")
    saved(folder, "01", "c1")
    (folder.cells / ".c2.key").write_text("01")
    saved(folder, "02", "c2")
    assert folder.load("01") is not None


def test_a_record_without_an_identity_retires_nothing(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out")
    for key in ("aa", "bb"):
        folder.save(record.blank(key, None, {}, {}))
    assert folder.load("aa") is not None
    assert folder.load("bb") is not None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_runs_the_cell(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuses)
    with Folder.open(tmp_path / "out").lock("aa") as mine:
        assert mine


def test_what_strangers_left_among_the_records_is_named_and_the_rest_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder.open(tmp_path / "out")
    row = {"algo": "bptt", "batching": "vmap", "model": "gru"}
    for key, wall_s in (("01", 2.0), ("02", 4.0), ("03", "x"), ("04", None), ("05", 1e999)):
        folder.save(record.blank(key, None, row, {}) | {"provenance": {"wall_s": wall_s}})
    (folder.cells / "07.json").mkdir()
    (folder.cells / "08.json").symlink_to("08.json")
    for key, text in (
        ("09", "null"),
        ("10", "[1]"),
        ("11", "[" * 100_000),
        ("12", "\0\1"),
        ("13", '{"key": "13"}'),
        (".hidden", "null"),
    ):
        (folder.cells / f"{key}.json").write_text(text)
    assert folder.times() == {"bptt vmap gru": 3.0}
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in told] == [
        f"left out {folder.cells / f'{number:02d}.json'}" for number in range(7, 14)
    ]


def test_latest_points_to_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/a", "elsewhere/b"):
        Folder.open(Path(name)).link_latest()
        assert Path("runs/latest").resolve() == (tmp_path / name).resolve()
        assert not os.path.isabs(os.readlink("runs/latest"))


def test_no_test_moves_the_link_of_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("moved"))
    Folder.open(tmp_path).link_latest()
