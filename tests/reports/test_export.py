"""Exports hold to the formats of the tools that read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_records import Records, grid, record

from reports import export
from reports.errors import InputError
from reports.records import Sweeps

ALGOS = ["bptt", "d_rtrl"]


def sweeps(records: Records) -> Sweeps:
    return Sweeps((Path("."),), records)


@pytest.fixture
def repeated() -> Sweeps:
    return sweeps(grid(algo=ALGOS, repeat=range(4)))


def test_github_action_benchmark_entries(repeated: Sweeps) -> None:
    """customSmallerIsBetter: name, unit and value are required, range and extra are text."""
    entries = json.loads(export.github(repeated))
    assert len(entries) == 6
    for entry in entries:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["name"], str)
        assert isinstance(entry["value"], float)
        assert isinstance(entry["unit"], str)
        assert entry.get("range", "± 1").startswith("± ")
    assert len({e["name"] for e in entries}) == len(entries)


def test_bencher_metric_format(repeated: Sweeps) -> None:
    data = json.loads(export.bencher(repeated))
    assert len(data) == 2
    for measures in data.values():
        assert set(measures) >= {"step-time-ms", "memory-xla-mib"}
        for measure in measures.values():
            assert set(measure) in ({"value"}, {"value", "lower_value", "upper_value"})
            low, high = measure.get("lower_value", 0), measure.get("upper_value", float("inf"))
            assert low <= measure["value"] <= high


def test_an_export_without_values_is_refused() -> None:
    nothing = sweeps([record(status="oom")])
    for make in export.FORMATS.values():
        with pytest.raises(InputError, match="at least one ok cell"):
            make(nothing)


def test_names_do_not_depend_on_what_else_was_swept(repeated: Sweeps) -> None:
    alone = sweeps([record("bptt")])
    assert {e["name"] for e in json.loads(export.github(alone))} <= {
        e["name"] for e in json.loads(export.github(repeated))
    }
