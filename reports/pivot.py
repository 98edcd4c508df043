"""Tables of a paper: any metrics over any settings, as Markdown, LaTeX or CSV.

A row is there for every value of its settings, also where a column does not apply to it or where
nothing could be measured: then the cell says what happened instead.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from reports.errors import InputError
from reports.judge.rows import of_no_way
from reports.records.columns import BOUNDS, NAMES, SEEDED, WAYS, describe, heading
from reports.records.settings import labels, varying_within, whole
from reports.stats import Interval, interval
from reports.tables import Cell, Table, listed, shown
from reports.text import short

NOTHING = "–"
_OF_A_CLOCK = ("ms", "us", "s", "1/s")


class Pivot(NamedTuple):
    """Some metrics over two sets of settings."""

    # A row for the values of the settings down the side, a column for a metric and the values of
    # those along the top; each a median or, with intervals, a mean, or words for none.
    cells: pd.DataFrame
    best: pd.DataFrame  # which of them are the best of their rivals
    pooled: list[str]  # settings that differ inside of a cell, which is a median over them
    # Further ones that rivals have not in common, and that belong to no way: then none is best.
    unequal: list[str]
    lacking: dict[str, int]  # metric -> how many ok rows have none because training diverged
    intervals: bool  # whether they are shown
    busy: int  # ok rows whose times here were measured under contention: then no time is best


def pivot(
    table: pd.DataFrame, rows: Sequence[str], cols: Sequence[str], values: Sequence[str],
    intervals: bool = False,
) -> Pivot:  # fmt: skip
    """Medians of metrics over the ok cells of a results table; with intervals the means of these.

    Raises:
        InputError: no column, one that the table lacks or that is asked for twice, a metric that no
            row has, or intervals over cells with different settings.
    """
    for what, names in (("rows", rows), ("values", values)):
        if not names:
            raise InputError(f"at least one column as {what}", "none", f"Leave --{what} out for "
                             "the one it has by itself.")  # fmt: skip
    asked = [*rows, *cols, *values]
    for name in asked:
        if name not in table.columns:
            close = difflib.get_close_matches(name, map(str, table.columns), n=3, cutoff=0.4)
            raise InputError("a column of the results", repr(name),
                             f"Close to it: {', '.join(close) or 'none'}.")  # fmt: skip
    if twice := sorted({name for name in asked if asked.count(name) > 1}):
        raise InputError("different columns as rows, as columns and as values",
                         f"{', '.join(twice)} twice", "Choose another.")  # fmt: skip
    ok = table["status"].eq("ok")
    numbers = table[list(values)].apply(pd.to_numeric, errors="coerce").astype("float64")
    for name in values:
        if not (ok & numbers[name].notna()).any():
            raise InputError(f"ok rows with a number in {name!r}", "none",
                             "Choose another, or run cells that record it.")  # fmt: skip
    pooled = [c for c in varying_within(table[ok], [*rows, *cols]) if not c.endswith("._target_")]
    if intervals and pooled:
        raise InputError(
            "rows and columns that tell all cells apart, where intervals are asked for",
            f"different {', '.join(pooled)} inside of one",
            f"Add --rows {','.join([*rows, *pooled])}.")  # fmt: skip
    keys = [_texts(table[name]) for name in (*rows, *cols)]
    groups = table.assign(**numbers).groupby(keys, observed=True)
    cells = pd.concat({m: groups.apply(_cell, m, intervals) for m in values}, axis=1)
    apart = WAYS if {*WAYS}.intersection(asked) else cols
    held = [name for name in (*rows, *cols) if name not in apart] or ["status"]
    unequal = [
        c
        for c in varying_within(table[ok], held)
        if c not in (*asked, *pooled) and of_no_way(c) and not c.endswith("._target_")
    ]
    best = _best(cells, [*rows, *cols], apart) & (not unequal)
    timed = [name for name in values if describe(name).unit in _OF_A_CLOCK]
    shared = table.get("contended", pd.Series(0.0, table.index)).eq(1)
    if busy := int((ok & shared & numbers[timed].notna().any(axis=1)).sum()):
        best[timed] = False
    if cols:
        cells, best = (long.unstack(list(cols)) for long in (cells, best))
    diverged = ok & table["diverged"].ne("")
    lacking = {m: n for m in values if (n := int((diverged & numbers[m].isna()).sum()))}
    return Pivot(cells.astype(object).fillna(NOTHING), best.eq(True), pooled, unequal, lacking,
                 intervals, busy)  # fmt: skip


def _best(cells: pd.DataFrame, keys: Sequence[str], apart: Sequence[str]) -> pd.DataFrame:
    """Which figures are the best of several that have all keys in common but those `apart`: ways,
    where a key names one, else what stands along the top.
    """
    shown = cells.map(lambda c: float(short(c.centre)) if isinstance(c, Interval) else math.nan)
    merit = shown * [{"high": 1, "low": -1}.get(describe(m).better, math.nan) for m in cells]
    held = [cells.index.get_level_values(key) for key in keys if key not in apart]
    rivals = merit.groupby(held or (lambda _: 0), observed=True)
    return merit.eq(rivals.transform("max")) & rivals.transform("count").gt(1)


def _texts(column: pd.Series) -> pd.Series:
    """Values with the digits that keep them apart; numbers by size before words, null last."""
    values = sorted(column.dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))
    texts = labels(values) | {"": NOTHING}
    order = [*(text for v in values if (text := texts[whole(v)]) != NOTHING), NOTHING]
    told = [texts[whole(value)] for value in column.tolist()]
    return pd.Series(pd.Categorical(told, order, ordered=True), column.index, name=column.name)


def _cell(group: pd.DataFrame, metric: str, intervals: bool) -> Interval | str:
    ok = group[group["status"].eq("ok") & group[metric].notna()]
    if ok.empty:
        failed = sorted(set(group["status"]) - {"ok"})
        return ", ".join(failed) or NOTHING
    # What is seeded is the same in every repeat of a seed.
    units = ok.drop_duplicates("seed") if metric in SEEDED else ok
    if intervals:  # a median may lie outside of the interval of a mean
        return interval(units[metric], bounds=BOUNDS.get(metric))
    return Interval(float(ok[metric].median()))


def _told(cell: Interval | str) -> Cell:
    return shown(cell) if isinstance(cell, Interval) else Cell(cell, value=Interval(math.nan))


def _flat(made: Pivot, named: Callable[[str], str]) -> Table:
    """The same with one head a column, which has the metric where it is not the same for all."""
    columns = made.cells.columns
    several = columns.get_level_values(0).nunique() > 1
    heads = [" ".join([" · ".join(key), named(metric) if several or not key else ""]).strip()
             for metric, *key in columns.to_frame().to_numpy()]  # fmt: skip
    keys = made.cells.index.to_frame().astype(str).to_dict("list")
    data = {name: [*map(Cell, texts)] for name, texts in keys.items()} | {
        head: [*map(_told, made.cells.iloc[:, i])]
        for i, head in enumerate(heads)
    }  # fmt: skip
    return Table("", "", pd.DataFrame(data, dtype=object))


def to_latex(made: Pivot) -> str:
    r"""A booktabs table: units in its heads, the best way in bold, a caption, a label."""
    metrics = [describe(v) for v in made.cells.columns.get_level_values(0).unique()]
    texts, n = made.cells.map(_told), made.cells.index.nlevels
    texts = texts.rename(index=NAMES, columns=NAMES).rename(columns=heading, level=0)
    names = [describe(name).title for name in texts.index.names]
    ends = " with 95 % intervals (both values of two processes)" if made.intervals else ""
    figures = f"{'Means' if made.intervals else 'Medians'} of {listed([m.title for m in metrics])}"
    caption = f"{figures}{ends} by {listed(names)}."
    style = texts.rename_axis(index=names, columns=[None] * texts.columns.nlevels).style
    marks = np.where(made.best, "textbf:--rwrap;", "")
    style.format(escape="latex").apply(lambda _: marks, axis=None)
    for axis in (0, 1):
        style.format_index(escape="latex", axis=axis)
    style.format_index_names(escape="latex", axis=0)
    lines = style.to_latex(
        hrules=True, sparse_index=False, position_float="centering", multicol_align="c",
        column_format="l" * n + "r" * texts.shape[1], caption=caption.replace("%", r"\%"),
        label="tab:" + "-".join(m.name.replace("_", "-") for m in metrics),
    ).splitlines()  # fmt: skip
    # The names of the rows stand in a line of their own; a paper has them beside the heads.
    at = lines.index(r"\midrule")
    top, below = lines[at - 2].split(" & "), lines[at - 1].split(" & ")
    lines[at - 2 : at] = [" & ".join([*below[:n], *top[n:]])]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Pivot], str]] = {
    "markdown": lambda made: _flat(made, heading).markdown() + "\n",
    "latex": to_latex,
    "csv": lambda made: _flat(made, str).csv(),  # the ends of intervals in columns of their own
}
