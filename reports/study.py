"""A table of cells, ready to be asked: which variants there are, what varies, what one cell
measured.

Replications of a cell (its seeds and repeats) are merged into one figure with an interval;
everything
else that was set differently keeps cells apart, so that two decays never share a line in a plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from reports.noise import Noise, noise
from reports.records import Record, Sweeps
from reports.records.columns import (
    BOUNDS,
    BY_NAME,
    EXTRA_METRICS,
    METRICS,
    REPLICATION,
    SEEDED,
    SERIES,
    SETTINGS,
    SIZES,
    SYMBOLS,
    WAYS,
)
from reports.records.settings import variants, varying_within
from reports.records.table import frame
from reports.resampling import half_interval

# Below this the rise of a process's peak is made of pages and allocator slack.
LEAST_PEAK_MIB = 16.0


@dataclass(frozen=True)
class Slice:
    """Cells that differ only in one axis, in algorithm and in batching.

    Args:
        title: the settings that hold in the whole slice, such as "gru · digits · H 64".
        cells: rows of `Study.cells`.
    """

    title: str
    cells: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Study:
    """One or several sweeps as a table, with the questions that reports ask of it.

    Compared by identity, so that what is worked out once for a study can be kept.
    """

    sweeps: Sweeps

    @cached_property
    def everything(self) -> pd.DataFrame:
        """One row per record, as in `tables.load`."""
        return frame(self.sweeps.records)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The newest row of every cell, with `variant`: the algorithm and what else was set.

        A cell measured again after its code changed has two records; the older one is history, and
        would pass for a repeat of the newer. Machines, when there are several, stay apart.
        """
        table = self.everything.assign(machine=[_machine(r) for r in self.sweeps.records])
        extras = varying_within(table, SETTINGS)
        newest = ~table.duplicated([*SETTINGS, *extras, *REPLICATION, "machine"], keep="last")
        table = table[newest].reset_index(drop=True)
        if table["machine"].nunique() > 1:
            extras.append("machine")
        return table.assign(variant=variants(table, extras))

    @cached_property
    def by_key(self) -> dict[str, Record]:
        return {record["key"]: record for record in self.sweeps.records}

    @cached_property
    def disagreements(self) -> dict[str, str]:
        """Key -> how its sources of memory disagree, of the cells where they do."""
        found = {k: str((r.get("memory") or {}).get("disagreement") or "")
                 for k, r in self.by_key.items()}  # fmt: skip
        return {key: found[key] for key in self.table["key"] if found[key]}

    @cached_property
    def ok(self) -> pd.DataFrame:
        return self.table[self.table["status"].eq("ok")]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per cell: replications merged, each metric with `_lo`, `_hi`, and `n`, `keys`."""
        return merge_replications(self.ok, [*SETTINGS, "variant"])

    @cached_property
    def noise(self) -> Noise | None:
        """How far two processes of one cell lie apart in time; None where nothing was repeated."""
        return noise(self.ok, "step_time_ms", [*SETTINGS, "variant", "seed"])

    @cached_property
    def memory(self) -> str:
        """What stands for memory: the measured peak, or XLA's sum where peaks are small."""
        peaks = self.ok["memory_peak_mib"].dropna()
        large = len(peaks) > 0 and bool((peaks >= LEAST_PEAK_MIB).mean() > 0.9)
        return "memory_peak_mib" if large else "memory_xla_mib"

    @cached_property
    def varied(self) -> list[str]:
        """The settings with more than one value among the ok cells."""
        return [s for s in SETTINGS if self.ok[s].nunique() > 1]

    def name(self, cell: pd.Series, *, batching: bool = True) -> str:
        """This cell's way of computing: its variant, with batching and backend where they vary."""
        parts = [str(cell["variant"])]
        parts += [
            str(cell[s])
            for s in ("batching", "backend")
            if s in self.varied and (batching or s != "batching")
        ]
        return " · ".join(parts)

    def setting(self, cell: pd.Series | dict, leave_out: Sequence[str] = ()) -> str:
        """Those of model, task and sizes that vary in the study, in words."""
        names = [s for s in ("model", "task", "device") if s in self.varied]
        words = [str(cell[s]) for s in names if s not in leave_out]
        sizes = [s for s in ("n_layers", *SIZES) if s in self.varied and s not in leave_out]
        return " · ".join(words + [f"{SYMBOLS.get(s, s)} {cell[s]}" for s in sizes])

    def whole_setting(self, cell: pd.Series) -> str:
        """Everything that was set for a cell but its way of computing, in words."""
        sizes = ", ".join(f"{symbol} = {cell[s]}" for s, symbol in SYMBOLS.items())
        layers = f", {cell['n_layers']} layers" if cell["n_layers"] != 1 else ""
        ways = [str(cell[s]) for s in ("batching", "backend") if s not in self.varied]
        rest = f"{', '.join(ways)} on {cell['device']}" if ways else f"on {cell['device']}"
        return f"{cell['model']} on {cell['task']} with {sizes}{layers} ({rest})"

    @lru_cache(maxsize=64)  # noqa: B019  (a study lives as long as the process)
    def slices(self, axis: str, metric: str, points: int = 2) -> list[Slice]:
        """Slices in which some series has `metric` at `points` or more values of `axis`, richest
        first.
        """
        cells = self.cells
        if metric not in cells or cells.empty:
            return []
        cells = cells[cells[metric].notna()]
        held = [s for s in SETTINGS if s not in (axis, *WAYS)]
        found = []
        for values, group in cells.groupby(held, dropna=False, sort=True):
            counts = group.groupby(SERIES)[axis].transform("nunique")
            group = group[counts >= points]
            if not group.empty:
                title = self.setting(dict(zip(held, values, strict=True)), (axis,))
                found.append(Slice(title, group.sort_values(axis)))
        return sorted(found, key=lambda s: -len(s.cells))


