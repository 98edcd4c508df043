"""One or several sweeps as tables, with the facts that a report and its plots are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from reports.judge import Facts, facts, rows
from reports.judge.contest import Match, at_other_points, matches, tuned_alike
from reports.records import Record, Sweeps, frame
from reports.records.columns import SETTINGS


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
    def rows(self) -> pd.DataFrame:
        """The newest row of every cell, with its setting and way: see `reports.judge.rows`.

        Of a contest's fresh seeds those at the point that is judged.
        """
        table = rows(tuned_alike(self.sweeps.records))
        return table[~at_other_points(table)].reset_index(drop=True)

    @cached_property
    def table(self) -> pd.DataFrame:
        """What is judged: `rows` without a contest's trials."""
        return self.rows[self.rows["choose"].ne("trial")].reset_index(drop=True)

    @cached_property
    def facts(self) -> Facts:
        return facts(self.table)

    @cached_property
    def contests(self) -> list[Match]:
        """The contests among the records: see `reports.judge.contest`."""
        return matches(self.rows, self.facts)

    @cached_property
    def by_key(self) -> dict[str, Record]:
        """The records themselves."""
        return {record["key"]: record for record in self.sweeps.records}

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per setting and way: the median of each metric, beside the columns `way` and
        `setting` and the settings that every table has.
        """
        ok = self.table[self.table["status"].eq("ok")]
        by = ok.groupby(["setting", "way", *SETTINGS], dropna=False, sort=False)
        return by[list(ok.select_dtypes("float").columns)].median().reset_index()
