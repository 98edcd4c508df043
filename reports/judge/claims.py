"""What tutorials claim of the algorithms, as data, and what these records say to each claim.

A claim is judged for each network and task apart, and only inside the regime that it is about. The
core's rows alone count: other libraries' would judge their implementations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from reports.judge import claim_tests as test
from reports.judge.claim_tests import Finding, Test

BATCHING = "Batching Online Learning"
STRATEGIES = "Batching Strategies"
SNN = "SNN Online Learning with BrainTrace"
LARGE = 512  # neurons from which on a network is called large


@dataclass(frozen=True)
class Claim:
    """One checkable statement, in our own words.

    Args:
        source: the tutorial that it is from.
        regime: what it takes to test it.
    """

    id: str
    words: str
    source: str
    regime: str
    test: Test = field(repr=False)


@dataclass(frozen=True)
class Answered:
    """A claim with what the records of one network and task say to it."""

    claim: Claim
    where: str
    finding: Finding


CLAIMS = (
    Claim(
        "flat-in-time",
        "Online learning needs the same memory however long the sequence is.",
        SNN,
        "D-RTRL or ES-D-RTRL at three lengths beyond one window",
        test.grows("memory_temp_mib", "n_steps", ("d_rtrl", "es_d_rtrl"), 0.0, carried=True),
    ),
    Claim(
        "bptt-grows",
        "BPTT has to keep the whole sequence: its memory grows linearly with the length.",
        SNN,
        "BPTT at three lengths",
        test.grows("memory_temp_mib", "n_steps", ("bptt",), 1.0),
    ),
    Claim(
        "d-rtrl-batch",
        "D-RTRL's memory is linear in the batch.",
        SNN,
        "D-RTRL at three batch sizes, with a trace made",
        test.grows("memory_temp_mib", "batch_size", ("d_rtrl",), 1.0, carried=True),
    ),
    Claim(
        "d-rtrl-width",
        "D-RTRL's memory is quadratic in the width, as its number of parameters.",
        SNN,
        "D-RTRL at three widths, with a trace made",
        test.grows("memory_temp_mib", "n_hidden", ("d_rtrl",), 2.0, carried=True),
    ),
    Claim(
        "es-d-rtrl-width",
        "ES-D-RTRL's memory is linear in the width.",
        SNN,
        "ES-D-RTRL at three widths, with a trace made",
        test.grows("memory_temp_mib", "n_hidden", ("es_d_rtrl",), 1.0, carried=True),
    ),
    Claim(
        "n-to-the-fourth",
        "D-RTRL's trace of an N × N matrix has N⁴ entries a sample.",
        SNN,
        "D-RTRL at three widths, with a trace made",
        test.grows("etrace_mib", "n_hidden", ("d_rtrl",), 4.0, carried=True),
    ),
    Claim(
        "es-cheaper",
        "On larger networks ES-D-RTRL needs less memory than D-RTRL.",
        SNN,
        f"both on {LARGE} neurons or more, with traces made",
        test.ratio(
            "memory_temp_mib",
            "algo",
            "es_d_rtrl",
            "d_rtrl",
            below=0.98,
            carried=True,
            n_hidden=LARGE,
        ),
    ),
    Claim(
        "es-faster",
        "On larger networks ES-D-RTRL is faster than D-RTRL.",
        SNN,
        f"both on {LARGE} neurons or more, with traces made, timed on a quiet machine",
        test.ratio(
            "step_time_ms", "algo", "es_d_rtrl", "d_rtrl", below=0.95, carried=True, n_hidden=LARGE
        ),
    ),
    Claim(
        "under-100",
        "Memory limits D-RTRL to networks of fewer than 100 neurons.",
        SNN,
        "D-RTRL with 100 neurons or more",
        test.runs("d_rtrl", 100, holds_if_it_ran=False),
    ),
    Claim(
        "es-scales",
        "ES-D-RTRL scales to thousands of neurons.",
        SNN,
        "ES-D-RTRL with 1000 neurons or more",
        test.runs("es_d_rtrl", 1000, holds_if_it_ran=True),
    ),
    Claim(
        "d-rtrl-exact",
        "D-RTRL computes the exact gradient.",
        SNN,
        "D-RTRL with its gradient compared with BPTT's",
        test.at_most("grad_rel_error", "d_rtrl", 1e-3),
    ),
    Claim(
        "rank-accuracy",
        "In rank form a larger rank gives a better gradient.",
        SNN,
        "ES-D-RTRL at three ranks, compared with BPTT's gradient",
        test.rank_buys_fidelity,
    ),
    Claim(
        "manual-faster",
        "Manual batching is faster than vmap.",
        BATCHING,
        "the same cells with both, timed on a quiet machine",
        test.ratio("step_time_ms", "batching", "vmap", "manual", above=1.05),
    ),
    Claim(
        "batching-pays",
        "Batching is much faster than one sample after another.",
        BATCHING,
        "batches of 16 or more both ways, timed on a quiet machine",
        test.ratio("step_time_ms", "batching", "single", "manual", above=1.5, batch_size=16),
    ),
    Claim(
        "loop-costs-b",
        "On a CPU one sample after another costs B times one sample.",
        BATCHING,
        "one sample at a time at three batch sizes on a CPU",
        test.grows("step_time_ms", "batch_size", (), 1.0, batching="single"),
    ),
    Claim(
        "manual-is-vmap",
        "Manual batching and vmap compute the same loss.",
        BATCHING,
        "the same seeded cells with both",
        test.same_loss("batching", "manual", "vmap"),
    ),
    Claim(
        "samples-independent",
        "A batch under vmap gives what its samples give one by one.",
        STRATEGIES,
        "the same seeded cells with both",
        test.same_loss("batching", "vmap", "single"),
    ),
    Claim(
        "lif-learns",
        "The LIF network with delta synapses learns random classification under ES-D-RTRL.",
        BATCHING,
        "model=lif_net task=random_classification algo=es_d_rtrl, trained",
        test.learns("lif_net", "es_d_rtrl", "random_classification"),
    ),
    Claim(
        "snn-learns",
        "The spiking network with a leaky readout learns under ES-D-RTRL.",
        SNN,
        "model=lif_snn algo=es_d_rtrl, trained",
        test.learns("lif_snn", "es_d_rtrl"),
    ),
)


def answers(table: pd.DataFrame, cells: pd.DataFrame, held: Sequence[str]
            ) -> tuple[list[Answered], list[Claim]]:  # fmt: skip
    """(what these records answer, which claims they cannot test).

    Args:
        table: `rows(records)`.
        cells: `Study.cells`, one row a setting and way.
        held: the columns that make a setting.
    """
    apart = [c for c in ("model", "task", "device", "machine") if c in held]
    found: list[Answered] = []
    core = table[table["backend"].isin(["core", ""])]
    for _, rows in core.groupby(apart, dropna=False, sort=True):
        first = rows.iloc[0]
        where = f"{first['model']} on {first['task']}"
        group = cells[cells["setting"].isin(rows["setting"]) & cells["backend"].isin(["core", ""])]
        for claim in CLAIMS:
            finding = claim.test(rows, group, held)
            if finding:
                found.append(Answered(claim, where, finding))
    tested = {a.claim.id for a in found}
    place = {"holds": 0, "does not hold": 0, "not decided": 1}
    found.sort(key=lambda a: place[a.finding.verdict])
    return found, [c for c in CLAIMS if c.id not in tested]
