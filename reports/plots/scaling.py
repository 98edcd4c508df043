"""What grows with steps, width and batch, and the gradient's cosine against the length of the
sequence, which says where credit is lost; one drawing for each setting of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations, groupby

import pandas as pd
from matplotlib.axes import Axes

from reports.judge.scaling import COSINE, LEAST_SIZES, TIME, Series, series, sizes_swept
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, MOST_SERIES, Look
from reports.records.columns import SYMBOLS
from reports.study import Study
from reports.tables import listed

ORDER = 30
TITLE = "Memory, time and cosine against steps, width and batch"
MOST_SLICES = 3  # of one metric against one size; the others are in the results table
EXACT = 1e-4  # a cosine this close to one is a line at the upper end
_COSINE = "The angle to BPTT's gradient at the initial weights: 1 is the same direction, 0 none."


def make(study: Study) -> list[Plot]:
    facts = study.facts
    drawn: list[Plot] = []
    for size in sizes_swept(facts):
        apart = size == "batch_size"  # how batchings grow with it is what it is swept for
        looks = base.looks(study, "name" if apart else "method")
        for metric in (facts.memory, TIME, *[COSINE] * (size == "n_steps")):
            least = LEAST_SIZES if metric == COSINE else 2
            found = series(facts, facts.settings, metric, size, least=least, apart=apart)
            slices = [list(some) for _, some in groupby(found, key=lambda s: s.where)]
            rich = sorted(slices, key=lambda some: -sum(len(s.points) for s in some))[:MOST_SLICES]
            cut = base.left_out(len(rich), len(slices), "settings, those with most cells")
            for some in rich:
                drawn += _plots(some, len(drawn) + 1, cut, looks)
    if not drawn:
        raise NotDrawn(
            "no method has results at two widths, batch sizes or lengths with everything else equal"
        )
    return drawn


def _plots(found: list[Series], number: int, cut: str, looks: Mapping[str, Look]) -> list[Plot]:
    """One drawing; of cosines, in which every method is of interest, as many as it takes."""
    if found[0].metric != COSINE:
        return [_plot(found[:MOST_SERIES], found, number, cut, looks)]
    exact = [s.name for s in found if s.points["y"].min() > 1 - EXACT]
    cut = f" At 1 throughout: {', '.join(exact)}." * bool(exact) + cut
    rest = sorted((s for s in found if s.name not in exact), key=lambda s: -s.points["y"].iloc[-1])
    drawings = max(1, math.ceil(len(rest) / MOST_SERIES))
    each = max(1, math.ceil(len(rest) / drawings))  # as many in each
    parts = [rest[i : i + each] for i in range(0, len(rest), each)]
    return [_plot(part, part, number + i, cut, looks) for i, part in enumerate(parts)]


def _plot(
    shown: list[Series], found: list[Series], number: int, cut: str, looks: Mapping[str, Look]
) -> Plot:
    size, metric = shown[0].size, shown[0].metric
    stem, title = {TIME: ("time", "Step time"), COSINE: ("cosine", "Gradient cosine")}.get(
        metric, ("memory", "Memory"))  # fmt: skip
    turned = [f"{a.name} and {b.name} change places between {SYMBOLS[size]} = {at[0]:g} and "
              f"{at[1]:g}" for a, b in combinations(shown, 2)
              if metric != COSINE and (at := a.crossing(b))]  # fmt: skip
    whole = [s.name for s in shown if metric != COSINE and s.carried.empty]
    caption = "".join([
        "Both axes are logarithmic." if metric != COSINE else _COSINE,
        f" One window covers every sequence of {listed(whole)}: no trace is kept." * bool(whole),
        " Dashed: the slope of theory for large sizes, through the last point."
        * any(_slope(s) is not None for s in shown),
        " Dotted: up to here one window covers the sequence." * any(map(_window_end, shown)),
        base.BARS * any((s.points["n"] > 1).any() and s.points["lo"].notna().any() for s in shown),
        " Open marks: measured under contention." * any(s.points["contended"].any() for s in shown),
        f" {'; '.join(turned)}." * bool(turned),
        f" Batching: {', '.join(sorted({s.way.batching for s in shown}))}."
        * (shown[0].name == shown[0].way.method),
        base.left_out(len(shown), len(found), "methods") + cut,
    ])  # fmt: skip
    names = {"x": size, "y": metric, "lo": f"{metric}_lo", "hi": f"{metric}_hi"}
    data = pd.concat([s.points.assign(way=s.name, batching=s.way.batching) for s in found])
    data = data.rename(columns=names)[["way", "batching", *names.values(), "n", "contended"]]

    def draw(axes: Axes) -> None:
        styles = {s.name: looks[s.name] for s in shown}
        points = data[data["way"].isin(styles)]
        ends = [f"{metric}_lo", f"{metric}_hi"]
        points = points.assign(**points[ends].where(points["n"] > 1))  # of one process its own
        for cosine in (0, 1) if metric == COSINE else ():
            axes.axhline(cosine, color=FAINT, linewidth=1, zorder=0, label="_")
        base.draw(axes, points, styles, size, metric, log="x" if metric == COSINE else "xy",
                  hollow="contended")  # fmt: skip
        for one in shown:
            x, y = (one.points[c].to_numpy()[-2:] for c in ("x", "y"))
            if (slope := _slope(one)) is not None:
                axes.plot(x, y[-1] * (x / x[-1]) ** slope, color=styles[one.name].colour, label="_",
                          linewidth=0.8, linestyle=(0, (2, 2)))  # fmt: skip
            if end := _window_end(one):
                axes.axvline(end, color=FAINT, linewidth=1, linestyle=(0, (1, 1.5)), zorder=0)
                base.note(axes, " one window", end, 0.02, transform=axes.get_xaxis_transform(),
                          va="bottom")  # fmt: skip

    return Plot(
        name=f"{stem}_vs_{size}_{number}",
        section=f"{title} against {base.LABELS[size]}",
        title=shown[0].where,
        caption=caption,
        data=data.dropna(axis=1, how="all"),
        draw=draw,
    )


def _slope(one: Series) -> float | None:
    """Theory's exponent, where there are sizes enough to hold it against."""
    return one.theory if len(one.points) >= LEAST_SIZES else None


def _window_end(one: Series) -> float | None:
    """The longest sequence that one window covered, where a longer one was measured."""
    inside = one.points["window"] >= one.points["x"]
    known = one.size == "n_steps" and one.metric != COSINE and inside.any() and not inside.all()
    return float(one.points["x"][inside].max()) if known else None
