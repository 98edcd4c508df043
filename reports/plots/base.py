"""What every plot shares: the drawing as data, its files, round ticks, one legend."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from markupsafe import Markup

from core.errors import EtraceError
from reports.judge import Way
from reports.plots.style import MOST_SERIES, PNG_DPI, STYLE
from reports.plots.svg import inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One column of a paper; on a screen and on a phone the drawing scales.
SIZE_IN = (4.2, 2.9)
TITLE_WIDTH = 62  # characters
MOST_LINES = 5  # of a name; more would leave no room for the drawing


class NotDrawn(EtraceError):
    """The records hold too little for this plot; the text says what is lacking."""


@dataclass(frozen=True)
class Plot:
    """One drawing with the table of what it shows.

    Args:
        name: file name without its ending.
        section: the heading it stands under; several plots share one.
        title: what this one shows in particular, such as its setting.
        caption: how to read it.
        data: the numbers drawn, as the reader may copy them.
        draw: paints onto an empty axes.
        place: on the first screen, or after the tables.
    """

    name: str
    section: str
    title: str
    caption: str
    data: pd.DataFrame
    draw: Callable[[Axes], None]
    place: Literal["first", "more"] = "more"

    def save(self, folder: Path) -> Drawn:
        """Writes NAME.svg, NAME.png and NAME.csv into the folder."""
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        with matplotlib.style.context([STYLE, {"svg.hashsalt": self.name}]):
            figure = Figure(SIZE_IN, layout="constrained", dpi=PNG_DPI)
            canvas = FigureCanvasAgg(figure)
            self.draw(figure.add_subplot())
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once; both files below keep it
            # The canvases are called themselves: savefig would draw everything twice for each.
            canvas.print_png(folder / f"{self.name}.png")
            buffer = io.StringIO()
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        svg = buffer.getvalue()
        (folder / f"{self.name}.svg").write_text(svg, encoding="utf-8")
        self.data.to_csv(folder / f"{self.name}.csv", index=False)
        label = f"{self.section} {self.title}".strip()
        return Drawn(self, Markup(inline(svg, label, getattr(figure, "_tips", {}))))


@dataclass(frozen=True)
class Drawn:
    """A plot whose files are written, and its SVG for a page."""

    plot: Plot
    svg: Markup


def tip(axes: Axes, x: float, y: float, text: str) -> None:
    """A value that shows when the pointer rests on the point."""
    tips: dict[str, str] = axes.get_figure().__dict__.setdefault("_tips", {})
    name = f"tip{len(tips)}"
    axes.plot([x], [y], "o", markersize=9, alpha=0.0, gid=name, label="_", zorder=9)
    tips[name] = text


def log_axis(axes: Axes, which: Literal["x", "y"], values: Iterable[float]) -> None:
    """A logarithmic axis with few, round ticks; sizes that were swept are ticks themselves."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    swept = np.unique([v for v in values if v > 0])
    if len(swept):
        # Over many decades a fixed margin is too thin for the marker of the outermost point.
        margin = max(1.15, (swept.max() / swept.min()) ** 0.07)
        low, high = swept.min() / margin, swept.max() * margin
        sizes = which == "x" and len(swept) <= 7 and bool((swept == np.round(swept)).all())
        axis.set_ticks(swept if sizes else round_ticks(low, high))
        axes.set(**{f"{which}lim": (low, high)})
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def round_ticks(low: float, high: float) -> list[float]:
    """Some round numbers between two positive ends of a logarithmic axis."""
    from matplotlib.ticker import LogLocator, MaxNLocator

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


def legend(axes: Axes) -> None:
    """The names at the right of the axes, in the order in which lines end or marks stand."""
    figure: Figure = axes.get_figure()  # type: ignore[assignment]
    lines, names = axes.get_legend_handles_labels()
    ends = [line.get_ydata()[-1] for line in lines]  # type: ignore[attr-defined]
    order = np.argsort(-np.array(ends), kind="stable")
    figure.legend([lines[i] for i in order], [folded(names[i], 22) for i in order],
                  loc="outside right upper", handlelength=1.7, handletextpad=0.5)  # fmt: skip


def folded(text: str, most: int) -> str:
    """A name on as many lines as it needs, broken between its words: no sensible one is cut off."""
    lines = textwrap.wrap(text.replace(" · ", "\xa0· "), most, max_lines=MOST_LINES,
                          placeholder=" …", break_on_hyphens=False)  # fmt: skip
    return "\n".join(lines).replace("\xa0", " ")


def note(axes: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Small grey words inside the axes."""
    axes.text(x, y, text, fontsize=6.5, color="#77777f", **options)


def of_way(way: Way) -> tuple[str, str, str]:
    """What the look of a way depends on."""
    return way.algo, way.variant[len(way.algo) :], way.name[len(way.variant) :]


def of_method(way: Way) -> tuple[str, str, str]:
    """What the look depends on where batching plays no part."""
    return way.algo, way.variant[len(way.algo) :], way.method[len(way.variant) :]


def most_telling(ways: Sequence[Way], start: Way | None) -> list[Way]:
    """At most seven: the recommended one, then the fastest."""
    ranked = sorted(ways, key=lambda w: (not start or w.method != start.method,
                                         w.ms if w.ms == w.ms else np.inf, w.name))  # fmt: skip
    return [w for w in ways if w in ranked[:MOST_SERIES]]


def by_turns(ways: Sequence[Way]) -> bool:
    """Whether all took turns with the same BPTT, so that their times over its can be compared."""
    beside = {w.time.beside if w.time and w.against else None for w in ways}
    return len(beside) == 1 and None not in beside


def left_out(shown: int, of: int, what: str) -> str:
    """A sentence that says that not all are drawn, to follow a caption; "" where all are."""
    return f" Drawn are {shown} of {of} {what}." if shown < of else ""
