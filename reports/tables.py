"""Pivots of the results table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from reports.errors import InputError


def pivot(
    table: pd.DataFrame, rows: Sequence[str], cols: Sequence[str], values: str
) -> pd.DataFrame:
    """Medians of one metric over the ok cells, one table row per value of `rows` together.

    The index has a level for each of `rows`; the columns are named by the values of `cols`.

    Raises:
        InputError: a column that the table lacks or that is asked for twice, or a metric that no
            row has.
    """
    asked = [*rows, *cols, values]
    for name in asked:
        if name not in table.columns:
            raise InputError(
                "a column of the results",
                repr(name),
                f"Close to it: {', '.join(_close(name, table.columns)) or 'none'}.",
            )
    twice = sorted({name for name in asked if asked.count(name) > 1})
    if twice:
        raise InputError(
            "different columns as rows, as columns and as values",
            f"{', '.join(twice)} twice",
            "Choose another, such as --rows n_hidden,batching --cols algo --values step_time_ms.",
        )
    numbers = pd.to_numeric(table[values], errors="coerce").astype("float64")
    usable = table["status"].eq("ok") & numbers.notna()
    if not usable.any():
        raise InputError(
            f"ok rows with a number in {values!r}",
            "none",
            "Choose another metric, or run cells that record this one.",
        )
    made = (
        table[usable]
        .assign(**{values: numbers[usable]})
        .pivot_table(
            index=list(rows), columns=list(cols), values=values, aggfunc="median", observed=True
        )
    )
    if len(cols) > 1:
        made.columns = pd.Index([" · ".join(map(str, names)) for names in made.columns])
    return made


def _close(name: str, columns: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, [str(c) for c in columns], n=3, cutoff=0.4)
