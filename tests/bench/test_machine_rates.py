"""The machine's own limits, on a machine that is busy for a while, and a step's floor."""

from __future__ import annotations

import itertools

import pytest

from bench.cell import machine_rates
from bench.sweep.machine_rates import against_floor


class Work:
    """A call that takes no time."""

    def __call__(self) -> Work:
        return self

    def block_until_ready(self) -> None: ...


@pytest.mark.parametrize(("busy", "kept"), [([0, 0, 0, 0], 4), ([1, 0, 1, 0], 2), ([1] * 4, 0)])
def test_busy_rounds_are_left_out(
    busy: list[int], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moods = itertools.cycle(busy)
    monkeypatch.setattr(machine_rates, "PAUSE_S", 0.0)
    monkeypatch.setattr(machine_rates, "contention", lambda *_, **__: {"contended": next(moods)})
    assert len(machine_rates.quiet_rounds([Work(), Work()])) == kept


def test_rates_are_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_rates, "contention", lambda *_, **__: {"contended": False})
    monkeypatch.setattr(machine_rates, "PAUSE_S", 0.0)
    rates = machine_rates.measure("float32")
    assert 1e8 < rates["product_flops_per_s"][0] <= rates["product_flops_per_s"][1] < 1e15
    assert 1e8 < rates["copy_bytes_per_s"][0] <= rates["copy_bytes_per_s"][1] < 1e14


def test_a_busy_machine_has_no_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_rates, "quiet_rounds", lambda *_: [])
    assert set(machine_rates.measure("float32")) == {"measured"}


def test_the_floor_is_the_larger_of_two_times() -> None:
    rates = {"product_flops_per_s": [1e6, 2e6], "copy_bytes_per_s": [1e3, 2e3]}
    work = {"product_flops_per_step": 2e6, "moved_bytes_per_step": 1e3, "step_time_low_ms": 4e3}
    assert against_floor(work, rates) == {
        "floor_ms": 1e3,
        "floor_ms_lo": 1e3,
        "floor_ms_hi": 2e3,
        "limit_ratio": 4.0,
        "limit_ratio_lo": 2.0,
        "limit_ratio_hi": 4.0,
    }
    assert against_floor({**work, "moved_bytes_per_step": 1e4}, rates)["floor_ms"] == 5e3
    assert set(against_floor(work, {}).values()) == {None}
    assert against_floor({}, rates) == {}
