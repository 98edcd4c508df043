"""Tables of a paper: any metrics over any settings, as Markdown, LaTeX or CSV.

A row is there for every value of its settings, also where a column does not apply to it or where
nothing could be measured: then the cell says what happened instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.errors import InputError
from reports.records.columns import BOUNDS, NAMES, SEEDED, describe, heading
from reports.records.settings import labels, varying_within, whole
from reports.stats import RANGE, STUDENT, Interval, interval, own_ends
from reports.text import escape_latex, short, table

NOTHING = "–"


Key = tuple[Any, ...]


@dataclass(frozen=True)
class Pivot:
    """Some metrics over two sets of settings.

    Args:
        rows, cols: the settings down the side and along the top.
        values: the metrics.
        index, columns: the values of `rows` and of `cols` that are there, in order, null as None.
        found: (value of rows, value of cols, metric) -> median and interval, or the words for a
            cell that was not measured.
        pooled: settings that differ inside of a cell, so that its median is over several of them.
        intervals: whether intervals are shown.
        texts: setting -> whole value -> as few digits of it as keep it apart.
    """

    rows: Sequence[str]
    cols: Sequence[str]
    values: Sequence[str]
    index: list[Key]
    columns: list[Key]
    found: dict[tuple[Key, Key, str], Interval | str]
    pooled: list[str]
    intervals: bool
    texts: dict[str, dict[str, str]]

    def lines(self) -> Iterator[tuple[list[str], list[Interval | str]]]:
        """(names of the row's settings, its cells: metric by metric along the columns)."""
        for row in self.index:
            yield self.names(self.rows, row), [
                self.found.get((row, col, metric), NOTHING)
                for metric in self.values for col in self.columns
            ]  # fmt: skip

    def heads(self, name: Callable[[str], str]) -> list[str]:
        """The heads of those cells, with the metric where it is not the same for all."""
        several = len(self.values) > 1
        return [" ".join([" · ".join(self.names(self.cols, col)),
                          *([name(metric)] if several or not col else [])]).strip()
                for metric in self.values for col in self.columns]  # fmt: skip

    def names(self, settings: Sequence[str], key: Key) -> list[str]:
        """The values of a key, with the digits that keep each apart from the others."""
        return [NOTHING if value is None else self.texts[setting][whole(value)]
                for setting, value in zip(settings, key, strict=True)]  # fmt: skip

    def shown(self, cell: Interval | str) -> str:
        if isinstance(cell, str):
            return cell
        between = self.intervals and cell.kind in (RANGE, STUDENT)
        ends = f" [{short(cell.low)}, {short(cell.high)}]"
        return short(cell.centre) + (ends if between else "")


def pivot(
    table: pd.DataFrame,
    rows: Sequence[str],
    cols: Sequence[str],
    values: Sequence[str],
    intervals: bool = False,
) -> Pivot:
    """Medians of metrics over the ok cells of a results table.

    Raises:
        InputError: a column that the table lacks or that is asked for twice, a metric that no row
            has, or intervals over cells with different settings.
    """
    asked = [*rows, *cols, *values]
    for name in asked:
        if name not in table.columns:
            close = difflib.get_close_matches(name, map(str, table.columns), n=3, cutoff=0.4)
            raise InputError("a column of the results", repr(name),
                             f"Close to it: {', '.join(close) or 'none'}.")  # fmt: skip
    if twice := sorted({name for name in asked if asked.count(name) > 1}):
        raise InputError(
            "different columns as rows, as columns and as values", f"{', '.join(twice)} twice",
            "Choose another, such as --rows n_hidden,batching --cols algo --values step_time_ms.",
        )  # fmt: skip
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
            f"Add --rows {','.join([*rows, *pooled])}.",
        )
    keys = table[[*rows, *cols]].astype(object)
    keys = keys.where(keys.notna(), None)
    tuples = pd.Series(list(keys.itertuples(index=False, name=None)), index=table.index)
    found = {
        (key[: len(rows)], key[len(rows) :], metric): _cell(group, metric)
        for key, group in table.assign(**numbers).groupby(tuples, sort=False) for metric in values
    }  # fmt: skip
    texts = {name: labels(v for v in keys[name].unique() if v is not None) for name in keys}
    index, columns = _in_order(row for row, _, _ in found), _in_order(col for _, col, _ in found)
    return Pivot(rows, cols, values, index, columns, found, pooled, intervals, texts)


