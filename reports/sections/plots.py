"""The drawings, and why some are missing."""

from __future__ import annotations

from collections.abc import Iterable

from reports import document as d


def plots(figures: Iterable[d.Figure], not_drawn: Iterable[tuple[str, str]]) -> d.Section:
    blocks: list[d.Block] = []
    last = ""
    for figure in figures:
        if figure.plot.section != last:
            blocks.append(d.Heading(figure.plot.section))
            last = figure.plot.section
        blocks.append(figure)
    lacking = [f"**{title}**: {why}." for title, why in not_drawn]
    if lacking:
        blocks += [d.Heading("Not drawn"), d.Items(lacking)]
    return d.Section("plots", "Plots", blocks)
