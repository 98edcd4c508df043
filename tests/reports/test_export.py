"""Exports hold to the formats of the tools that read them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_records import Records, grid, record, write_sweep

from reports import export
from reports.cli import main
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


def test_pytest_benchmark_statistics_come_from_the_samples(repeated: Sweeps) -> None:
    data = json.loads(export.pytest_benchmark(repeated))
    stats = data["benchmarks"][0]["stats"]
    assert stats["rounds"] == len(stats["data"]) == 60
    assert stats["min"] <= stats["q1"] <= stats["median"] <= stats["q3"] <= stats["max"]
    assert stats["total"] == pytest.approx(sum(stats["data"]))


def test_times_that_are_none_are_left_out_and_nothing_is_infinite() -> None:
    still = record("bptt", metrics={"step_time_ms": 0.0})
    still["samples"]["step_time_ms"] = [0.0, 0.0]
    odd = record("d_rtrl")
    odd["samples"]["step_time_ms"] = [1.0, 0.0, None, float("inf"), 3.0]
    text = export.pytest_benchmark(sweeps([still, odd]))
    (entry,) = json.loads(text, parse_constant=lambda name: pytest.fail(name))["benchmarks"]
    assert entry["stats"]["data"] == [0.001, 0.003]
    with pytest.raises(InputError, match="at least one ok cell"):
        export.pytest_benchmark(sweeps([still]))


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
