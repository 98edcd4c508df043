"""Exports hold to the formats of the tools that read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_records import grid, record, study, write_sweep

from reports import export
from reports.cli import main
from reports.errors import InputError
from reports.study import Study

ALGOS = ["bptt", "d_rtrl"]


@pytest.fixture
def repeated() -> Study:
    return study(grid(algo=ALGOS, repeat=range(4)))


def test_github_action_benchmark_entries(repeated: Study) -> None:
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


def test_bencher_metric_format(repeated: Study) -> None:
    data = json.loads(export.bencher(repeated))
    assert len(data) == 2
    for measures in data.values():
        assert set(measures) >= {"step-time-ms", "memory-xla-mib"}
        for measure in measures.values():
            assert set(measure) in ({"value"}, {"value", "lower_value", "upper_value"})
            low, high = measure.get("lower_value", 0), measure.get("upper_value", float("inf"))
            assert low <= measure["value"] <= high


def test_pytest_benchmark_itself_reads_and_compares_ours(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    for number, commit in enumerate(("aaa", "bbb"), 1):
        sweep = write_sweep(tmp_path / commit, grid(algo=ALGOS, commit=[commit]))
        out = storage / "Linux-CPython-3.11-64bit" / f"000{number}_{commit}.json"
        assert main(["export", str(sweep), "--format", "pytest-benchmark", "--out", str(out)]) == 0
    result = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "--storage", str(storage), "compare"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "lif_net/digits/d_rtrl/manual/core/cpu/B16/H64/T16 (0002_bbb)" in result.stdout


def test_pytest_benchmark_statistics_come_from_the_samples(repeated: Study) -> None:
    data = json.loads(export.pytest_benchmark(repeated))
    stats = data["benchmarks"][0]["stats"]
    assert stats["rounds"] == len(stats["data"]) == 60
    assert stats["min"] <= stats["q1"] <= stats["median"] <= stats["q3"] <= stats["max"]
    assert stats["total"] == pytest.approx(sum(stats["data"]))


def test_an_export_without_values_is_refused() -> None:
    nothing = study([record(status="oom")])
    for make in export.FORMATS.values():
        with pytest.raises(InputError, match="at least one ok cell"):
            make(nothing)


def test_names_do_not_depend_on_what_else_was_swept(repeated: Study) -> None:
    alone = study([record("bptt")])
    assert {e["name"] for e in json.loads(export.github(alone))} <= {
        e["name"] for e in json.loads(export.github(repeated))
    }
