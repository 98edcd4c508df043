"""What plots are made with: a drawing and its files, marks with bars and tips, round ticks."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.errors import ReportError
from reports.judge import Setting, Way
from reports.plots.style import FAINT, INK, PAPER, PNG_DPI, STYLE, Look, looks_of
from reports.records.columns import SYMBOLS, describe, heading
from reports.study import Study
from reports.text import short

# One column of a paper; on a screen and on a phone the drawing scales.
SIZE_IN = (4.2, 2.9)
TITLE_WIDTH, NAME_WIDTH = 42, 22  # characters
LABELS = {
    "n_steps": "time steps in a sequence, T",
    "n_hidden": "hidden neurons, H",
    "batch_size": "batch size, B",
    "step_time_ms": "ms per training step",
    "grad_cosine": "cosine to BPTT's gradient",
    "loss": "training loss",
    "train_time_s": "training time (s)",
    "train_time_bptt_epochs": "training time (epochs of BPTT)",
}
BARS = " Bars: 95 % intervals between processes; of two processes, both values."
MOST_LINES = 5  # of a name; more would leave no room for the drawing


class NotDrawn(ReportError):
    """The records hold too little for this plot; the text says what is lacking."""


@dataclass(frozen=True)
class Plot:
    """One drawing with the table of what it shows."""

    name: str  # of its files, without their endings
    section: str  # the heading it stands under; several plots share one
    title: str  # what this one shows in particular, such as its setting
    caption: str  # how to read it
    data: pd.DataFrame  # the numbers drawn, as the reader may copy them
    draw: Callable[[Axes], None]  # paints onto an empty axes; title and legend are added
    first: bool = False  # on the first screen, else after the tables

    def figure(self) -> Figure:
        """The drawing, laid out."""
        with matplotlib.style.context(STYLE):
            figure = Figure(SIZE_IN, layout="constrained", dpi=PNG_DPI)
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            self.draw(axes)
            title, legend = axes.set_title(folded(self.title, TITLE_WIDTH)), _legend(axes)
            figure.draw_without_rendering()
            if legend and (tall := legend.get_window_extent().height) > figure.bbox.height:
                figure.set_figheight(1.03 * tall / PNG_DPI)
                figure.draw_without_rendering()
            # Long names in the legend leave the title less room than it usually has.
            if legend and (wide := title.get_window_extent()).x1 > legend.get_window_extent().x0:
                room = (legend.get_window_extent().x0 - wide.x0) / wide.width
                longest = max(map(len, title.get_text().split("\n")))
                title.set_text(folded(self.title, int(room * longest) - 1))
                figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once; all files keep it
        return figure

    def save(self, folder: Path) -> Markup:
        """Writes NAME.svg, NAME.png and NAME.csv into the folder; returns the SVG for a page."""
        figure, buffer = self.figure(), io.StringIO()
        # The canvases are called themselves: savefig would draw everything twice for each.
        figure.canvas.print_png(folder / f"{self.name}.png")  # type: ignore[attr-defined]
        with matplotlib.style.context([STYLE, {"svg.hashsalt": self.name}]):
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        named = re.compile(f'<g id="{_TIP}(.*?)">', re.S)
        svg = named.sub(r'<g class="tip"><title>\1</title>', buffer.getvalue())
        (folder / f"{self.name}.svg").write_text(svg, encoding="utf-8")
        self.data.to_csv(folder / f"{self.name}.csv", index=False)
        return Markup(inline(svg, f"{self.section} {self.title}".strip()))


def inline(svg: str, label: str) -> str:
    """The `svg` element of a file that matplotlib wrote, with the page's size, colours and font;
    `label` is what a screen reader says.
    """
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
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(
        r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0]), body)  # fmt: skip
    return re.sub(r"\s*\n\s*", " ", re.sub(r"<!--.*?-->", "", body, flags=re.S))


_TIP = "tip: "  # begins the name of a group that is made a tip


def tip(axes: Axes, x: float, y: float, text: str) -> None:
    """A value that shows when the pointer rests on the point."""
    axes.plot([x], [y], "o", markersize=9, alpha=0.0, gid=_TIP + text, label="_", zorder=9)


def draw(
    axes: Axes, points: pd.DataFrame, styles: Mapping[str, Look], x: str, y: str, *,
    log: str = "xy", kind: Literal["marks", "lines", "both"] = "both", hollow: str = "",
) -> None:  # fmt: skip
    """One column against another: each way as marks, as a line or as both, in its look.

    Args:
        points: a row a mark; ``way`` and the columns `x` and `y`, with bars between the ends of one
            of them where it has any: ``<y>_lo`` and ``<y>_hi``, or ``<x>_lo`` and ``<x>_hi``.
        log: which axes are logarithmic.
        hollow: column that says which marks are open.
    """
    long = next((c for c in (x, y) if f"{c}_lo" in points), "")
    low, high = (points[f"{long}_{end}"] if long else np.nan for end in ("lo", "hi"))
    points = points.assign(low=low, high=high, hollow=points[hollow] if hollow else False)
    for way, some in points.groupby("way", sort=False):
        look, bars = styles[str(way)], some.dropna(subset=["low", "high"])
        line, at = (axes.hlines, bars[y]) if long == x else (axes.vlines, bars[x])
        line(at, bars["low"], bars["high"], color=look.colour, linewidth=0.9)
        for nth, state in enumerate(some["hollow"].unique()):
            axes.plot(
                some[x], some[y], color=look.colour, linewidth=2 if kind == "lines" else 1.6,
                linestyle="none" if kind == "marks" or nth else look.dash,
                marker="none" if kind == "lines" else look.marker,
                markevery=list(np.flatnonzero(some["hollow"] == state)),
                markersize=6 if kind == "marks" else 4, fillstyle="none" if state else "full",
                # A rim in the colour of the paper keeps marks apart that cover each other.
                markeredgecolor=look.colour if state else PAPER,
                markeredgewidth=1 if state else 0.5, label="_" if nth else way,
            )  # fmt: skip
        for at_x, at_y in zip(some[x], some[y], strict=True):
            tip(axes, at_x, at_y, f"{way}: {_told(x, at_x)}, {_told(y, at_y)}")
    for which, column in (("x", x), ("y", y)):
        if which in log:
            ends = ["low", "high"] if column == long else []
            log_axis(axes, which, np.ravel(points[[column, *ends]]))
    axes.set(xlabel=label(x), ylabel=label(y))


def _told(column: str, value: float) -> str:
    """ "T = 16", "3.2 ms", "gradient cosine 0.97"."""
    if column in SYMBOLS:
        return f"{SYMBOLS[column]} = {value:g}"
    unit = describe(column).unit
    return f"{short(value)} {unit}" if unit else f"{label(column)} {short(value)}"


def label(column: str) -> str:
    """What an axis is called."""
    return LABELS.get(column) or heading(column)


def log_axis(axes: Axes, which: str, values: np.ndarray) -> None:
    """A logarithmic axis with few, round ticks; sizes that were swept are ticks themselves."""
    swept = np.unique(values[values > 0])
    # Over many decades a fixed margin is too thin for the marker of the outermost point.
    margin = max(1.15, (swept[-1] / swept[0]) ** 0.07)
    low, high = swept[0] / margin, swept[-1] * margin
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    sizes = which == "x" and len(swept) <= 7 and bool((swept == np.round(swept)).all())
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(swept if sizes else round_ticks(low, high))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def round_ticks(low: float, high: float) -> list[float]:
    """Some round numbers between two positive ends of a logarithmic axis."""
    if high / low < 5:
        ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high)
    else:
        digits = (1, 2, 5) if high / low < 50 else (1, 3) if high / low < 1000 else (1,)
        ticks = LogLocator(subs=digits, numticks=8).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def plain(value: float) -> str:
    """A tick's number: 0.01, 200, 5000, 20k, 3M."""
    for limit, scale, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / scale:g}{suffix}"
    return f"{value:.4g}"


