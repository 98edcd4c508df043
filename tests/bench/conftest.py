"""Cells run in the order of the plan: the random one is a hash of the code, so that what rests on
it would pass with one commit and fail with the next. It is tested by itself."""

from __future__ import annotations

import pytest

from bench.sweep import sweep


@pytest.fixture(autouse=True)
def _in_the_order_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "in_random_order", dict)
