"""Claims about training: the tutorials' own networks learn, and algorithms can be exchanged."""

from __future__ import annotations

import pandas as pd

from reports.claims.base import BATCHING, SNN, Check, Claim, Finding, judged, judged_if, untested
from reports.records.columns import SETTINGS
from reports.resampling import mean_interval
from reports.study import Study
from reports.text import short

ORDER = 40
LEAST_FALL = 0.02  # a loss that falls by less has not been learned from


def learns(model: str, algo: str, task: str | None = None) -> Check:
    """A check that a tutorial's network lowers its loss, on a task or (None) on any."""

    def check(study: Study) -> Finding:
        rows = study.ok[
            study.ok["model"].eq(model)
            & study.ok["algo"].eq(algo)
            & (study.ok["task"].eq(task) if task else True)
        ].dropna(subset=["loss_first", "loss_final"])
        if rows.empty:
            return untested(f"model={model}{f' task={task}' if task else ''} algo={algo}, trained")
        fall = (rows["loss_first"] - rows["loss_final"]) / rows["loss_first"]
        sick = sorted(set(rows["health"]) - {""})
        text = (
            f"The loss goes from {short(rows['loss_first'].mean())} to "
            f"{short(rows['loss_final'].mean())}, a fall of {fall.mean():.1%}{_interval(fall)} "
            f"over "
            f"{len(rows)} {'run' if len(rows) == 1 else 'runs'}"
        )
        return judged_if(
            False if sick else _falls(fall),
            text + (f"; health: {'; '.join(sick)}" if sick else "") + ".",
            rows["key"],
        )

    return check


def _interval(fall: pd.Series) -> str:
    mean = mean_interval(fall)
    return f" [{mean.low:.1%}, {mean.high:.1%}]" if len(fall) > 1 else ""


def _falls(fall: pd.Series) -> bool | None:
    """Whether the loss falls by more than 2 %; None where the runs leave it open."""
    mean = mean_interval(fall)
    # A single run has no interval, and decides itself.
    low, high = (mean.low, mean.high) if len(fall) > 1 else (mean.centre, mean.centre)
    if mean.centre > LEAST_FALL and low > 0:
        return True
    return False if high <= LEAST_FALL else None


def exchangeable(study: Study) -> Finding:
    held = [s for s in SETTINGS if s != "algo"]
    rows = study.ok[study.ok["algo"].isin(["d_rtrl", "es_d_rtrl"])]
    both = (
        rows[rows.groupby(held, dropna=False)["algo"].transform("nunique").eq(2)]
        if len(rows)
        else rows
    )
    if both.empty:
        return untested("D-RTRL and ES-D-RTRL on the same network")
    n = both.groupby(held, dropna=False).ngroups
    return judged(
        True,
        f"By construction: the benchmark runs both with one program in which only algo= differs. "
        f"Both ran in {n} {'setting' if n == 1 else 'settings'}, so these records could not have "
        "come out otherwise.",
        both["key"],
    )


CLAIMS = [
    Claim(
        "lif-learns",
        BATCHING,
        "The LIF network with delta synapses learns the random classification task under ES-D-RTRL "
        "(the printed loss halves in ten epochs).",
        learns("lif_net", "es_d_rtrl", "random_classification"),
    ),
    Claim(
        "snn-learns",
        SNN,
        "The spiking network with a leaky readout learns under ES-D-RTRL.",
        learns("lif_snn", "es_d_rtrl"),
    ),
    Claim(
        "exchangeable",
        SNN,
        "Going from D-RTRL to ES-D-RTRL changes one line and nothing else.",
        exchangeable,
    ),
]
