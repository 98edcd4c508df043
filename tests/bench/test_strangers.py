"""Records and reports of strangers, changed at random: used or refused by name, never an end."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from bench.sweep import launch, record
from bench.sweep.folder import Folder
from bench.sweep.progress import closing_table, console, outcome_line
from tests.bench.sweeps import cells_of

CHANGES = 400
VALUES = [
    None, True, -1, 1.5, 1e308, 2**70, 10**400, "", "x", "\ud800", "[/x]", "\x1b[31m", [], {},
    [1], {"a": 1}, [[[]]], {"a": {"b": [1, "x"]}}, "../../x",
]  # fmt: skip


def changed(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        node: Any = value
        while keys := list(node) if isinstance(node, dict) else list(range(len(node))):
            key = rng.choice(keys)
            if isinstance(node[key], dict | list) and rng.random() < 0.6:
                node = node[key]
            elif isinstance(node, dict) and rng.random() < 0.15:
                del node[key]
                break
            else:
                node[key] = copy.deepcopy(rng.choice(VALUES))
                break
    return value


@pytest.mark.parametrize("seed", [0, 1])
def test_records(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, (cell,), folder = random.Random(seed), cells_of("seed=0"), Folder.open(tmp_path)
    whole = record.blank("ab", None, cell.row(), cell.config.plain()) | {
        "metrics": {"step_time_ms": 1.0},
        "samples": {"step_time_ms": [1.0]},
        "provenance": {"identity": "cd", "wall_s": 1.0},
    }
    used = 0
    for _ in range(CHANGES):
        (folder.cells / "ab.json").write_text(json.dumps(changed(whole, rng)))
        folder.times()
        try:
            found = record.read(folder.cells / "ab.json")
        except record.Corrupt:
            continue
        used += 1
        assert found is not None
        outcome_line(cell, found)
        console().print(closing_table([(cell.title(), found)]))
        folder.save(found)
    assert 0.1 * CHANGES < used < 0.9 * CHANGES
    assert capsys.readouterr().err.count("left out ") == CHANGES - used
    assert {path.name for path in folder.cells.iterdir()} <= {"ab.json", ".cd.key"}


@pytest.mark.parametrize("seed", [0, 1])
def test_reports(seed: int, tmp_path: Path) -> None:
    rng, (cell,) = random.Random(seed), cells_of("seed=0")
    parts = {"metrics": {"a": 1}, "health": "", "curves": {"a": [1]}, "provenance": {"device": "x"}}
    used = 0
    for _ in range(CHANGES):
        said = rng.choice([{"phase": "x"}, {"parts": parts}, {"status": "ok", "reason": ""}])
        line = bytearray(json.dumps(changed(said, rng)).encode())
        if rng.random() < 0.3:
            line[rng.randrange(len(line))] = rng.randrange(256)
        try:
            message = launch._message(bytes(line), {*cell.row()})
        except ValueError:
            continue
        used += 1
        made = record.blank("ab", None, cell.row(), cell.config.plain())
        record.merge(made, message.get("parts", {}))
        outcome_line(cell, made | {"reason": message.get("reason", "")})
        record.write_json(tmp_path / "ab.json", made)
        assert record.read(tmp_path / "ab.json") is not None
    assert 0.1 * CHANGES < used < 0.9 * CHANGES
