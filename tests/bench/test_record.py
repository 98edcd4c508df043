"""Record files: whole or not at all, and a corrupt one is named."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from bench import record


def sample(key: str = "k") -> dict:
    return {**record.blank(key, None, {"algo": "bptt"}, {"lr": 1e-3}), "status": "ok"}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    record.write_json(path, sample())
    assert record.read(path) == sample() | {"created": record.read(path)["created"]}
    assert os.listdir(tmp_path) == ["k.json"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    record.write_json(path, {"a": [math.nan, 1.0, (math.inf,)], "b": {"c": -math.inf}})
    assert json.loads(path.read_text()) == {"a": [None, 1.0, [None]], "b": {"c": None}}


def test_missing_is_none(tmp_path: Path) -> None:
    assert record.read(tmp_path / "k.json") is None


@pytest.mark.parametrize(("text", "words"), [
    (json.dumps(sample())[:100], "is not a whole record"),
    ("[]", "lacks fields"),
    ("\x00" * 50, "is not a whole record"),
    (json.dumps(sample() | {"schema": 99}), "has schema 99, this version writes 1"),
    (json.dumps(sample("other")), "holds another cell's record"),
    (json.dumps(sample() | {"status": "fine"}), "holds another cell's record"),
])
def test_corrupt_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(text)
    with pytest.raises(record.Corrupt, match=words) as error:
        record.read(path)
    assert "k.json" in str(error.value)


def test_what_cannot_be_read_is_not_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / "k.json").mkdir()
    with pytest.raises(IsADirectoryError):
        record.read(tmp_path / "k.json")


def test_a_write_that_fails_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k.json"
    record.write_json(path, sample())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        record.write_json(path, sample() | {"status": "crashed"})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["k.json"]
