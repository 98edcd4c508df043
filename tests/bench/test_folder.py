"""The sweep's folder: where it is, who works on a cell, what is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import record
from bench.errors import BadInput
from bench.folder import Folder, default


def saved(folder: Folder, key: str, identity: str) -> None:
    folder.save(record.blank(key, None, {}, {}) | {"provenance": {"identity": identity}})


def test_default_is_the_experiment_or_a_hash_of_what_is_measured() -> None:
    assert default("quick", ["+experiment=quick", "lr=1"]) == Path("runs/quick")
    here = default(None, ["algo=bptt", "lr=1"])
    assert here == default(None, ["algo=bptt", "lr=1", "hydra/launcher=ray", "+hydra.launcher.x=1"])
    assert here == default(None, ["lr=1", "algo=bptt", "resume=false", "plan=true"])
    assert here != default(None, ["lr=2", "algo=bptt"])
    assert here.parent == Path("runs")


def test_only_one_works_on_a_cell(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out")
    with folder.lock("k") as mine:
        assert mine
        with folder.lock("k") as theirs:
            assert not theirs
        with folder.lock("other") as other:
            assert other
    with folder.lock("k") as again:
        assert again


def test_newer_code_replaces_the_record_of_the_same_cell(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "out")
    saved(folder, "old", "cell-1")
    (folder.cells / "old.log").write_text("log")
    saved(folder, "other", "cell-2")
    saved(folder, "new", "cell-1")
    assert folder.load("old") is None
    assert not (folder.cells / "old.log").exists()
    assert folder.load("new") is not None
    assert folder.load("other") is not None


def test_a_corrupt_record_is_named_once_and_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder.open(tmp_path / "out")
    saved(folder, "k", "cell")
    path = folder.cells / "k.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert folder.load("k") is None
    assert folder.load("k") is None
    printed = capsys.readouterr().err
    assert printed.startswith("corrupt record, the cell runs again: k.json is not a whole record")
    assert printed.count("\n") == 1
    assert path.with_suffix(".corrupt").exists()


def test_a_record_that_cannot_be_read_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder.open(tmp_path / "out")
    saved(folder, "k", "cell")

    def stale(_: Path) -> None:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(record, "read", stale)
        with pytest.raises(BadInput, match=r"records that can be read, got .*k\.json\. Stale file"):
            folder.load("k")
    assert folder.load("k") is not None


def test_latest_points_to_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/a", "elsewhere/b"):
        Folder.open(Path(name)).link_latest()
        assert Path("runs/latest").resolve() == (tmp_path / name).resolve()
        assert not os.path.isabs(os.readlink("runs/latest"))
