"""The facts of a table of records: settings, the ways tried in each, and what to use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.judge import cost, learning
from reports.judge.answer import Answer, answer
from reports.judge.cost import Noise
from reports.judge.learning import Learned
from reports.judge.rows import held_columns, number, order, varied, words
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
    def place(self) -> str:
        """Its network and task, as a claim is judged for."""
        return f"{self.row['model']} on {self.row['task']}"

    @property
    def by_method(self) -> list[Way]:
        """One way for each method: batched as recommended where it ran so, else the first."""
        start = self.answer.start
        ran = [w for w in self.ways if w.ok]
        if start:
            ran.sort(key=lambda w: w.batching != start.batching)
        chosen = {w.method: w for w in reversed(ran)}
        return [w for w in self.ways if w in chosen.values()]


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that a report says of its records.

    Args:
        groups: settings that differ in sizes alone, the one to answer for first; the richest group
            first.
        noise: of this report's machines; None where too little was repeated.
        held: the columns that make a setting, and of them `varied`.
    """

    groups: tuple[tuple[Setting, ...], ...]
    noise: Noise | None
    held: tuple[str, ...]
    varied: tuple[str, ...]

    @property
    def settings(self) -> list[Setting]:
        return [s for group in self.groups for s in group]

    @property
    def memory(self) -> str:
        """What stands for memory in most settings."""
        columns = [s.memory for s in self.settings]
        return max(sorted(set(columns)), key=columns.count, default="memory_xla_mib")

    @property
    def batching(self) -> str:
        """What is recommended first."""
        return next((s.answer.start.batching for s in self.settings if s.answer.start), "manual")


def facts(table: pd.DataFrame) -> Facts:
    """The facts of `rows(records)`.

    Nothing depends on the order of the rows, except that of two with one identity the later counts.
    """
    held = held_columns(table)
    # Cutting a table into its ways takes long where it has all its settings, where texts are those
    # of an arrow table, and where each column lies apart, as it does until it is copied.
    table = table[[c for c in table if not c.startswith(("cfg.", "env.")) or c in held]]
    table = table.astype(dict.fromkeys(table.select_dtypes("string").columns, object)).copy()
    numbers = list(table.select_dtypes("float").columns)
    by = table[table["status"].eq("ok")].groupby(["setting", "way"], sort=False)
    medians = by[numbers].median().to_dict("index")
    differs = varied(table, held)
    apart = [c for c in differs if c not in SIZES]
    group_of = (table.groupby(apart, dropna=False, sort=False).ngroup() if apart
                else pd.Series(0, index=table.index))  # fmt: skip
    pieces = {int(i): cells for i, cells in table.groupby("setting", sort=False)}
    made = {i: _ways(cells, medians, table[group_of.eq(group_of[cells.index[0]])])
            for i, cells in pieces.items()}  # fmt: skip
    noise = cost.noise_of(w.time for ways, *_ in made.values() for w in ways if w.time)
    found = []
    for i, (ways, memory, metric) in made.items():
        row = pieces[i].iloc[0]
        found.append(
            Setting(
                id=i,
                group=int(group_of[pieces[i].index[0]]),
                row=row,
                name=words(row, differs),
                sizes=words(row, [c for c in differs if c in SIZES]),
                whole=_whole(row, differs),
                ways=tuple(ways),
                memory=memory,
                metric=metric,
                answer=answer(ways, metric, memory, noise),
            )
        )
    groups: dict[int, list[Setting]] = {}
    for setting in sorted(found, key=_rank):
        groups.setdefault(setting.group, []).append(setting)
    return Facts(
        groups=tuple(tuple(g) for g in sorted(groups.values(), key=lambda g: _rank(g[0]))),
        noise=noise,
        held=tuple(held),
        varied=tuple(differs),
    )


def _rank(setting: Setting) -> tuple[object, ...]:
    """Where ways can be compared first, then where most were tried, then the largest."""
    ran = sum(1 for w in setting.ways if w.ok)
    sizes = [number(setting.row[size]) for size in (*SIZES, "n_layers")]
    large = math.prod(size for size in sizes if size == size)
    return -min(ran, 2), -len(setting.ways), -large, setting.name


