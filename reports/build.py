"""From folders of records to tables, drawings, page and Markdown on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reports import content, markdown, plots
from reports.document import Figure
from reports.html import page
from reports.records import Sweeps, read_sweeps
from reports.records.table import write
from reports.study import Study


@dataclass(frozen=True)
class Built:
    """What was written: the page's path, and the sweeps it came from."""

    page: Path
    sweeps: Sweeps


def build(folders: list[Path], out: Path | None = None, others: Iterable[str] = ()) -> Built:
    """Writes results.parquet, results.csv and report/ into `out`.

    Args:
        folders: the sweeps; several merge into one report.
        out: where to write; one sweep's own folder, or ``merged`` beside the first of several.
        others: modules with further plots, beside those that the sweeps themselves ask for.

    Raises:
        InputError: the folders hold nothing that can be reported, or a module is no plot.
    """
    for name in others:
        plots.plot_module(name)
    sweeps = read_sweeps(folders)
    target = out or (
        sweeps.folders[0]
        if len(sweeps.folders) == 1
        else sweeps.folders[0].resolve().parent / "merged"
    )
    study = Study(sweeps)
    write(study.everything, target, sweeps.records)
    report = target / "report"
    report.mkdir(parents=True, exist_ok=True)
    for old in [*report.glob("*.svg"), *report.glob("*.png")]:
        old.unlink()  # a drawing of an earlier state of the sweep would pass for one of this
    drawn, missing = plots.make_all(study, dict.fromkeys([*sweeps.plots, *others]))
    figures = [Figure(plot, plot.save(report, plot.name), plot.name) for plot in drawn]
    document = content.build(study, figures, missing)
    (report / "report.md").write_text(markdown.render(document), encoding="utf-8")
    (report / "index.html").write_text(page.render(document), encoding="utf-8")
    return Built(report / "index.html", sweeps)
