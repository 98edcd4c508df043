"""Reading sweeps: what is good is read, what is bad is named, what is mixed is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from synthetic_records import grid, record, write_sweep

from reports.cli import main
from reports.errors import InputError
from reports.records import read_sweeps


def test_reads_every_record_oldest_first(tmp_path: Path) -> None:
    records = [record(seed=s, created=f"2025-01-0{3 - s}") for s in range(3)]
    sweeps = read_sweeps([write_sweep(tmp_path, records)])
    assert [r["created"] for r in sweeps.records] == ["2025-01-01", "2025-01-02", "2025-01-03"]
    assert not sweeps.corrupt
    assert not sweeps.missing


def text(**changes: Any) -> bytes:
    """A record with some of its parts replaced."""
    return json.dumps({**record(seed=9), **changes}).encode()


STRANGERS = {
    "half": (b'{"schema": 1, "key"', "not readable as JSON"),
    "null": (b"null", "expected the file to be an object; got None"),
    "list": (b"[1, 2]", "expected the file to be an object; got [1, 2]"),
    "no schema": (b'{"key": "k"}', "no schema version"),
    "row": (text(row=[]), "expected row to be an object; got []"),
    "row of lists": (text(row={"algo": ["x"]}), "expected row.algo to be text or a number"),
    "no metrics": (text(metrics=None), "expected metrics to be an object; got None"),
    "words for numbers": (
        text(metrics={"accuracy": "high"}),
        "only a metric: expected metrics.accuracy to be a number or a whole number; got 'high'",
    ),
    "a path for a key": (text(key="../../x"), "expected key to be 8 to 64 hexadecimal digits"),
    "status": (text(status="fine"), "expected status to be one of ok, skipped"),
    "samples": (text(samples={"step_time_ms": 3}), "expected samples.step_time_ms to be a list"),
    "fidelity": (text(fidelity={"w": 1}), "expected fidelity.w to be an object"),
    "config": (text(config=[1]), "expected config to be an object"),
    "versions": (text(provenance={"versions": 3}), "expected provenance.versions to be an obj"),
    "deep": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested more than 32 levels deep"),
    "deep config": (text(config=json.loads("[" * 40 + "]" * 40)), "nested more than 32 levels"),
    "not UTF-8": (b'{"schema": "\xff"}', "not UTF-8"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "65 bits": (text(metrics={"flops_per_step": 2**64}), "a whole number beyond 64 bits"),
    "far beyond": (b'{"schema": 1' + b"0" * 5000 + b"}", "not readable as JSON"),
    "surrogate": (text(reason="\ud800"), "text with half of a surrogate pair"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_that_is_no_record_is_left_out_and_all_else_goes_on(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, problem = STRANGERS[name]
    write_sweep(tmp_path, [record()])
    bad = tmp_path / "cells" / "bad.json"
    bad.write_bytes(content)
    assert main(["table", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"reports: left out {bad}: {problem}")
    assert len(said.splitlines()) == 1


def test_a_metric_that_is_no_number_costs_itself_and_not_its_cell(tmp_path: Path) -> None:
    metrics = {"accuracy": "high", "loss_first": float("inf"), "loss_final": float("nan"), "n": 3}
    sweeps = read_sweeps([write_sweep(tmp_path, [record(metrics=metrics)])])
    (read,) = sweeps.records
    got = {name: read["metrics"][name] for name in metrics}
    assert got == {"accuracy": None, "loss_first": None, "loss_final": None, "n": 3}
    assert [why.split(":")[0] for _, why in sweeps.corrupt] == ["only a metric"]


def test_pipes_loops_and_huge_files_are_left_out(tmp_path: Path) -> None:
    write_sweep(tmp_path, [record()])
    cells = tmp_path / "cells"
    os.mkfifo(cells / "a.json")
    (cells / "b.json").symlink_to("b.json")
    with open(cells / "c.json", "wb") as huge:
        huge.truncate(20 * 2**30)
    (cells / "d.json").mkdir()
    (cells / "e.json").symlink_to("nowhere.json")
    os.mkfifo(tmp_path / "sweep.json")
    sweeps = read_sweeps([tmp_path])
    assert len(sweeps.records) == 1
    assert [(file.name, why.split(":")[0]) for file, why in sweeps.corrupt] == [
        ("a.json", "not a regular file"),
        ("b.json", "not readable"),
        ("c.json", "20,480 MiB, more than the 64 MiB it may have"),
        ("d.json", "not a regular file"),
        ("e.json", "not readable"),
        ("sweep.json", "not a regular file"),
    ]


def test_health_among_the_metrics_is_the_health(tmp_path: Path) -> None:
    built = record(metrics={"health": "loss not finite"})
    (read,) = read_sweeps([write_sweep(tmp_path, [built])]).records
    assert read["health"] == "loss not finite"
    assert "health" not in read["metrics"]


def test_parts_that_a_record_lacks_are_empty(tmp_path: Path) -> None:
    built = {k: record()[k] for k in ("schema", "key", "status", "row", "metrics")}
    (read,) = read_sweeps([write_sweep(tmp_path, [built])]).records
    assert read["provenance"] == {"versions": {}}
    assert read["config"] == read["samples"] == read["memory"] == {}
    assert read["reason"] == read["created"] == ""


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
    with pytest.raises(InputError, match="at least one sweep's folder; got none"):
        read_sweeps([])
    with pytest.raises(InputError, match=r"at least one record in .*; got none"):
        read_sweeps([tmp_path])
    (tmp_path / "cells" / "half.json").write_text("{")
    with pytest.raises(InputError, match=r"got 1 unusable file\(s\)(.|\n)*half\.json"):
        read_sweeps([tmp_path])


def test_planned_cells_without_a_record_are_missing(tmp_path: Path) -> None:
    done = record()
    planned = [{"key": done["key"], "row": done["row"]}, {"key": "feed0123", "row": {"n_steps": 7}}]
    write_sweep(tmp_path, [done], planned=planned, experiment="demo", question="Why?")
    sweeps = read_sweeps([tmp_path])
    assert [(c["key"], c["n_steps"]) for c in sweeps.missing] == [("feed0123", 7)]
    assert sweeps.questions == {"demo": "Why?"}


@pytest.mark.parametrize(
    "index",
    ["{", "null", "[]", '{"planned": 3}', '{"planned": [[1]]}', '{"plots": {"a": 1}}',
     '{"planned": [{"key": "k", "row": {"n_steps": [1]}}]}', '{"question": ["why"]}'],
)  # fmt: skip
def test_an_unusable_index_is_named_and_does_not_matter(tmp_path: Path, index: str) -> None:
    write_sweep(tmp_path, [record()])
    (tmp_path / "sweep.json").write_text(index)
    sweeps = read_sweeps([tmp_path])
    assert len(sweeps.records) == 1
    assert [file.name for file, _ in sweeps.corrupt] == ["sweep.json"]


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