def _machine(record: Record) -> str:
    """A short name of the machine that a record was made on, whichever interpreter it ran."""
    provenance = record.get("provenance") or {}
    return str(provenance.get("machine") or provenance.get("fingerprint") or "")[:8]


def merge_replications(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row per group: median of each metric over its processes, and a 95 % interval.

    From two processes on, the interval is Student's t over processes (on logarithms where every
    value is positive and may be of any size); that of a single one is what it recorded of its own
    samples. What is seeded repeats bit for bit, so there the seeds are counted, not the processes.
    """
    known = [c.name for c in (*METRICS, *EXTRA_METRICS)]
    metrics = [c for c in rows.columns if c in known or _is_further_metric(c)]
    if rows.empty:
        return rows.reindex(columns=[*by, *metrics, "n", "keys", "health"])
    groups = rows.groupby(list(by), dropna=False, sort=False)
    merged = {
        "n": groups.size(),
        "keys": groups["key"].agg(list),
        "health": groups["health"].agg(lambda h: "; ".join(sorted({x for x in h if x}))),
    }
    n_by_cell = groups.ngroups
    single = n_by_cell == len(rows)
    for metric in metrics:
        centre = groups[metric].median()
        low, high = _recorded_bounds(rows, groups, metric, centre)
        if not single:
            units = rows.drop_duplicates([*by, "seed"]) if metric in SEEDED else rows
            t_low, t_high, enough = _t_interval(units, by, metric)
            low, high = low.where(~enough, t_low), high.where(~enough, t_high)
        merged |= {metric: centre, f"{metric}_lo": low, f"{metric}_hi": high}
    return pd.DataFrame(merged).reset_index()


def _is_further_metric(name: str) -> bool:
    plain = not name.startswith("cfg.") and not name.endswith(("_lo", "_hi"))
    return plain and name not in BY_NAME and name not in ("variant", "machine")


def _recorded_bounds(
    rows: pd.DataFrame, groups: pd.api.typing.DataFrameGroupBy, metric: str, centre: pd.Series
) -> tuple[pd.Series, pd.Series]:
    nothing = pd.Series(np.nan, index=centre.index)
    if f"{metric}_lo" not in rows or f"{metric}_hi" not in rows:
        return nothing, nothing
    return groups[f"{metric}_lo"].min(), groups[f"{metric}_hi"].max()


def _t_interval(
    rows: pd.DataFrame,
    by: Sequence[str],
    metric: str,
) -> tuple[pd.Series, pd.Series, pd.Series]:
    """(low, high, whether there were two values) of a t interval over the rows of each group."""
    values = rows[metric].astype("float64")
    least, most = BOUNDS.get(metric, (None, None))
    logs = most is None and bool((values.dropna() > 0).all())
    scaled = np.log(values) if logs else values
    groups = scaled.groupby([rows[b] for b in by], dropna=False, sort=False)
    count, mean, spread = groups.count(), groups.mean(), groups.std()
    half = half_interval(spread, count)
    low, high = mean - half, mean + half
    if logs:
        return np.exp(low), np.exp(high), count >= 2
    return low.clip(least, most), high.clip(least, most), count >= 2


def no_gradient(found: Mapping[str, float | None]) -> bool:
    """Whether a weight's gradient is nothing where BPTT's is not: all of BPTT's is missing."""
    return found.get("cosine") is None and found.get("rel_error") == 1