def _legend(axes: Axes) -> Legend | None:
    """The names at the right of the axes, in the order in which lines end or marks stand."""
    lines, names = axes.get_legend_handles_labels()
    if not lines or axes.get_legend():
        return None
    ends = [line.get_ydata()[-1] if hasattr(line, "get_ydata") else 0 for line in lines]
    order = np.argsort(-np.array(ends), kind="stable")
    return axes.get_figure().legend(  # type: ignore[union-attr]
        [lines[i] for i in order], [folded(names[i], NAME_WIDTH) for i in order],
        loc="outside right upper", handlelength=1.7, handletextpad=0.5,
    )  # fmt: skip


def folded(text: str, most: int) -> str:
    """A name on as many lines as it needs, broken between its words: no sensible one is cut off."""
    kept = text.replace(" · ", "\xa0· ").replace(" = ", "\xa0=\xa0")
    lines = textwrap.wrap(kept, most, max_lines=MOST_LINES, placeholder=" …",
                          break_on_hyphens=False)  # fmt: skip
    return "\n".join(lines).replace("\xa0", " ")


def note(axes: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Small grey words inside the axes."""
    axes.text(x, y, text, fontsize=6.5, color="#77777f", **options)


def looks(study: Study, by: Literal["name", "method"] = "method") -> dict[str, Look]:
    """The look of every way, or of its method, in all drawings of a report."""
    return looks_of((w for s in study.facts.settings for w in s.ways), by)


def leads(study: Study, setting: Setting) -> bool:
    """Whether a setting is answered for on the first screen, so that it is drawn there."""
    return any(setting is group[0] for group in study.facts.groups)


def by_turns(ways: Sequence[Way]) -> bool:
    """Whether all took turns with the same BPTT, so that their times over its can be compared."""
    beside = {w.time.beside if w.time and w.against else None for w in ways}
    return len(beside) == 1 and None not in beside


def left_out(shown: int, of: int, what: str) -> str:
    """A sentence that says that not all are drawn, to follow a caption; "" where all are."""
    return f" Drawn are {shown} of {of} {what}." if shown < of else ""
