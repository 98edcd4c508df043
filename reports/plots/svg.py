"""A drawing for a page: no prologue, no fixed size, the page's colours and font."""

from __future__ import annotations

import re
from html import escape

from reports.plots.style import FAINT, INK, PAPER


def inline(svg: str, label: str) -> str:
    """The `svg` element of a file that matplotlib wrote; `label` is what a screen reader says."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    # Matplotlib numbers its groups anew in each drawing; several drawings share this page.
    body = re.sub(
        r' id="(?:figure|axes|patch|text|line2d|xtick|ytick|matplotlib\.axis|legend'
        r'|PathCollection|LineCollection|QuadMesh|FillBetweenPolyCollection)_\d+"',
        "",
        body,
    )
    body = re.sub(r' (?:width|height)="[\d.]+pt"', "", body, count=2)
    body = body.replace("<svg ", f'<svg role="img" aria-label="{escape(label, quote=True)}" ', 1)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    for grey, variable in ((INK, "--ink"), (FAINT, "--line"), (PAPER, "--paper")):
        body = body.replace(grey, f"var({variable})")
    # Coordinates need no more than hundredths of a point; texts, such as a tick's 0.005, stay.
    body = re.sub(r"<[^>]*>", lambda tag: _rounded(tag[0]), body)
    return re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->", "", body, flags=re.S))


def _rounded(tag: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)
