"""The few tests that claims share. Each returns None where the records are outside its regime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from reports.judge.scaling import CLOSE, LEAST_SIZES, series
from reports.records.columns import describe
from reports.scaling import fit
from reports.stats import paired_ratio
from reports.text import short

Verdict = Literal["holds", "does not hold", "not decided"]
COUNTED = frozenset({"memory_xla_mib", "memory_temp_mib", "etrace_mib"})
SAME_LOSS = 1e-3  # relative: single precision, and a spike now and then


@dataclass(frozen=True)
class Finding:
    """What records say to a claim: a verdict, the figure behind it, and the keys of its rows."""

    verdict: Verdict
    figure: str
    keys: tuple[str, ...]


# (rows, cells of one network and task, columns that make a setting) -> finding
Test = Callable[[pd.DataFrame, pd.DataFrame, Sequence[str]], Finding | None]


def judged(holds: bool | None, figure: str, keys: Iterable[str]) -> Finding:
    verdict: Verdict = "not decided" if holds is None else "holds" if holds else "does not hold"
    return Finding(verdict, figure, tuple(dict.fromkeys(keys)))


def _keys(cells: pd.DataFrame) -> list[str]:
    return [key for keys in cells["keys"] for key in keys]


def _traced(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that made a trace: their sequence is longer than one window."""
    if "window_steps" not in cells:
        return cells.iloc[:0]
    return cells[cells["window_steps"] < cells["n_steps"].astype("float64")]


def grows(metric: str, size: str, algos: Sequence[str], power: float, *, carried: bool = False,
          batching: str = "") -> Test:  # fmt: skip
    """The exponent of a metric in a size is `power`, or near it, under each of these algorithms."""

    def test(_: pd.DataFrame, cells: pd.DataFrame, held: Sequence[str]) -> Finding | None:
        if metric not in cells:
            return None
        mine = cells[cells["algo"].isin(algos)] if algos else cells
        mine = mine[mine["batching"].eq(batching) if batching else mine["batching"].ne("single")]
        if metric == "step_time_ms":
            mine = mine[~mine["contended"]]
        if carried:
            mine = _traced(mine)
        told: list[str] = []
        verdicts: list[bool | None] = []
        for one in series(mine, held, metric, size, batching or "manual", LEAST_SIZES):
            law = fit(one.points["x"].to_numpy(), one.points["y"].to_numpy())
            if law.dominated:
                told.append(f"{one.name}: a fixed cost dominates")
                verdicts.append(None)
                continue
            told.append(f"{one.name}: exponent {law.exponent:.2f}")
            near = abs(law.exponent - power) <= CLOSE
            outside = metric in COUNTED or power < law.low or power > law.high  # of nan: no
            verdicts.append(True if near else False if outside else None)
        if not told:
            return None
        some = "; ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
        return judged(_all(verdicts), f"{some}; claimed: {power:g}.", _keys(mine))

    return test


def _all(parts: Sequence[bool | None]) -> bool | None:
    return False if False in parts else None if None in parts else True


def ratio(metric: str, column: str, of: str, to: str, *, above: float | None = None,
          below: float | None = None, carried: bool = False, n_hidden: int = 0,
          batch_size: int = 0) -> Test:  # fmt: skip
    """A metric of cells with `of` over that of cells with `to`, all else equal, is beyond a bar."""

    def test(_: pd.DataFrame, cells: pd.DataFrame, held: Sequence[str]) -> Finding | None:
        if metric not in cells:
            return None
        large = cells["n_hidden"].ge(n_hidden) & cells["batch_size"].ge(batch_size)
        mine = cells[large.fillna(False).astype(bool) & cells[metric].gt(0)]
        mine = _traced(mine) if carried else mine
        if metric == "step_time_ms":
            mine = mine[~mine["contended"]]
        # An algorithm's options are its own; everything else has to be equal.
        same = [*held, "setting", *(["batching"] if column == "algo" else ["variant"])]
        sides = [mine[mine[column].eq(value)] for value in (of, to)]
        logs = [
            s.assign(log=np.log(s[metric].astype("float64")))
            .groupby(same, dropna=False)["log"]
            .mean()
            for s in sides
        ]
        pairs = pd.concat(logs, axis=1, keys=["of", "to"]).dropna()
        if pairs.empty:
            return None
        found = paired_ratio(np.exp(pairs["to"].to_numpy()), np.exp(pairs["of"].to_numpy()))
        low, high = (found.low, found.high) if found.low == found.low else (0.0, np.inf)
        if metric in COUNTED:
            each = np.exp(pairs["of"] - pairs["to"])
            low, high = float(each.min()), float(each.max())
        holds = None
        if above is not None:
            holds = True if low > above else False if high < above else None
        elif below is not None:
            holds = True if high < below else False if low > below else None
        ends = f" ({short(low)} to {short(high)})" if len(pairs) > 1 else ""
        count = f"{len(pairs)} {'setting' if len(pairs) == 1 else 'settings'}"
        return judged(
            holds,
            f"{of}'s {describe(metric).title} over {to}'s: {short(found.centre)}{ends} in {count}.",
            _keys(pd.concat(sides)),
        )

    return test


