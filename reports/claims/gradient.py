"""Claims about gradients: which are exact, which agree with each other, what the rank buys."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from reports.claims.base import (
    BATCHING,
    SNN,
    STRATEGIES,
    Check,
    Claim,
    Finding,
    by_rank,
    judged,
    keys_of,
    untested,
)
from reports.records import Record
from reports.records.columns import SETTINGS
from reports.study import Study
from reports.text import short

ORDER = 30
EXACT = 1e-3  # relative error that single precision and a spike now and then explain


def d_rtrl_is_exact(study: Study) -> Finding:
    return _against_bptt(study, "d_rtrl", lambda worst: worst <= EXACT)


def es_is_approximate(study: Study) -> Finding:
    return _against_bptt(study, "es_d_rtrl", lambda worst: worst > EXACT)


def _against_bptt(study: Study, algo: str, judge: Callable[[float], bool]) -> Finding:
    cells = study.cells
    cells = cells[cells["algo"].eq(algo) & cells["grad_rel_error"].notna()] if len(cells) else cells
    if cells.empty:
        return untested(f"{algo} with its gradient compared with BPTT's")
    parts = []
    for (model, task), group in cells.groupby(["model", "task"]):
        low, middle, high = group["grad_rel_error"].quantile([0, 0.5, 1])
        cosine = group["grad_cosine"].median()
        parts.append(
            f"{model} on {task}: relative error {short(middle)} "
            f"({short(low)} to {short(high)}), cosine {short(cosine)}"
        )
    return judged(
        judge(float(cells["grad_rel_error"].max())), "; ".join(parts) + ".", keys_of(cells)
    )


def same_loss(first: str, second: str) -> Check:
    """A check that two ways of batching give the same seeded losses."""

    def check(study: Study) -> Finding:
        rows = study.ok.dropna(subset=["loss_first"])
        held = [*(s for s in SETTINGS if s != "batching"), "variant", "seed"]
        ways = [rows[rows["batching"].eq(way)].drop_duplicates(held) for way in (first, second)]
        pairs = ways[0].merge(ways[1], on=held, suffixes=("", "_other"))
        if pairs.empty:
            return untested(f"the same seeded cells with batching {first} and {second}")
        gap = np.abs(pairs["loss_first"] / pairs["loss_first_other"] - 1)
        return judged(
            float(gap.max()) <= EXACT,
            f"Loss of the first epoch, same seed: they differ by at most {short(gap.max())} "
            f"(relative) over {len(pairs)} pairs.",
            [*pairs["key"], *pairs["key_other"]],
        )

    return check


def same_for_any_window(study: Study) -> Finding:
    column = "cfg.algo.window"
    rows = study.ok.dropna(subset=["loss_first"])
    if column in rows:
        rows = rows[rows[column].notna() & rows["algo"].eq("d_rtrl")]
        groups = rows.groupby([*SETTINGS, "seed"], dropna=False)
        swept = rows[groups[column].transform("nunique") > 1]
        if len(swept):
            again = swept.groupby([*SETTINGS, "seed"], dropna=False)["loss_first"]
            gap = float((again.max() / again.min() - 1).abs().max())
            return judged(
                gap <= EXACT,
                f"{swept[column].nunique()} windows: losses of the first epoch "
                f"differ by at most {short(gap)} (relative).",
                swept["key"],
            )
    return untested("D-RTRL with two windows and everything else equal")


def all_weights_get_one(study: Study) -> Finding:
    rows = study.ok[
        study.ok["algo"].eq("d_rtrl") & study.ok["model"].eq("gru") & study.ok["backend"].eq("core")
    ]
    seen = {
        (row["key"], weight): found.get("rel_error")
        for _, row in rows.iterrows()
        for weight, found in (study.by_key[row["key"]].get("fidelity") or {}).items()
    }
    errors = pd.Series(seen, dtype="float64").dropna()
    if errors.empty:
        return untested("D-RTRL on the GRU network with its gradient compared weight by weight")
    # A gradient of zero is as far from BPTT's as BPTT's is long: relative error one.
    missing = errors[(errors - 1).abs() < 1e-9]
    worst = errors.idxmax()
    return judged(
        missing.empty,
        f"{errors.index.get_level_values(1).nunique()} weights, "
        f"{missing.index.get_level_values(1).nunique()} of them with a gradient of zero; "
        f"the one furthest from BPTT's is {worst[1]} (relative error "
        f"{short(errors[worst])}).",
        errors.index.get_level_values(0),
    )


def rank_buys_fidelity(study: Study) -> Finding:
    cells = by_rank(study)
    cells = cells.dropna(subset=["grad_rel_error"]) if len(cells) else cells
    if cells.empty or cells["rank"].nunique() < 3:
        return untested("ES-D-RTRL in rank form at three ranks, compared with BPTT's gradient")
    errors = cells.groupby("rank")["grad_rel_error"].median()
    falls = bool((errors.diff().dropna() <= 0.02 * errors.iloc[0]).all()) and bool(
        errors.iloc[-1] < 0.98 * errors.iloc[0]
    )
    return judged(
        falls,
        "Median relative error by rank: "
        + ", ".join(f"{rank:g}: {short(error)}" for rank, error in errors.items())
        + ".",
        keys_of(cells),
    )


def decay_of_one(study: Study) -> Finding:
    """JSON keeps 1.0 (a decay) and 1 (a rank) apart; a table of numbers does not."""
    tried = [
        (key, record)
        for key, record in study.by_key.items()
        if record["row"].get("algo") == "es_d_rtrl"
        and isinstance(decay := _decay_or_rank(record), float)
        and decay == 1.0
    ]
    if not tried:
        return untested("ES-D-RTRL with a decay of 1.0")
    ran = [key for key, record in tried if record["status"] == "ok"]
    why = sorted({str(record.get("reason")) for _, record in tried if record["status"] != "ok"})
    return judged(
        bool(ran),
        f"{len(ran)} of {len(tried)} cells ran" + (f": {'; '.join(why)}" if why else "") + ".",
        [key for key, _ in tried],
    )


def _decay_or_rank(record: Record) -> object:
    algo = (record.get("config") or {}).get("algo")
    return algo.get("decay_or_rank") if isinstance(algo, dict) else None


CLAIMS = [
    Claim("d-rtrl-exact", SNN, "D-RTRL computes the exact gradient.", d_rtrl_is_exact),
    Claim("es-approximate", SNN, "ES-D-RTRL computes an approximate gradient.", es_is_approximate),
    Claim(
        "rank-accuracy",
        SNN,
        "The rank trades memory for accuracy: a larger one gives a better gradient.",
        rank_buys_fidelity,
    ),
    Claim("decay-of-one", SNN, "A decay may be anything up to and including 1.", decay_of_one),
    Claim(
        "manual-is-vmap",
        BATCHING,
        "Manual batching and vmap are two ways to compute the same thing.",
        same_loss("manual", "vmap"),
    ),
    Claim(
        "samples-independent",
        STRATEGIES,
        "Under vmap every sample has states of its own: the batch gives what its samples would "
        "give "
        "one by one.",
        same_loss("vmap", "single"),
    ),
    Claim(
        "multi-step",
        STRATEGIES,
        "Handing over a whole sequence gives the same as stepping through it.",
        same_for_any_window,
    ),
    Claim(
        "all-weights",
        STRATEGIES,
        "All parameters of the GRU network, the readout too, get a gradient from D-RTRL.",
        all_weights_get_one,
    ),
]
