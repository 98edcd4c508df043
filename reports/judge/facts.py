"""The facts of a table of records: settings, the ways tried in each, and what to use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.judge import cost, learning
from reports.judge.answer import Answer, answer
from reports.judge.cost import Noise, Time
from reports.judge.learning import Learned
from reports.judge.rows import held_columns, order, varied, words
from reports.judge.way import Way
from reports.records.columns import SIZES

__all__ = ["Answer", "Facts", "Learned", "Setting", "Way", "facts"]


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting with everything that was tried in it.

    Args:
        id: the value of the column ``setting``.
        group: which settings differ from this one in sizes alone.
        row: its columns, as one row of the table.
        name: what of it varies in this report, "" where nothing does.
        whole: task, model, sizes and device.
        ways: in a fixed order.
        memory: the column that stands for memory here.
        metric: what training is judged by; "" where nothing was trained.
        answer: what to use.
    """

    id: int
    group: int
    row: pd.Series
    name: str
    sizes: str
    whole: str
    ways: tuple[Way, ...]
    memory: str
    metric: str
    answer: Answer

    @property
    def tried(self) -> int:
        return len(self.ways)


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that a report says of its records.

    Args:
        groups: settings that differ in sizes alone, the one to answer for first; the richest group
            first.
        noise: of this report's machines; None where too little was repeated.
        contended: rows that were timed under contention, of `timed`.
        held: the columns that make a setting, and of them `varied`.
    """

    groups: tuple[tuple[Setting, ...], ...]
    noise: Noise | None
    contended: int
    timed: int
    held: tuple[str, ...]
    varied: tuple[str, ...]

    @property
    def settings(self) -> list[Setting]:
        return [s for group in self.groups for s in group]


# Cutting a table into its ways takes long where it has all its columns.
_JUDGED = (
    "key", "setting", "way", "method", "variant", "algo", "batching", "backend", "model", "task",
    "device", "n_layers", *SIZES, "status", "health", "silent", "weights", "contended", "seed",
    "repeat", "lr", "step_time_ms", "step_time_ms_lo", "step_time_ms_hi", "memory_peak_mib",
    "memory_xla_mib", "grad_cosine", "window_steps", "n_classes", "loss_first", *learning.LEARNED,
    "cfg.task.n_test",
)  # fmt: skip


def facts(table: pd.DataFrame) -> Facts:
    """The facts of `rows(records)`.

    Nothing depends on the order of the rows, except that of two with one identity the later counts.
    """
    held = [c for c in held_columns(table) if c in table]
    table = table[[c for c in dict.fromkeys([*_JUDGED, *held]) if c in table]]
    # Texts as objects: cutting and comparing those of an arrow table takes several times as long.
    table = table.astype(dict.fromkeys(table.select_dtypes("string").columns, object))
    differs = varied(table, held)
    apart = [c for c in differs if c not in SIZES]
    group_of = (table.groupby(apart, dropna=False, sort=False).ngroup() if apart
                else pd.Series(0, index=table.index))  # fmt: skip
    pieces = {int(i): cells for i, cells in table.groupby("setting", sort=False)}
    times = {
        (i, str(way)): cost.time_of(rows[rows["status"].eq("ok")])
        for i, cells in pieces.items()
        for way, rows in cells.groupby("way", sort=False)
    }
    noise = cost.noise_of(t for t in times.values() if t)
    found = []
    for i, cells in pieces.items():
        group = int(group_of[cells.index[0]])
        found.append(_setting(i, group, cells, times, table[group_of.eq(group)], differs, noise))
    groups: dict[int, list[Setting]] = {}
    for setting in sorted(found, key=_rank):
        groups.setdefault(setting.group, []).append(setting)
    timed = table[table["status"].eq("ok") & table["step_time_ms"].gt(0)]
    return Facts(
        groups=tuple(tuple(g) for g in sorted(groups.values(), key=lambda g: _rank(g[0]))),
        noise=noise,
        contended=int(timed["contended"].sum()),
        timed=len(timed),
        held=tuple(held),
        varied=tuple(differs),
    )


def _rank(setting: Setting) -> tuple[object, ...]:
    """Where ways can be compared first, then where most were tried, then the largest."""
    ran = sum(1 for w in setting.ways if w.ok)
    size = math.prod(_number(setting.row[s]) for s in (*SIZES, "n_layers"))
    return -min(ran, 2), -setting.tried, -size, setting.name


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 1.0
    return number if number == number else 1.0


def _setting(
    i: int,
    group: int,
    cells: pd.DataFrame,
    times: dict[tuple[int, str], Time | None],
    kin: pd.DataFrame,
    differs: Sequence[str],
    noise: Noise | None,
) -> Setting:
    ok = cells[cells["status"].eq("ok")]
    metric = learning.metric_of(ok)
    memory = cost.memory_column(ok)
    by_method = {str(m): learning.learned(rows, metric) if metric else None
                 for m, rows in ok.groupby("method", sort=False)}  # fmt: skip
    trained = {m: found for m, found in by_method.items() if found}
    healthy = {m: bool(_used(ok[ok["method"].eq(m)], f)["health"].eq("").any())
               for m, f in trained.items()}  # fmt: skip
    judged = learning.judged(trained, healthy)
    ways = []
    for name, rows in cells.groupby("way", sort=False):
        method = str(rows["method"].iloc[0])
        ways.append(_way(str(name), rows, times[i, str(name)], memory, judged.get(method), kin))
    ways.sort(key=lambda w: order(w.algo, w.batching, w.name))
    row = cells.iloc[0]
    return Setting(
        id=i,
        group=group,
        row=row,
        name=words(row, differs),
        sizes=words(row, [c for c in differs if c in SIZES]),
        whole=_whole(row, differs),
        ways=tuple(ways),
        memory=memory,
        metric=metric,
        answer=answer(ways, metric, memory, noise),
    )


def _whole(row: pd.Series, differs: Sequence[str]) -> str:
    """Task, model and sizes, and what else tells this setting from the others."""
    sizes = words(row, [c for c in SIZES if row[c] is not pd.NA and row[c] == row[c]])
    rest = [c for c in differs if c not in (*SIZES, "model", "task", "device")]
    parts = [sizes.replace(" · ", ", "), *(words(row, [c]) for c in rest)]
    return f"{row['model']} on {row['task']} with {', '.join(parts)} ({row['device']})"


def _used(cells: pd.DataFrame, found: Learned | None) -> pd.DataFrame:
    """The rows at the learning rate that a method is judged at."""
    if found is None or found.n_lr < 2:
        return cells
    return cells[cells["lr"].eq(found.lr)]


def _way(
    name: str,
    cells: pd.DataFrame,
    time: Time | None,
    memory: str,
    found: Learned | None,
    kin: pd.DataFrame,
) -> Way:
    ok = cells[cells["status"].eq("ok")]
    first = cells.iloc[0]
    failed = Counter(cells.loc[~cells["status"].isin(["ok", "skipped"]), "status"])
    cosines = ok["grad_cosine"].dropna()
    windows = ok["window_steps"].dropna().tolist() if "window_steps" in ok else []
    return Way(
        name=name,
        method=str(first["method"]),
        variant=str(first["variant"]),
        algo=str(first["algo"]),
        batching=str(first["batching"]),
        backend=str(first["backend"]),
        keys=tuple(ok["key"]),
        ok=len(ok),
        failed=dict(failed),
        fails_at=_fails_at(name, cells, kin),
        time=time,
        memory=cost.memory_of(ok, memory),
        learned=found,
        cosine=float(cosines.median()) if len(cosines) else math.nan,
        window=float(windows[0]) if windows else math.nan,
        flaw=_flaw(_used(ok, found)),
    )


def _fails_at(name: str, cells: pd.DataFrame, kin: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """(status, sizes) of the settings of its group where this way did not get through at all."""
    mine = kin[kin["way"].eq(name)]
    lost = ~mine["status"].isin(["ok", "skipped"])
    lost &= mine["setting"].ne(cells["setting"].iloc[0])
    if not lost.any():
        return ()
    ran = set(mine.loc[mine["status"].eq("ok"), "setting"])
    differs = [s for s in SIZES if kin[s].nunique() > 1]
    return tuple(
        sorted(
            (str(rows["status"].mode().iloc[0]), words(rows.iloc[0], differs))
            for setting, rows in mine[lost].groupby("setting")
            if setting not in ran
        )
    )


def _flaw(cells: pd.DataFrame) -> str:
    """What is wrong with the training under one way, "" for nothing."""
    if cells.empty:
        return ""
    silent, weights = int(cells["silent"].max()), int(cells["weights"].max())
    # Records that name those weights in their health would say it twice.
    told = sorted(
        {
            word
            for health in cells["health"]
            for word in str(health).split("; ")
            if word and not (silent and word.startswith("no gradient reaches "))
        }
    )
    sick = int((cells["health"].ne("") | cells["silent"].gt(0)).sum())
    text = "; ".join([f"no gradient for {silent} of {weights} weights"] * (silent > 0) + told)
    return f"{text} (in {sick} of {len(cells)} runs)" if text and sick < len(cells) else text
