"""What another implementation cannot do is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.backends.braintrace import Braintrace
from bench.command import cli
from bench.config import Batching

CONFIG = cli.cells_of(None, ["task=random_spikes"], multirun=False)[0].config


@pytest.mark.parametrize(
    ("backend", "change", "reason"),
    [
        (Braintrace("multi_step", 5), {}, ""),
        (Braintrace("multi_step", 2), {}, "n_steps=5 is not a multiple of backend.chunk=2"),
        (
            Braintrace("multi_step", 5),
            {"batching": Batching("vmap")},
            "braintrace refuses chunks under vmap",
        ),
        (Braintrace("single_step", 5), {}, "braintrace's chunks need backend.mode=multi_step"),
        (Braintrace(), {"algo": {"_target_": "core.BPTT"}}, "braintrace has no x"),
        (
            Braintrace(),
            {"algo": {"_target_": "core.ES_D_RTRL", "decay_or_rank": 4}},
            "braintrace maps a rank to a decay and has no rank form",
        ),
    ],
)
def test_what_braintrace_cannot_do_is_said(
    backend: Braintrace, change: dict[str, Any], reason: str
) -> None:
    config = replace(CONFIG, algo={"_target_": "core.D_RTRL"}, n_steps=5)
    assert backend.unsupported(replace(config, **change), {"algo": "x"}) == reason
