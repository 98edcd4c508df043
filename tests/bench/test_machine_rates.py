"""The machine's own limits, on a machine that is busy for a while."""

from __future__ import annotations

import time

import pytest

from bench.sweep import machine_rates

BUSY_S = 0.3


class Work:
    """A call that takes long while the machine is busy."""

    def __init__(self) -> None:
        self.free = time.perf_counter() + BUSY_S

    def __call__(self) -> Work:
        return self

    def block_until_ready(self) -> None:
        if time.perf_counter() < self.free:
            time.sleep(0.02)


def test_the_best_is_of_several_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_rates, "PAUSE_S", BUSY_S)
    assert max(machine_rates.best([Work(), Work()])) < 0.01
