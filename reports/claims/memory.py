"""Claims about memory: constant in time, and how traces grow with batch, width and rank."""

from __future__ import annotations

import pandas as pd

from reports.claims.base import (
    BATCHING,
    SNN,
    Check,
    Claim,
    Finding,
    Growth,
    all_of,
    by_rank,
    growth,
    judged,
    judged_if,
    keys_of,
    untested,
)
from reports.records.columns import SETTINGS
from reports.records.settings import varying_within
from reports.scaling import fit
from reports.study import Study
from reports.text import short
from reports.windows import not_carried

ORDER = 10
ONLINE = ("d_rtrl", "es_d_rtrl")
FLAT = 1.05  # a growth of 5 % between the two longest sequences counts as none


def flat_in_time(study: Study) -> Finding:
    parts: list[str] = []
    open_parts: list[str] = []
    keys: list[str] = []
    holds = True
    for algo in ONLINE:
        # The temporaries leave out the input sequence itself, which is T long for any algorithm.
        found = growth(study, [algo], "memory_temp_mib", "n_steps") or growth(
            study, [algo], "memory_peak_mib", "n_steps"
        )
        if found:
            # A sequence shorter than a window needs less; what counts is that memory levels off.
            end, before = found.law.x[-1], found.law.x[-2]
            last = (end / before) ** found.law.top
            holds &= last <= FLAT
            parts.append(
                f"{algo}: {last:.2f}× from T = {before:.0f} to {end:.0f}, {found.words('T')}"
            )
            keys += found.keys
        elif why := _inside_a_window(study, algo):
            open_parts.append(f"{algo} is not tested: {why}")
    if not parts:
        needs = "an online algorithm at three lengths with everything else equal"
        carried = f", and traces that are carried. {'; '.join(open_parts)}" if open_parts else ""
        return untested(needs + carried)
    return judged(holds, "; ".join([*parts, *open_parts]) + ".", keys)


def _inside_a_window(study: Study, algo: str) -> str:
    """Why three lengths of an algorithm do not show how its memory grows; "" where they are not."""
    cells = study.cells[study.cells["algo"].eq(algo)] if len(study.cells) else study.cells
    return not_carried(study, cells) if len(cells) and cells["n_steps"].nunique() >= 3 else ""


def bptt_grows(study: Study) -> Finding:
    found = growth(study, ["bptt"], "memory_temp_mib", "n_steps") or growth(
        study, ["bptt"], "memory_peak_mib", "n_steps"
    )
    if not found:
        return untested("BPTT at three lengths with everything else equal")
    return judged(found.law.top > 0.5, found.words("T", 1.0) + ".", found.keys)


def trace_grows(algo: str, axis: str, symbol: str, theory: float) -> Check:
    """A check of the exponent of one algorithm's trace in one size."""

    def check(study: Study) -> Finding:
        found = growth(study, [algo], "etrace_mib", axis)
        if not found:
            return untested(f"{algo} at three values of {symbol} with everything else equal")
        return judged_if(
            found.is_about(theory),
            f"The trace has {found.words(symbol, theory)}; {theory:g} is claimed.",
            found.keys,
        )

    return check


def both(first: Check, second: Check) -> Check:
    """A claim in two parts that must both hold: untested where neither can be tested, and open
    where one holds and the other is untested or open.
    """

    def check(study: Study) -> Finding:
        found = [first(study), second(study)]
        if all(f.verdict == "not tested here" for f in found):
            return found[0]
        return judged_if(
            all_of({"holds": True, "does not hold": False}.get(f.verdict) for f in found),
            " ".join(
                f"The rest is not tested: {f.figure[0].lower()}{f.figure[1:]}"
                if f.verdict == "not tested here"
                else f.figure
                for f in sorted(found, key=lambda f: f.verdict == "not tested here")
            ),
            [k for f in found for k in f.keys],
        )

    return check


def n_to_the_fourth(study: Study) -> Finding:
    found = growth(study, ["d_rtrl"], "etrace_mib", "n_hidden")
    if not found:
        return untested("D-RTRL at three widths with everything else equal")
    cells = study.cells[study.cells["algo"].eq("d_rtrl") & study.cells["etrace_mib"].gt(0)]
    # One at a time, a call holds one sample's trace whatever the batch is.
    alone = cells["batching"].eq("single")
    cells = cells.assign(samples=cells["batch_size"].astype(float).where(~alone, 1.0))
    widest = cells.sort_values("n_hidden").iloc[-1]
    width = float(widest["n_hidden"])
    entries = widest["etrace_mib"] * 2**20 / 4 / widest["samples"]
    return judged_if(
        found.is_about(4.0),
        f"The trace has {found.words('N', 4.0)}. At N = {width:g} it holds "
        f"{short(entries)} numbers a sample (4 bytes each); N⁴ would be {width**4:.3g}.",
        [*found.keys, *widest["keys"]],
    )


