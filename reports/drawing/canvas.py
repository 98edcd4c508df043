"""What every plot shares: its type, its style, and how a figure becomes SVG and PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The width of one column of a paper; on a screen and on a phone the drawing scales.
SIZE_IN = (3.5, 2.6)
PNG_DPI = 200
# Greys that the page replaces by its own colours, so that one drawing serves light and dark.
INK, FAINT, PAPER = "#1b1b1f", "#c9c9cf", "#fefefe"

STYLE: dict[str, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",  # text stays text: searchable, small, in the reader's own font
}


class NotDrawn(Exception):
    """The records hold too little for this plot; the text says what is lacking."""


@dataclass(frozen=True)
class Plot:
    """One drawing with the table of what it shows.

    Args:
        name: file name without its ending.
        section: the heading it stands under; several plots share one.
        title: what this one shows in particular, such as its slice.
        caption: how to read it.
        data: the numbers drawn, as the reader may copy them.
        draw: paints onto an empty axes.
    """

    name: str
    section: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Axes], None]

    def save(self, folder: Path, stem: str) -> str:
        """Writes stem.svg and stem.png into the folder; returns the SVG for the page."""
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        with matplotlib.rc_context({**STYLE, "svg.hashsalt": stem}):
            figure = Figure(figsize=SIZE_IN, layout="constrained", dpi=PNG_DPI)
            canvas = FigureCanvasAgg(figure)
            self.draw(figure.add_subplot())
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once; both files below keep it
            # The canvases are called themselves: savefig would draw everything twice for each.
            canvas.print_png(folder / f"{stem}.png")
            buffer = io.StringIO()
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        svg = buffer.getvalue()
        (folder / f"{stem}.svg").write_text(svg, encoding="utf-8")
        return inline(svg, self.title or self.section)


def inline(svg: str, label: str) -> str:
    """The drawing for a page: no prologue, no fixed size, the page's colours and font."""
    from html import escape

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
    body = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", body)
    return re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->", "", body, flags=re.S))


def log_ticks(axes: Axes, which: str, values: pd.Series) -> None:
    """A logarithmic axis with few, round ticks; sizes that were swept are ticks themselves."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    swept = np.unique(values.dropna().to_numpy(dtype=float))
    whole = bool((swept == np.round(swept)).all())
    if len(swept):
        low, high = swept.min() / 1.15, swept.max() * 1.15
        axis.set_ticks(
            swept if which == "x" and whole and len(swept) <= 7 else round_ticks(low, high)
        )
        (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def round_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two positive ends, none too close on a logarithm."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = decades
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), np.arange(1, 10, 0.5),
                   np.arange(1, 10, 0.1), np.arange(1, 10, 0.02)):  # fmt: skip
        ticks = np.outer(decades, digits).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) >= 3:
            break
    apart = np.log(high / low) / 7
    kept: list[float] = []
    for tick in ticks:
        if not kept or np.log(tick / kept[-1]) >= apart:
            kept.append(float(tick))
    return kept


def plain(value: float) -> str:
    """A tick's number: 0.01, 200, 5000, 20k, 3M."""
    for limit, scale, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / scale:g}{suffix}"
    return f"{value:.4g}"


def legend(axes: Axes, columns: int = 2) -> None:
    """A legend below the drawing, where it covers nothing."""
    from matplotlib.container import ErrorbarContainer

    handles, labels = axes.get_legend_handles_labels()
    # Of a line with bars only the line: in the small key the bars are clutter.
    handles = [h.lines[0] if isinstance(h, ErrorbarContainer) else h for h in handles]
    if len(handles) < 2:
        return
    labels = [elide(label, 48) for label in labels]
    longest = max(len(label) for label in labels)
    columns = 1 if longest > 30 else columns if longest > 16 else 3
    figure = axes.get_figure()
    assert figure is not None
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.2,
        labelspacing=0.3,
    )
