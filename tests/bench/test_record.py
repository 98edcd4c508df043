"""Record files: whole or not at all, and a corrupt one is named."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from bench import errors
from bench.sweep import record


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(sample())[:100], "is not whole JSON"),
        ("[]", "lacks fields"),
        ("null", "lacks fields"),
        ("\x00" * 50, "is not whole JSON"),
        ("[" * 100_000, "is not whole JSON"),
        (json.dumps(sample() | {"schema": 99}), "has schema 99, this version writes 1"),
        (json.dumps(sample("aa")), "holds another cell's record"),
        (json.dumps(sample() | {"status": "fine"}), "holds another cell's record"),
        (json.dumps(sample() | {"status": ["ok"]}), "holds another cell's record"),
        (json.dumps(sample() | {"row": None}), "expected row to be values by name; got None"),
        (json.dumps(sample() | {"reason": 3}), "expected reason to be text; got 3"),
        (
            json.dumps(sample() | {"provenance": [3]}),
            r"expected provenance to be values by name; got \[3\]",
        ),
    ],
)
def test_corrupt_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(text)
    with pytest.raises(record.Corrupt, match=words) as error:
        record.read(path)
    assert "k.json" in str(error.value)


def test_plain_holds_what_everybody_can_read() -> None:
    found = record.plain(
        {
            "a": np.float32(0.5),
            "b": np.arange(2),
            3: 2**70,
            "c": 10**400,
            "d": "x\ud800",
            "e": True,
            "f": -(2**63),
        }
    )
    assert found == {
        "a": 0.5,
        "b": [0, 1],
        "3": 2.0**70,
        "c": None,
        "d": "x?",
        "e": True,
        "f": -(2**63),
    }


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"metrics": {"a": 1, "b": None, "c": 0.5}, "health": "", "mine": ["x"]}, ""),
        ({"curves": {"loss": [1.0, None]}, "samples": {}, "provenance": {"device": "x"}}, ""),
        ({"mine": 1.0}, "expected numbers to be below metrics; got mine beside it"),
        ({"metrics": [1]}, "expected metrics to be values by name; got [1]"),
        ({"metrics": {"a": [1]}}, "expected metrics.a to be a number or null; got [1]"),
        ({"metrics": {"a": 10**400}}, "expected metrics.a to be a number or null; got 1000"),
        ({"health": None}, "expected health to be text; got None"),
        ({"curves": {"loss": ["x"]}}, "expected curves.loss to be numbers; got ['x']"),
        ({"traces": "x" * 99}, "expected traces to be values by name; got 'xxxx"),
        ({"key": "../../x"}, "expected key to be left to the sweep; got '../../x'"),
    ],
)
def test_a_measurement_adds_what_a_record_has_room_for(parts: dict, words: str) -> None:
    assert record.malformed(parts).startswith(words)
    assert bool(record.malformed(parts)) == bool(words)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "k.log"
    target.write_text("mine")
    path.symlink_to(target)
    record.write_bytes(path, b"log")
    assert target.read_text() == "mine"
    assert path.read_bytes() == b"log"
    assert not path.is_symlink()


def test_what_cannot_be_read_is_not_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / "k.json").mkdir()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IsADirectoryError, match=r"k\.json"):
        record.read(tmp_path / "k.json")
    assert os.listdir("/proc/self/fd") == before


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


def test_a_strangers_text_is_one_line_and_moves_no_cursor() -> None:
    assert errors.one_line("a\n\tb\x1b[31m \u202ec\ud800") == "a b [31m c"
    assert len(errors.one_line("x" * 10_000)) == errors.MOST_LETTERS
