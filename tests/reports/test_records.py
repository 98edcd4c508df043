"""Reading sweeps: what is good is read, what is bad is named, what is mixed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_records import grid, record, write_sweep

from reports.errors import InputError
from reports.records import read_sweeps


def test_reads_every_record_oldest_first(tmp_path: Path) -> None:
    records = [record(seed=s, created=f"2025-01-0{3 - s}") for s in range(3)]
    sweeps = read_sweeps([write_sweep(tmp_path, records)])
    assert [r["created"] for r in sweeps.records] == ["2025-01-01", "2025-01-02", "2025-01-03"]
    assert not sweeps.corrupt
    assert not sweeps.missing


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"schema": 1, "key"', "not readable as JSON"),
        ("[1, 2]", "expected a JSON object, got list"),
        ('{"key": "k"}', "no schema version"),
        ('{"schema": 1, "key": "k", "status": "ok", "row": []}', "expected row to be dict, got []"),
    ],
)
def test_a_corrupt_record_is_named_and_the_others_are_kept(
    tmp_path: Path, text: str, problem: str
) -> None:
    write_sweep(tmp_path, [record()])
    bad = tmp_path / "cells" / "bad.json"
    bad.write_text(text)
    sweeps = read_sweeps([tmp_path])
    assert len(sweeps.records) == 1
    assert sweeps.corrupt[0][0] == bad
    assert sweeps.corrupt[0][1].startswith(problem)


def test_mixed_schema_versions_are_refused_with_their_numbers(tmp_path: Path) -> None:
    write_sweep(tmp_path, [record(), record(seed=1, schema=2), record(seed=2, schema=2)])
    with pytest.raises(
        InputError, match="records of schema 1 only; got 1 of schema 1, 2 of schema 2"
    ):
        read_sweeps([tmp_path])


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which does not exist"):
        read_sweeps([tmp_path / "nowhere"])


def test_a_folder_that_is_not_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"which has no cells/\. Give the folder itself"):
        read_sweeps([tmp_path])


def test_no_records_says_so_and_names_the_unreadable_ones(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(InputError, match=r"at least one record in .*; got none"):
        read_sweeps([tmp_path])
    (tmp_path / "cells" / "half.json").write_text("{")
    with pytest.raises(InputError, match=r"got 1 unreadable file\(s\)(.|\n)*half\.json"):
        read_sweeps([tmp_path])


def test_planned_cells_without_a_record_are_missing(tmp_path: Path) -> None:
    done = record()
    planned = [{"key": done["key"], "row": done["row"]}, {"key": "feed", "row": {"n_steps": 7}}]
    write_sweep(tmp_path, [done], planned=planned, experiment="demo", question="Why?")
    sweeps = read_sweeps([tmp_path])
    assert [(c["key"], c["n_steps"]) for c in sweeps.missing] == [("feed", 7)]
    assert sweeps.questions == {"demo": "Why?"}


def test_an_unusable_manifest_does_not_matter(tmp_path: Path) -> None:
    write_sweep(tmp_path, [record()])
    (tmp_path / "sweep.json").write_text("{")
    assert len(read_sweeps([tmp_path]).records) == 1


def test_several_sweeps_merge_and_the_newer_of_one_key_counts(tmp_path: Path) -> None:
    old, new = record(created="2025-01-01"), record(created="2025-01-02", health="newer")
    assert old["key"] == new["key"]
    first = write_sweep(tmp_path / "a", [old, *grid(seed=[1, 2])])
    second = write_sweep(tmp_path / "b", [new])
    sweeps = read_sweeps([first, second])
    assert len(sweeps.records) == 3
    assert [r["health"] for r in sweeps.records if r["key"] == old["key"]] == ["newer"]


def test_reading_changes_nothing_on_disk(tmp_path: Path) -> None:
    write_sweep(tmp_path, [record()])
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    read_sweeps([tmp_path])
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before
    assert json.loads(next(iter(before.values())))["schema"] == 1
