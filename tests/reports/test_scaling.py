"""Growth with a size: fitted laws, theory beside them, and where curves change places."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic_records import ALGOS, grid, record, study

from reports.judge.scaling import Series, fit, series
from reports.page.tables import scaling as scaling_table
from reports.plots import scaling

X = np.array([16.0, 32, 64, 128, 256, 512])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
def test_a_power_law_is_found(power: float) -> None:
    law = fit(X, 3 * X**power)
    assert law.exponent == pytest.approx(power, abs=0.01)
    assert law.low <= power <= law.high
    assert not law.dominated


def test_a_fixed_cost_is_told_apart_from_the_power() -> None:
    law = fit(X, 100 + 0.01 * X**2)
    assert law.exponent == pytest.approx(2, abs=0.02)
    assert not law.dominated
    assert fit(X, 1e5 + 0.01 * X**2).exponent == pytest.approx(0, abs=0.05)  # it does not grow
    assert fit(X[:4], 1000 + 0.01 * X[:4] ** 2).dominated


def test_what_does_not_grow_has_exponent_nought() -> None:
    law = fit(X, np.array([5.0, 5.01, 4.99, 5.02, 5, 5.01]))
    assert law.exponent == pytest.approx(0, abs=0.01)
    assert not law.dominated


def test_the_interval_holds_the_exponent_under_noise() -> None:
    rng = np.random.default_rng(0)
    held = [(law := fit(X, X**1.5 * np.exp(0.05 * rng.standard_normal(6)))).low <= 1.5 <= law.high
            for _ in range(80)]  # fmt: skip
    assert np.mean(held) > 0.9


def curve(y: np.ndarray, contended: bool = False, metric: str = "memory_temp_mib") -> Series:
    points = pd.DataFrame({"x": X, "y": y, "contended": contended})
    return Series(metric, "n_hidden", "", SimpleNamespace(), points)


def test_a_crossing_was_seen_or_is_none() -> None:
    rising, level = curve(X), curve(np.full(6, 100.0))
    assert rising.crossing(level) == level.crossing(rising) == (64, 128)
    assert rising.crossing(curve(X * 2)) is None
    assert rising.crossing(curve(X * 1.01)) is None
    assert rising.crossing(curve(np.full(6, 100.0), contended=True)) is None
    # Peaks of which only pages and slack are seen.
    for scale, found in ((1.0, (64, 128)), (1e-3, None)):
        peaks = curve(X * scale, metric="memory_peak_mib")
        assert peaks.crossing(curve(np.full(6, 100.0 * scale), metric="memory_peak_mib")) == found
    rng = np.random.default_rng(0)
    seen = [
        curve(X * np.exp(0.02 * rng.standard_normal(6)), metric="step_time_ms").crossing(
            curve(X * np.exp(0.02 * rng.standard_normal(6)), metric="step_time_ms")
        )
        for _ in range(200)
    ]
    assert not any(seen)  # two identical ways


def series_of(records: list, metric: str, size: str) -> list:
    facts = study(records).facts
    return series(facts, facts.settings, metric, size)


def test_memory_beyond_one_window_is_held_against_theory() -> None:
    records = [
        record(
            a,
            n_steps=t,
            metrics={
                "window_steps": float(w) if a != "bptt" else None,
                "memory_temp_mib": float(m),
            },
        )
        for a, w in (("bptt", 0), ("d_rtrl", 16))
        for t, m in zip(
            (8, 16, 64, 256, 1024),
            (1, 2, 8, 32, 128) if a == "bptt" else (1, 2, 3, 3, 3),
            strict=True,
        )
    ]
    found = {s.name: s for s in series_of(records, "memory_temp_mib", "n_steps")}
    assert found["bptt"].reading == "as theory"
    assert found["d_rtrl"].reading == "as theory"
    assert found["d_rtrl"].law.exponent == pytest.approx(0, abs=0.05)
    short = [r for r in records if r["row"]["n_steps"] <= 16 or r["row"]["n_steps"] == 64]
    found = {s.name: s for s in series_of(short, "memory_temp_mib", "n_steps")}
    assert found["d_rtrl"].reading == "fits one window"


def test_theory_of_traces_is_not_held_against_cells_that_make_none() -> None:
    records = [
        record("d_rtrl", n_hidden=h, n_steps=8, metrics={"window_steps": 8.0}) for h in (8, 16, 32)
    ]
    (one,) = series_of(records, "memory_temp_mib", "n_hidden")
    assert one.theory is None


def test_settings_are_kept_apart_and_batchings_not_mixed() -> None:
    records = grid(
        algo=ALGOS, batching=["manual", "vmap"], model=["gru", "lif_net"], n_steps=[8, 16, 32]
    )
    found = series_of(records, "step_time_ms", "n_steps")
    assert len(found) == 6
    assert {s.where for s in found} == {"gru", "lif_net"}
    assert {s.way.batching for s in found} == {"manual"}


def test_methods_that_change_places_are_told_between_which_sizes() -> None:
    records = [record(a, n_steps=t, metrics={"step_time_ms": float(ms)})
               for a, times in (("bptt", (1, 2, 8)), ("d_rtrl", (4, 4.2, 4.4)))
               for t, ms in zip((8, 16, 64), times, strict=True)]  # fmt: skip
    bptt, d_rtrl = series_of(records, "step_time_ms", "n_steps")
    assert bptt.crossing(d_rtrl) == (16, 64)
    drawn = next(p for p in scaling.make(study(records)) if p.name.startswith("time"))
    assert "bptt and d_rtrl change places between T = 16 and 64." in drawn.caption


@pytest.mark.parametrize("busy", [0, 1])
def test_times_under_contention_have_no_exponent(busy: int) -> None:
    records = grid(algo=["bptt"], n_steps=[8, 16, 32, 64])
    for nth, built in enumerate(records):
        built["metrics"]["contended"] = busy * (nth == 1)
    rows = scaling_table(study(records).facts).cells.to_dict("records")
    told = {row["quantity"]: (row["exponent"], row["reading"]) for row in rows}
    assert told["memory by XLA (MiB)"][0].startswith("1.0")
    time = told["step time (ms)"]
    assert time == ("–", "measured under contention") if busy else time[0].startswith("1.0")


def test_what_holds_the_weights_is_held_against_the_theory_of_traces_alone() -> None:
    records = grid(algo=ALGOS, n_hidden=[64, 128, 256, 512])
    linear = {"bptt": 1.0, "d_rtrl": 2.0, "es_d_rtrl": 1.0}
    for metric, known in (("memory_xla_mib", {"d_rtrl": 2.0}), ("memory_temp_mib", linear)):
        found = {s.name: s.theory for s in series_of(records, metric, "n_hidden")}
        assert found == {**dict.fromkeys(ALGOS), **known}
