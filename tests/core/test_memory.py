"""What a compiled gradient takes in memory, by XLA's own account; nothing is run here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import core
from tests.benchmarks.networks import CASES, Case, ours

WIDE = CASES["LIF 128+512->512 B64 T64"]


def temporaries(case: Case, make: Callable[[Any], Any], n_steps: int) -> int:
    """Bytes beside inputs and gradients; what is carried from step to step is among them."""
    xs, labels = case.data(n_steps)
    compiled = ours(case, make).compile(xs.astype(float), labels)
    executable = compiled[0] if isinstance(compiled, tuple) else compiled
    return int(executable.memory_analysis().temp_size_in_bytes)


@pytest.mark.parametrize("window", [1, 16, "auto"])
def test_d_rtrl_takes_little_more_than_its_traces(window: int | str) -> None:
    make = lambda m: core.D_RTRL(m, window=window)  # noqa: E731
    traces = 8 * WIDE.batch * ((WIDE.rows + 1) * WIDE.n_hidden + WIDE.n_hidden * 10)
    short = temporaries(WIDE, make, 64)
    long = temporaries(WIDE, make, 1024)
    assert traces < short <= long < 1.5 * traces
    if window != 1:  # there XLA copies the input, which is an argument already
        assert long < 1.05 * short


def test_es_d_rtrl_is_flat_in_steps_and_linear_in_width() -> None:
    make = lambda m: core.ES_D_RTRL(m, 0.9, window=16)  # noqa: E731
    narrow, wide = (Case(WIDE.network, 128, h, 64, 64, 4) for h in (256, 1024))
    assert abs(temporaries(wide, make, 1024) / temporaries(wide, make, 64) - 1) < 0.05
    # The weights themselves are quadratic in H: their gradients are an output, and one copy is not.
    grown = temporaries(wide, make, 64) / temporaries(narrow, make, 64)
    assert grown < 4.5