def _cell(group: pd.DataFrame, metric: str) -> Interval | str:
    ok = group[group["status"].eq("ok") & group[metric].notna()]
    if ok.empty:
        failed = sorted(set(group["status"]) - {"ok"})
        return ", ".join(failed) or NOTHING
    # What is seeded is the same in every repeat of a seed.
    units = ok.drop_duplicates("seed") if metric in SEEDED else ok
    bracket = interval(units[metric], own_ends(units, metric), BOUNDS.get(metric))
    return bracket._replace(centre=float(ok[metric].median()))


def _in_order(keys: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Numbers by size before words, what is not set last."""
    return sorted(set(keys), key=lambda key: [
        (2, 0, "") if v is None else (1, 0, v) if isinstance(v, str) else (0, v, "") for v in key
    ])  # fmt: skip


def to_csv(made: Pivot) -> str:
    """Plain numbers, with the ends of intervals beside them where they are asked for."""
    parts = {"centre": "", "low": "_lo", "high": "_hi"} if made.intervals else {"centre": ""}
    body = [[getattr(cell, part, np.nan) for cell in cells for part in parts]
            for _, cells in made.lines()]  # fmt: skip
    head = [name + end for name in made.heads(str) for end in parts.values()]
    index = pd.MultiIndex.from_tuples(made.index, names=list(made.rows))
    return pd.DataFrame(body, index=index, columns=head).to_csv()


def to_markdown(made: Pivot) -> str:
    """A GitHub table; pipes in names are escaped."""
    head = [*made.rows, *made.heads(heading)]
    body = [[*names, *map(made.shown, cells)] for names, cells in made.lines()]
    return table(head, body, right=range(len(made.rows), len(head))) + "\n"


def to_latex(made: Pivot) -> str:
    r"""A booktabs table: units in its heads, the best of each row in bold, a caption, a label."""
    tops = [", ".join(map(_latex_name, made.names(made.cols, col))) for col in made.columns]
    head = [escape_latex(heading(name)) for name in made.rows]
    n, m = len(made.rows), len(tops)
    over = [rf"\multicolumn{{{m}}}{{c}}{{{escape_latex(heading(v))}}}" for v in made.values]
    rules = "".join(
        rf"\cmidrule(lr){{{first}-{first + m - 1}}}" for first in range(n + 1, n + m * len(over), m)
    )
    body = []
    for names, cells in made.lines():
        texts = [escape_latex(made.shown(cell)) for cell in cells]
        for i, metric in enumerate(made.values):
            for j in _best(cells[i * m : (i + 1) * m], describe(metric).better):
                texts[i * m + j] = rf"\textbf{{{texts[i * m + j]}}}"
        body.append(" & ".join([*map(_latex_name, names), *texts]) + r" \\")
    what = ", ".join(describe(v).title for v in made.values)
    label = "-".join(v.replace("_", "-") for v in made.values)
    ends = " with 95\\,\\% intervals (from three processes; of two both)" if made.intervals else ""
    return "\n".join([
        r"\begin{table}",
        r"\centering",
        rf"\caption{{Median {escape_latex(what)}{ends} by {', '.join(head)}.}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{'l' * n}{'r' * (m * len(over))}}}",
        r"\toprule",
        " & ".join([""] * n + over) + r" \\",
        rules,
        " & ".join([*head, *tops * len(over)]) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ])  # fmt: skip


FORMATS = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}


def _latex_name(value: str) -> str:
    return escape_latex(NAMES.get(value, value))


def _best(cells: Sequence[Interval | str], better: str | None) -> list[int]:
    """Which cells show the best figure; none where there is nothing to choose from."""
    numbers = {i: cell.centre for i, cell in enumerate(cells) if isinstance(cell, Interval)}
    if better is None or len(numbers) < 2:
        return []
    best = short((max if better == "high" else min)(numbers.values()))
    return [i for i, number in numbers.items() if short(number) == best]