def rank_memory(study: Study) -> Finding:
    cells = by_rank(study)
    cells = cells[cells["etrace_mib"].gt(0)] if len(cells) else cells
    if len(cells):
        slices = cells.groupby([*SETTINGS], dropna=False)
        cells = cells.assign(slice=slices.ngroup())[slices["rank"].transform("nunique") >= 3]
    if cells.empty:
        return untested("ES-D-RTRL in rank form at three ranks with everything else equal")
    law = fit(cells["rank"], cells["etrace_mib"], cells["slice"])
    ranks = cells["rank"].min(), cells["rank"].max()
    found = Growth(law, *ranks, tuple(keys_of(cells)), counted=True)
    return judged_if(
        found.is_about(1.0), f"The trace has {found.words('the rank', 1.0)}.", found.keys
    )


def decay_memory(study: Study) -> Finding:
    column = "cfg.algo.decay_or_rank"
    rows = study.ok[study.ok["algo"].eq("es_d_rtrl") & study.ok["etrace_mib"].gt(0)]
    if column in rows:
        rows = rows.assign(decay=pd.to_numeric(rows[column], errors="coerce"))
        rows = rows[rows["decay"].lt(1)]
        options = [c for c in varying_within(rows, SETTINGS) if c != column]
        groups = rows.groupby([*SETTINGS, *options], dropna=False)
        swept = rows[groups["decay"].transform("nunique") > 1]
        if len(swept):
            spread = (groups["etrace_mib"].max() / groups["etrace_mib"].min()).max()
            return judged(
                spread < 1.001,
                f"{swept['decay'].nunique()} decays from "
                f"{swept['decay'].min():g} to {swept['decay'].max():g}: largest trace over "
                f"smallest {spread:.3f}.",
                swept["key"],
            )
    return untested("ES-D-RTRL at two decays with everything else equal")


def one_allocation(study: Study) -> Finding:
    rows = study.ok[study.ok["batch_size"].ge(128)]
    if "calls_per_step" not in rows or rows["calls_per_step"].dropna().empty:
        return untested(
            "records that count the compiled calls of a training step "
            "(calls_per_step) for batches of 128"
        )
    batched = rows[rows["batching"].ne("single") & rows["calls_per_step"].notna()]
    single = rows[rows["batching"].eq("single") & rows["calls_per_step"].notna()]
    if batched.empty or single.empty:
        return untested("a batch of 128 or more both batched and one sample at a time")
    return judged(
        bool(batched["calls_per_step"].eq(1).all())
        and bool((single["calls_per_step"] >= single["batch_size"]).all()),
        f"Calls of the compiled program, each with one block for its temporaries: "
        f"{short(batched['calls_per_step'].max())} batched, "
        f"{short(single['calls_per_step'].min())} or more one at a time.",
        [*batched["key"], *single["key"]],
    )


CLAIMS = [
    Claim(
        "flat-in-time",
        SNN,
        "Online learning needs the same memory however long the sequence is.",
        flat_in_time,
    ),
    Claim(
        "bptt-grows",
        SNN,
        "BPTT has to keep the whole sequence, so its memory grows with the length.",
        bptt_grows,
    ),
    Claim(
        "d-rtrl-memory",
        SNN,
        "D-RTRL's memory is O(B θ): linear in the batch and in the number of parameters (so "
        "quadratic "
        "in the width).",
        both(
            trace_grows("d_rtrl", "batch_size", "B", 1.0),
            trace_grows("d_rtrl", "n_hidden", "H", 2.0),
        ),
    ),
    Claim(
        "es-d-rtrl-memory",
        SNN,
        "ES-D-RTRL's memory is O(B (I + O)): linear in the batch and in the width.",
        both(
            trace_grows("es_d_rtrl", "batch_size", "B", 1.0),
            trace_grows("es_d_rtrl", "n_hidden", "H", 1.0),
        ),
    ),
    Claim(
        "n-to-the-fourth",
        SNN,
        "For a recurrent matrix of N × N, D-RTRL's trace has N⁴ entries a sample.",
        n_to_the_fourth,
    ),
    Claim(
        "rank-memory",
        SNN,
        "In rank form ES-D-RTRL's memory is O(B r (I + O)): linear in the rank.",
        rank_memory,
    ),
    Claim(
        "decay-memory", SNN, "In decay form the memory does not depend on the decay.", decay_memory
    ),
    Claim(
        "one-allocation",
        BATCHING,
        "A batch of 128 takes one allocation where a loop over its samples takes 128.",
        one_allocation,
    ),
]
