"""From folders of records to tables, drawings, page and Markdown on disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from reports import output, page, plots
from reports.records import Sweeps, read_sweeps
from reports.records.table import write
from reports.study import Study


class Built(NamedTuple):
    """The page's path, the sweeps it came from, and the answer as text."""

    page: Path
    sweeps: Sweeps
    answer: str


def build(folders: list[Path], out: Path | None = None, others: Collection[str] = ()) -> Built:
    """Writes results.parquet, results.csv and report/ into `out`.

    A sweep's folder may be a stranger's: modules that it names are not imported.

    Args:
        folders: the sweeps; several merge into one report.
        out: where to write; one sweep's own folder, or beside the first of several, by their names.
        others: modules with further plots.

    Raises:
        InputError: the folders hold nothing that can be reported, a module is no plot, or a file in
            `out` that no report wrote is in the way.
    """
    modules = [plots.plot_module(name) for name in dict.fromkeys(others)]
    sweeps = read_sweeps(folders)
    target = out or _place(sweeps.folders)
    study = Study(sweeps)
    drawn, missing = plots.make_all(study, modules)
    missing += [(name, f"its code runs only where it is named: add --plots {name}")
                for name in sweeps.plots if name not in others]  # fmt: skip
    with output.staged(target) as stage:
        write(study.everything, stage)
        report = stage / "report"
        told = page.Context(study, [(plot, plot.save(report)) for plot in drawn], missing)
        for table in told.tables:
            (report / f"{table.name}.csv").write_text(table.csv(), encoding="utf-8")
        (report / "report.md").write_text(page.markdown(told), encoding="utf-8")
        (report / "index.html").write_text(page.html(told), encoding="utf-8")
    answer = page.answer(study.facts, study.contests, len(sweeps.missing))
    return Built(target / "report" / "index.html", sweeps, answer)


def _place(folders: Sequence[Path]) -> Path:
    """A sweep's own folder; of several one beside the first that no others are merged into."""
    first, *more = (folder.resolve() for folder in folders)
    names = [os.path.relpath(folder, first.parent).replace(os.sep, "_") for folder in more]
    return first.with_name("+".join([first.name, *names])) if more else folders[0]
