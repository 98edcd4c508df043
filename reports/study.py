"""One or several sweeps as tables, with the facts that a report and its plots are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from reports.judge import Facts, facts, rows
from reports.judge.rows import TUNED
from reports.records import Record, Sweeps, frame
from reports.records.columns import BOUNDS, BY_NAME, EXTRA_METRICS, METRICS, SEEDED, SETTINGS


@dataclass(frozen=True, eq=False)
class Study:
    """The records of sweeps as tables.

    Compared by identity, so that what is worked out once for a study can be kept.
    """

    sweeps: Sweeps

    @cached_property
    def everything(self) -> pd.DataFrame:
        """One row per record, as in `reports.load`."""
        return frame(self.sweeps.records)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The newest row of every cell, with its setting and way: see `reports.judge.rows`."""
        return rows(self.sweeps.records)

    @cached_property
    def ok(self) -> pd.DataFrame:
        return self.table[self.table["status"].eq("ok")]

    @cached_property
    def facts(self) -> Facts:
        return facts(self.table)

    @cached_property
    def by_key(self) -> dict[str, Record]:
        return {record["key"]: record for record in self.sweeps.records}

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per setting and way: the median of each metric over its processes, with `_lo`,
        `_hi`, `n` and `keys`. Its learning rates are merged as well.
        """
        held = [c for c in self.facts.held if c not in SETTINGS]
        return merged(self.ok, [*SETTINGS, *held, "setting", "variant", "method", "way"])

    @cached_property
    def memory(self) -> str:
        """What stands for memory in most settings."""
        columns = [s.memory for s in self.facts.settings]
        return max(sorted(set(columns)), key=columns.count, default="memory_xla_mib")

    def name(self, cell: pd.Series) -> str:
        """The way of computing of a row of `table` or `cells`."""
        return str(cell["way"])


def merged(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row per group: median of each metric, and an interval.

    The interval of one process is what it recorded of its own samples; of two it is the two; from
    three on it is Student's 95 % between them, on logarithms where every value is positive and
    unbounded. What is seeded repeats bit for bit, so there the seeds are counted.
    """
    known = {c.name for c in (*METRICS, *EXTRA_METRICS)}
    metrics = [c for c in table.columns if c in known or _is_further_metric(c)]
    if table.empty:
        return table.reindex(columns=[*by, *metrics, "n", "keys", "contended", "health"])
    # One number a group: grouping by many columns again for each metric takes long.
    groups = table.groupby(table.groupby(by, dropna=False, sort=False).ngroup())
    values = table[metrics].astype("float64")
    middle = values.groupby(groups.ngroup()).median()
    seeded = [m for m in metrics if m in SEEDED]
    seeds = table.assign(_group=groups.ngroup()).drop_duplicates(["_group", "seed"])
    ends = [*_ends(values[[m for m in metrics if m not in SEEDED]], groups.ngroup(), table),
            *_ends(values.loc[seeds.index, seeded], seeds["_group"], table)]  # fmt: skip
    plain = pd.DataFrame({
        "n": groups.size(),
        "keys": groups["key"].agg(list),
        "contended": groups["contended"].all(),
        "health": groups["health"].agg(lambda h: "; ".join(sorted({x for x in h if x}))),
    })  # fmt: skip
    first = groups[by].head(1).set_axis(plain.index)
    return pd.concat([first, plain, middle, *ends], axis=1)


def _is_further_metric(name: str) -> bool:
    own = ("variant", "method", "way", "setting", "lr", "machine", "contended", "silent", "weights")
    plain = not name.startswith("cfg.") and not name.endswith(("_lo", "_hi"))
    return plain and name not in BY_NAME and name not in own and name != TUNED


def _ends(values: pd.DataFrame, group: pd.Series, table: pd.DataFrame) -> list[pd.DataFrame]:
    """The lower and the upper ends of the metrics, each as columns."""
    unbounded = [m for m in values if m not in BOUNDS and not (values[m] <= 0).any()]
    scaled = values.copy()
    scaled[unbounded] = np.log(values[unbounded])
    by = scaled.groupby(group)
    count, mean = by.count(), by.mean()
    half = stdtrit(count - 1, 0.975) * by.std() / np.sqrt(count)
    out = []
    for suffix, student, two in (("_lo", mean - half, by.min()), ("_hi", mean + half, by.max())):
        found = student.where(count > 2, two).where(count > 1)
        found[unbounded] = np.exp(found[unbounded])
        for name, (least, most) in BOUNDS.items():
            if name in found:
                found[name] = found[name].clip(least, most)
        named = found.add_suffix(suffix)
        own = [c for c in named if c in table]
        if own:
            recorded = table.loc[values.index, own].groupby(group).first().astype("float64")
            named[own] = named[own].where(named[own].notna(), recorded)
        out.append(named)
    return out
