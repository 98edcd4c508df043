"""Planted truths come out of a cell, and what is ill is flagged."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.command import cli
from bench.sweep import measure, sweep
from tests.bench import sweeps
from tests.bench.plugins.planted_backend import HELD_MIB, SLEEP_S

PLUGINS = Path(__file__).parent / "plugins"
TINY = [
    "backend=planted",
    "n_hidden=8",
    "batch_size=4",
    "epochs=1",
    "task=random_spikes",
    "n_steps=4",
    "metric.timing.budget_s=0.5",
    "metric.timing.min_samples=6",
    "metric.timing.warmup_s=0.3",
    "metric.timing.against=null",
]


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PLUGINS))
        patch.syspath_prepend(str(PLUGINS))
        yield


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a cell that holds memory, from the command line to the file."""
    out = tmp_path_factory.mktemp("out")
    metrics = "metric=[timing,memory,work,learning,health]"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setattr(sweep, "build_report", lambda *_: "none")
        patch.setattr(measure, "rates_here", lambda *_: {})
        sweeps.tried_in_this_process(patch.setattr)
        arguments = ["--config-dir", str(PLUGINS / "conf"), f"out={out}", metrics, *TINY]
        assert cli.main(arguments) == 0
    (found,) = sweeps.records(out)
    return {**found, "printed": (out / found["log"]).read_text()}


def measured(truth: str) -> tuple[dict[str, Any], list[str]]:
    """What a cell of this truth reports, and why its numbers cannot be used."""
    overrides = [*TINY, f"backend.truth={truth}", "metric=[timing,learning,health]"]
    (cell,) = cli.cells_of(str(PLUGINS / "conf"), overrides, multirun=False)
    return sweeps.measured_here(cell)


def test_bytes_held(record: dict[str, Any]) -> None:
    metrics = record["metrics"]
    assert metrics["memory_peak_mib"] == pytest.approx(HELD_MIB, rel=0.02)
    assert metrics["memory_xla_mib"] == pytest.approx(HELD_MIB, rel=0.02)
    assert record["memory"]["disagreement"] == ""


def test_time_slept() -> None:
    found, _ = measured("sleep")
    samples = found["samples"]["step_time_ms"]
    assert len(samples) == found["metrics"]["timed_steps"] >= 6
    assert found["metrics"]["step_time_ms"] == pytest.approx(statistics.median(samples))
    # A busy machine wakes a sleeper late, never early: the shortest sample is the truth.
    assert min(samples) == pytest.approx(1e3 * SLEEP_S, rel=0.02)
    assert min(samples) >= 1e3 * SLEEP_S


def test_recompilation_in_the_timed_region_is_invalid() -> None:
    found, (reason,) = measured("recompile")
    count = found["metrics"]["timed_steps"]
    assert reason.startswith(
        f"{count} compilations inside the timed region: its times are not those of a step"
    )


def test_nan_is_named_and_null() -> None:
    found, invalid = measured("not_finite")
    assert invalid == []
    assert found["metrics"]["loss_final"] is None
    assert found["metrics"]["grad_norm"] is None
    words = found["health"].split("; ")
    assert "gradient is not finite" in words
    assert "loss is not finite" in words
    assert any(word.endswith(" never moves") for word in words)


def test_a_record_says_where_it_comes_from(record: dict[str, Any]) -> None:
    provenance = record["provenance"]
    names = """
        commit dirty versions python processor cores affinity memory_gib load_before load_after
        xla_flags compilation_cache threads hostname_hash fingerprint code phases
    """
    assert {*names.split()} <= set(provenance)
    assert provenance["versions"]["jax"]
    # The config is the composed one: every group, every metric's settings.
    assert record["config"]["metric"]["timing"]["budget_s"] == 0.5


def test_what_draws_is_loaded_when_it_is_used(record: dict[str, Any]) -> None:
    assert "False <function spike_raster at " in record["printed"]


def test_harness_costs_little(record: dict[str, Any]) -> None:
    provenance = record["provenance"]
    assert sum(provenance["phases"].values()) == pytest.approx(provenance["wall_s"], abs=0.5)
    assert provenance["phases"]["end"] < 2