def _whole(row: pd.Series, differs: Sequence[str]) -> str:
    """Task, model and sizes, and what else tells this setting from the others."""
    sizes = [c for c in SIZES if not pd.isna(row[c])]
    rest = [c for c in differs if c not in (*SIZES, "model", "task", "device")]
    told = ", ".join(words(row, [c]) for c in [*sizes, *rest])
    return f"{row['model']} on {row['task']} with {told} ({row['device']})"


def _ways(
    cells: pd.DataFrame, medians: Mapping[tuple[int, str], Mapping[str, float]], kin: pd.DataFrame
) -> tuple[list[Way], str, str]:
    """The ways of one setting, what stands for memory, and what training is judged by.

    Args:
        kin: rows of the settings that differ from this one in sizes alone.
    """
    ok = cells[cells["status"].eq("ok")]
    metric = learning.metric_of(ok)
    memory = cost.memory_column(ok)
    timed = {str(w): time for w, rows in ok.groupby("way", sort=False)
             if (time := cost.time_of(rows))}  # fmt: skip
    times = cost.with_bptt(timed, ok.loc[ok["exact"], "way"].unique())
    trained = {str(m): learning.learned(rows, metric) if metric else None
               for m, rows in ok.groupby("method", sort=False)}  # fmt: skip
    healthy = {m: bool(_used(ok[ok["method"].eq(m)], f)["health"].eq("").any())
               for m, f in trained.items()}  # fmt: skip
    judged = learning.judged({m: f for m, f in trained.items() if f}, healthy)
    ways = []
    for name, rows in cells.groupby("way", sort=False):
        first, ran = rows.iloc[0], rows[rows["status"].eq("ok")]
        known = medians.get((first["setting"], str(name)), {})
        ways.append(
            Way(
                **{c: str(first[c]) for c in ("method", "variant", "algo", "batching", "backend")},
                name=str(name),
                keys=tuple(ran["key"]),
                failed=Counter(rows.loc[~rows["status"].isin(["ok", "skipped"]), "status"]),
                fails_at=_fails_at(str(name), first["setting"], kin),
                time=times.get(str(name)),
                memory=cost.memory_of(ran, memory),
                learned=judged.get(str(first["method"])),
                medians=known,
                traced=known.get("etrace_mib", 0) > 0
                and not known.get("window_steps", 0) >= number(first["n_steps"]),
                flaw=_flaw(_used(ran, judged.get(str(first["method"])))),
            )
        )
    return sorted(ways, key=lambda w: order(w.algo, w.batching, w.name)), memory, metric


def _used(cells: pd.DataFrame, found: Learned | None) -> pd.DataFrame:
    """The rows at the learning rate that a method is judged at."""
    if found is None or found.n_lr < 2:
        return cells
    return cells[cells["lr"].eq(found.lr)]


def _fails_at(name: str, setting: int, kin: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """(status, sizes) of the settings of its group where this way did not get through at all."""
    mine = kin[kin["way"].eq(name) & kin["setting"].ne(setting)]
    lost = ~mine["status"].isin(["ok", "skipped"])
    if not lost.any():
        return ()
    lost &= ~mine["setting"].isin(mine.loc[mine["status"].eq("ok"), "setting"])
    sizes = [s for s in SIZES if kin[s].nunique() > 1]
    return tuple(sorted((str(rows["status"].mode().iloc[0]), words(rows.iloc[0], sizes))
                        for _, rows in mine[lost].groupby("setting")))  # fmt: skip


def _flaw(cells: pd.DataFrame) -> str:
    """What is wrong with the training under one way, "" for nothing."""
    if cells.empty:
        return ""
    silent, weights = int(cells["silent"].max()), int(cells["weights"].max())
    # Records that name those weights in their health would say it twice.
    words = {word for health in cells["health"] for word in str(health).split("; ") if word}
    told = sorted(w for w in words if not (silent and w.startswith("no gradient reaches ")))
    sick = int((cells["health"].ne("") | cells["silent"].gt(0)).sum())
    text = "; ".join([f"no gradient for {silent} of {weights} weights"] * (silent > 0) + told)
    return f"{text} (in {sick} of {len(cells)} runs)" if text and sick < len(cells) else text