def runs(algo: str, n_hidden: int, *, holds_if_it_ran: bool) -> Test:
    """Whether an algorithm ran at all at this width or more."""

    def test(rows: pd.DataFrame, _: pd.DataFrame, held: Sequence[str]) -> Finding | None:
        wide = rows["n_hidden"].ge(n_hidden).fillna(False).astype(bool)
        tried = rows[rows["algo"].eq(algo) & wide & rows["status"].isin(["ok", "oom"])]
        if tried.empty:
            return None
        ran = tried[tried["status"].eq("ok")]
        up_to = f", up to H = {ran['n_hidden'].max()}" if len(ran) else ""
        figure = f"{len(ran)} of {len(tried)} runs with H ≥ {n_hidden} got through{up_to}."
        return judged((len(ran) > 0) == holds_if_it_ran, figure, tried["key"])

    return test


def at_most(metric: str, algo: str, bound: float) -> Test:
    """A metric of one algorithm stays below a bound in every run."""

    def test(rows: pd.DataFrame, _: pd.DataFrame, held: Sequence[str]) -> Finding | None:
        values = rows[rows["algo"].eq(algo) & rows["status"].eq("ok")].dropna(subset=[metric])
        if values.empty:
            return None
        worst = float(values[metric].max())
        figure = (
            f"{describe(metric).title}: {short(values[metric].median())} (up to {short(worst)})."
        )
        return judged(worst <= bound, figure, values["key"])

    return test


def same_loss(column: str, a: str, b: str) -> Test:
    """The same seed gives the same loss in the first epoch either way."""

    def test(rows: pd.DataFrame, _: pd.DataFrame, held: Sequence[str]) -> Finding | None:
        some = rows[rows["status"].eq("ok")].dropna(subset=["loss_first"])
        same = [*(c for c in held if c != column), "variant", "seed", "lr"]
        sides = [some[some[column].eq(v)].drop_duplicates(same) for v in (a, b)]
        pairs = sides[0].merge(sides[1], on=same, suffixes=("", "_other"))
        if pairs.empty:
            return None
        gap = float((pairs["loss_first"] / pairs["loss_first_other"] - 1).abs().max())
        count = f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'}"
        return judged(
            gap <= SAME_LOSS,
            f"First-epoch losses differ by at most {gap:.1g} (relative) in {count}.",
            [*pairs["key"], *pairs["key_other"]],
        )

    return test


def learns(model: str, algo: str, task: str = "") -> Test:
    """Training lowers the loss by more than 2 % in every run."""

    def test(rows: pd.DataFrame, _: pd.DataFrame, held: Sequence[str]) -> Finding | None:
        mine = rows[rows["model"].eq(model) & rows["algo"].eq(algo) & rows["status"].eq("ok")]
        mine = mine[mine["task"].eq(task)] if task else mine
        mine = mine.dropna(subset=["loss_first", "loss_final"])
        if mine.empty:
            return None
        fall = 1 - mine["loss_final"] / mine["loss_first"]
        ends = f"from {short(mine['loss_first'].mean())} to {short(mine['loss_final'].mean())}"
        count = f"{len(mine)} {'run' if len(mine) == 1 else 'runs'}"
        return judged(bool((fall > 0.02).all()), f"The loss goes {ends} in {count}.", mine["key"])

    return test


def rank_buys_fidelity(rows: pd.DataFrame, _: pd.DataFrame, held: Sequence[str]) -> Finding | None:
    """The gradient's error falls from each rank to the next at every setting."""
    column = "cfg.algo.decay_or_rank"
    if column not in rows:
        return None
    some = rows[rows["algo"].eq("es_d_rtrl") & rows["status"].eq("ok")]
    some = some.assign(rank=pd.to_numeric(some[column], errors="coerce"))
    some = some[some["rank"].ge(1)].dropna(subset=["grad_rel_error"])
    by = some.groupby([*held, "rank"], dropna=False)["grad_rel_error"].median().unstack("rank")
    by = by.dropna() if len(by) else by
    if by.empty or by.shape[1] < LEAST_SIZES:
        return None
    falls = bool((by.diff(axis=1).iloc[:, 1:] <= 0).all(axis=None))
    told = ", ".join(f"rank {rank:g}: {short(error)}" for rank, error in by.median().items())
    return judged(falls, f"Gradient error, median: {told}.", some["key"])
