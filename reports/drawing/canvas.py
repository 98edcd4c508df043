"""What every plot shares: its type, its style, and how a figure becomes SVG and PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

# The width of one column of a paper; on a screen and on a phone the drawing scales.
SIZE_IN = (3.5, 2.6)
LEGEND_IN = 0.34  # of which a legend may take this much, two rows; for a higher one it grows
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
        height: of the drawing in inches; a long legend adds to it.
    """

    name: str
    section: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Axes], None]
    height: float = SIZE_IN[1]

    def save(self, folder: Path, stem: str) -> str:
        """Writes stem.svg and stem.png into the folder; returns the SVG for the page."""
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        with matplotlib.rc_context({**STYLE, "svg.hashsalt": stem}):
            figure = Figure(figsize=(SIZE_IN[0], self.height), layout="constrained", dpi=PNG_DPI)
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
    # Coordinates need no more than hundredths of a point; texts, such as a tick's 0.005, stay.
    body = re.sub(r"<[^>]*>", lambda tag: _rounded(tag[0]), body)
    return re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->", "", body, flags=re.S))


def _rounded(tag: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)


def log_ticks(axes: Axes, which: str, values: pd.Series) -> None:
    """A logarithmic axis with few, round ticks; sizes that were swept are ticks themselves."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    swept = np.unique(values.dropna().to_numpy(dtype=float))
    whole = bool((swept == np.round(swept)).all())
    if len(swept):
        # Over many decades a fixed margin is too thin for the marker of the outermost point.
        margin = max(1.15, (swept.max() / swept.min()) ** 0.07)
        low, high = swept.min() / margin, swept.max() * margin
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
    """A legend below the drawing, where it covers nothing; a long one makes the figure higher."""
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure

    handles, labels = axes.get_legend_handles_labels()
    # Of a line with bars only the line: in the small key the bars are clutter.
    handles = [h.lines[0] if isinstance(h, ErrorbarContainer) else h for h in handles]
    if len(handles) < 2 and not any("\n" in label for label in labels):
        return
    labels = shortened(labels, 56)
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = 1 if longest > 26 else columns if longest > 16 else 3
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    key = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.2,
        labelspacing=0.3,
    )
    rows = key.get_window_extent().height / figure.dpi
    figure.set_figheight(figure.get_figheight() + max(0.0, rows - LEGEND_IN))


def label_points(
    axes: Axes, points: Iterable[tuple[float, float, str]], others: pd.DataFrame
) -> None:
    """A text beside each point, where it covers no marker and no other text.

    Args:
        axes: drawn in full, legend included: texts are set by where things lie on the paper.
        points: (x, y, text).
        others: x and y of every marker.
    """
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    inside, point = axes.get_window_extent(), figure.dpi / 72
    at = axes.transData.transform(others.to_numpy(dtype=float))
    covered = [Bbox.from_bounds(x - 3 * point, y - 3 * point, 6 * point, 6 * point) for x, y in at]
    for x, y, text in points:
        made = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=6.5)
        made.set_in_layout(False)  # else the drawing would be laid out anew around it
        tried = []
        for place in _PLACES:
            _move(made, place)
            box = made.get_window_extent()
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0
            # A text may stand above the axes, but then it is close to the title.
            cost = sum(map(box.overlaps, covered)) + 3 * (not within) + 2 * (box.y1 > inside.y1)
            tried.append((cost, place))
        _move(made, min(tried, key=lambda t: t[0])[1])
        covered.append(made.get_window_extent())


# Where a text may stand from its point: up and right first, then the other corners, then farther.
_PLACES = [
    (r * dx, r * dy)
    for r in (1.0, 2.2, 3.6)
    for dx, dy in ((4, 3), (-4, 3), (4, -3), (-4, -3), (0, 5), (0, -5))
]


def _move(text: Annotation, place: tuple[float, float]) -> None:
    """Puts a text this many points from its own, growing away from it."""
    dx, dy = place
    text.set_position(place)
    text.set_horizontalalignment("left" if dx > 0 else "right" if dx < 0 else "center")
    text.set_verticalalignment("bottom" if dy > 0 else "top")


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Lines of at most `most` characters, an ellipsis in the middle of longer ones.

    More characters stay where names would else look alike.
    """
    while True:
        cut = ["\n".join(_middle(line, most) for line in name.split("\n")) for name in names]
        if len(set(cut)) == len(set(names)):
            return cut
        most += 1


def _middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"
