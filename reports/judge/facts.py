"""The facts of a table of records: settings, the ways tried in each, and what to use."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from reports.judge import cost, learning
from reports.judge.answer import Answer, answer
from reports.judge.cost import Noise
from reports.judge.learning import Learned
from reports.judge.rows import held_columns, number, varied, words
from reports.judge.way import Way
from reports.records.columns import SIZES

__all__ = ["Answer", "Facts", "Learned", "Setting", "Way", "facts"]


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting with everything that was tried in it."""

    id: int  # the value of the column ``setting``
    group: tuple[str, ...]  # what settings share that differ in sizes alone
    row: pd.Series  # its columns, as one row of the table
    name: str  # what of it varies in this report, "" where nothing does
    sizes: str  # of that, the sizes
    whole: str  # task, model, sizes and device
    ways: tuple[Way, ...]  # in a fixed order
    memory: str  # the column that stands for memory here
    metric: str  # what training is judged by; "" where nothing was trained
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
    """Everything that a report says of its records."""

    # Settings that differ in sizes alone, the one to answer for first; the richest group first.
    groups: tuple[tuple[Setting, ...], ...]
    noise: Noise | None  # of this report's machines; None where too little was repeated
    held: tuple[str, ...]  # the columns that make a setting
    varied: tuple[str, ...]  # those of them that differ here

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
    tuned = table.get("cfg.tune.trials", pd.Series(index=table.index, dtype=object)).notna()
    contests = set(table.loc[tuned, "setting"])
    # Cutting a table into its ways takes long where it has all its settings, where texts are those
    # of an arrow table, and where each column lies apart, as it does until it is copied.
    table = table[[c for c in table if not c.startswith(("cfg.", "env.")) or c in held]]
    table = table.astype(dict.fromkeys(table.select_dtypes("string").columns, object)).copy()
    differs = varied(table, held)
    apart = [c for c in differs if c not in SIZES]
    first = {int(row["setting"]): row for _, row in table.drop_duplicates("setting").iterrows()}
    group_of = {i: tuple(str(row[c]) for c in apart) for i, row in first.items()}
    sizes = {i: words(row, [c for c in differs if c in SIZES]) for i, row in first.items()}

    ok = table[table["status"].eq("ok")]
    memory = {i: cost.memory_column(ran) for i, ran in ok.groupby("setting")}
    metric = learning.metrics(ok)
    ways = _ways(table, ok, memory, learning.learned(ok, metric))
    noise = cost.noise_of(w.time for some in ways.values() for w in some if w.time)
    lost = [(i, w) for i, some in ways.items() for w in some if w.failed and not w.ok]

    def fails_at(here: int, name: str) -> tuple[tuple[str, str], ...]:
        there = [(i, w) for i, w in lost
                 if w.name == name and i != here and group_of[i] == group_of[here]]  # fmt: skip
        return tuple(sorted((max(w.failed, key=w.failed.__getitem__), sizes[i]) for i, w in there))

    found = []
    for i, some in ways.items():
        tried = [replace(w, fails_at=fails_at(i, w.name)) for w in some]
        judged, column = metric.get(i, ""), memory.get(i, "memory_xla_mib")
        found.append(Setting(
            id=i, group=group_of[i], row=first[i], name=words(first[i], differs), sizes=sizes[i],
            whole=_whole(first[i], differs), ways=tuple(tried), memory=column, metric=judged,
            answer=answer(tried, judged, column, noise, i in contests),
        ))  # fmt: skip
    groups: dict[tuple[str, ...], list[Setting]] = defaultdict(list)
    for setting in sorted(found, key=_rank):
        groups[setting.group].append(setting)
    return Facts(tuple(map(tuple, groups.values())), noise, tuple(held), tuple(differs))


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
    told = words(row, [*sizes, *rest], ", ")
    return f"{row['model']} on {row['task']} with {told} ({row['device']})"


def _ways(
    table: pd.DataFrame, ok: pd.DataFrame, memory: Mapping[int, str],
    trained: Mapping[tuple[int, str], Learned],
) -> dict[int, list[Way]]:  # fmt: skip
    """Setting -> its ways."""
    by = ok.groupby(["setting", "way"], sort=False)
    medians = by[list(ok.select_dtypes("float").columns)].median().to_dict("index")
    ran = dict(list(by))
    times = {i: cost.times_of(cells) for i, cells in ok.groupby("setting")}
    ways: dict[int, list[Way]] = defaultdict(list)
    for (i, name), rows in table.groupby(["setting", "way"], sort=False):
        first, mine = rows.iloc[0], ran.get((i, name), ok.iloc[:0])
        # What a method learned is told of a batching only where that ran.
        learned = trained.get((i, first["method"])) if len(mine) else None
        known = medians.get((i, name), {})
        used = mine[mine["lr"].eq(learned.lr)] if learned and learned.n_lr > 1 else mine
        lost = rows.loc[~rows["status"].isin(["ok", "skipped"]), "status"]
        ways[i].append(Way(
            **{c: str(first[c]) for c in ("method", "variant", "algo", "batching", "backend")},
            name=name, keys=tuple(mine["key"]), failed=Counter(sorted(lost)),
            time=times[i].get(name) if i in times else None,
            memory=cost.memory_of(mine, memory[i]) if i in memory else None,
            learned=learned, medians=known,
            traced=known.get("etrace_mib", 0) > 0
            and not known.get("window_steps", 0) >= number(first["n_steps"]),
            flaw=_flaw(used), fails_at=(),  # told once all settings are known
        ))  # fmt: skip
    for some in ways.values():
        some.sort(key=lambda w: w.place)
    return ways


def _flaw(cells: pd.DataFrame) -> str:
    """What is wrong with the training under one way, "" for nothing."""
    cells = cells[cells["examined"]]
    if cells.empty:
        return ""
    silent, weights = int(cells["silent"].max()), int(cells["weights"].max())
    # Records that name those weights in their health would say it twice.
    words = {word for health in cells["health"] for word in str(health).split("; ") if word}
    told = sorted(w for w in words if not (silent and w.startswith("no gradient reaches ")))
    sick = int((cells["health"].ne("") | cells["silent"].gt(0)).sum())
    text = "; ".join([f"no gradient for {silent} of {weights} weights"] * (silent > 0) + told)
    return f"{text} (in {sick} of {len(cells)} runs)" if text and sick < len(cells) else text
