"""Real cells in real processes: planted truths come out, and what is ill is flagged."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest

from bench.command import cli
from bench.sweep import measure, sweep
from tests.bench.plugins.planted_backend import HELD_MIB, SLEEP_S

PLUGINS = Path(__file__).parent / "plugins"
TINY = [
    "n_hidden=8",
    "batch_size=4",
    "epochs=1",
    "task=random_spikes",
    "n_steps=4",
    "metric.timing.budget_s=0.5",
    "metric.timing.min_samples=6",
    "metric.timing.warmup_s=0.3",
]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One sweep over the planted backend, from the command line to the record files."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGINS)]))
        patch.syspath_prepend(str(PLUGINS))
        patch.setattr(sweep, "build_report", lambda *_: "none")
        patch.setattr(measure, "rates_here", lambda *_: {})
        status = cli.main(
            [
                "-m",
                "--config-dir",
                str(PLUGINS / "conf"),
                f"out={out}",
                "backend=planted",
                "backend.truth=hold,sleep,recompile,not_finite",
                "metric=[timing,memory,work,learning,health]",
                *TINY,
            ]
        )
    found = {
        r["config"]["backend"]["truth"]: r
        for path in (out / "cells").glob("*.json")
        for r in [json.loads(path.read_text())]
    }
    assert status == 1  # the cell that recompiles is invalid
    assert len(found) == 4
    return found


def test_bytes_held(records: dict[str, dict[str, Any]]) -> None:
    metrics = records["hold"]["metrics"]
    assert metrics["memory_peak_mib"] == pytest.approx(HELD_MIB, rel=0.02)
    assert metrics["memory_xla_mib"] == pytest.approx(HELD_MIB, rel=0.02)
    assert records["hold"]["memory"]["disagreement"] == ""


def test_time_slept(records: dict[str, dict[str, Any]]) -> None:
    metrics = records["sleep"]["metrics"]
    samples = records["sleep"]["samples"]["step_time_ms"]
    assert len(samples) == metrics["timed_steps"] >= 6
    assert metrics["step_time_ms"] == pytest.approx(statistics.median(samples))
    # A busy machine wakes a sleeper late, never early: the shortest sample is the truth.
    assert min(samples) == pytest.approx(1e3 * SLEEP_S, rel=0.02)
    assert min(samples) >= 1e3 * SLEEP_S


def test_recompilation_in_the_timed_region_is_invalid(records: dict[str, dict[str, Any]]) -> None:
    record = records["recompile"]
    assert record["status"] == "invalid"
    count = record["metrics"]["timed_steps"]
    assert record["reason"].startswith(
        f"{count} compilations inside the timed region: its times are not those of a step"
    )


def test_nan_is_named_and_null(records: dict[str, dict[str, Any]]) -> None:
    record = records["not_finite"]
    assert record["status"] == "ok"
    assert record["metrics"]["loss_final"] is None
    assert record["metrics"]["grad_norm"] is None
    words = record["health"].split("; ")
    assert "gradient is not finite" in words
    assert "loss is not finite" in words
    assert any(word.endswith(" never moves") for word in words)


def test_every_record_says_where_it_comes_from(records: dict[str, dict[str, Any]]) -> None:
    for record in records.values():
        provenance = record["provenance"]
        assert {
            "commit",
            "dirty",
            "versions",
            "python",
            "processor",
            "cores",
            "affinity",
            "memory_gib",
            "load_before",
            "load_after",
            "xla_flags",
            "compilation_cache",
            "threads",
            "hostname_hash",
            "fingerprint",
            "code",
            "phases",
        } <= set(provenance)
        assert provenance["versions"]["jax"]
        # The config is the composed one: every group, every metric's settings.
        assert record["config"]["metric"]["timing"]["budget_s"] == 0.5


def test_harness_costs_little(records: dict[str, dict[str, Any]]) -> None:
    for record in records.values():
        phases = record["provenance"]["phases"]
        assert sum(phases.values()) == pytest.approx(record["provenance"]["wall_s"], abs=0.5)
        assert phases["end"] < 2
