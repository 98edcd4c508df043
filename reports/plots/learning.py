"""Loss and accuracy against epochs and against training time, one line a variant and backend, mean
over seeds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.drawing.canvas import NotDrawn, Plot, legend
from reports.drawing.palette import Look
from reports.drawing.series import MOST_SERIES, left_out, unbatched_looks
from reports.records.columns import HELD, SETTINGS
from reports.resampling import half_interval
from reports.study import Study
from reports.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 20
TITLE = "Loss and accuracy against epochs and training time"
CURVES = {"loss": "training loss", "test_accuracy": "test accuracy", "accuracy": "accuracy"}
MOST_SETTINGS = 2
MARKERS_A_LINE = 5


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no record holds a curve of at least three epochs."""
    points = curves(study)
    if points.empty:
        raise NotDrawn("no record holds a learning curve of three epochs or more")
    groups = sorted(
        points.groupby(HELD, dropna=False),
        key=lambda g: (-g[1]["variant"].nunique(), -g[1]["epoch"].max()),
    )
    y_names = [y for y in ("loss", "test_accuracy", "accuracy") if points[y].notna().any()][:2]
    cut = left_out(min(MOST_SETTINGS, len(groups)), len(groups), "{} settings")
    drawn = []
    for y in y_names:
        for x in ("epoch", "train_time_s"):
            for number, (values, group) in enumerate(groups[:MOST_SETTINGS], 1):
                title = study.setting(dict(zip(HELD, values, strict=True)))
                drawn += _plots(study, group, x, y, title, number, cut)
    return drawn


def curves(study: Study) -> pd.DataFrame:
    """One row per epoch of each ok record, of one way of batching: the losses are the same in
    all.
    """
    rows = []
    order = {"manual": 0, "vmap": 1, "single": 2}
    for row in study.ok.to_dict("records"):
        curve = study.by_key[row["key"]].get("curves") or {}
        epochs = curve.get("epoch") or []
        for i, epoch in enumerate(epochs if len(epochs) >= 3 else []):
            values = {
                name: curve[name][i] if i < len(curve.get(name) or []) else None
                for name in (*CURVES, "train_time_s")
            }
            rows.append(
                {**{s: row[s] for s in (*SETTINGS, "variant", "seed")}, "epoch": epoch, **values}
            )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    held = [s for s in (*SETTINGS, "variant") if s != "batching"]
    rank = table["batching"].map(order).fillna(9)
    return table[rank.eq(rank.groupby([table[h] for h in held], dropna=False).transform("min"))]


def _plots(
    study: Study, group: pd.DataFrame, x: str, y: str, title: str, number: int, cut: str
) -> list[Plot]:
    group = group[pd.to_numeric(group[y], errors="coerce").notna() & group[x].notna()]
    group = group.assign(way=[study.name(row, batching=False) for _, row in group.iterrows()])
    ways, found = sorted(group["way"].unique()), unbatched_looks(study)
    styles = {
        row["way"]: found[row["variant"], row["backend"]]
        for row in group.drop_duplicates("way").to_dict("records")
    }
    out = []
    for start in range(0, len(ways), MOST_SERIES):
        chosen = ways[start : start + MOST_SERIES]
        data = mean_curve(group[group["way"].isin(chosen)], x, y)
        if not data.empty:
            out.append(
                Plot(
                    name=f"{y}_vs_{x}_{number}" + (f"_{start // MOST_SERIES + 1}" if start else ""),
                    section=TITLE,
                    title=title,
                    caption="Mean over seeds; from three seeds on the band is the 95 % interval "
                    "of the mean. "
                    "Evaluation is not counted as training time." + cut,
                    data=data,
                    draw=partial(_draw, data=data, x=x, y=y, title=title, styles=styles),
                )
            )
    return out


def mean_curve(group: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Per way and epoch: mean x, mean y over seeds, and Student's interval from three seeds
    on.
    """
    group = group.astype({y: "float64", x: "float64"})
    by = group.groupby(["way", "epoch"], sort=True)
    n, mean, spread = by[y].count(), by[y].mean(), by[y].std()
    half = half_interval(spread, n).where(n >= 3)
    named = pd.DataFrame({y: mean, f"{y}_lo": mean - half, f"{y}_hi": mean + half, "n": n})
    if x != "epoch":
        named.insert(0, x, by[x].mean())
    return named.reset_index()


def _draw(
    axes: Axes, data: pd.DataFrame, x: str, y: str, title: str, styles: dict[str, Look]
) -> None:
    for i, (way, points) in enumerate(data.groupby("way", sort=True)):
        look = styles[str(way)]
        colour = look.colour
        every = max(1, len(points) // MARKERS_A_LINE)
        axes.plot(
            points[x],
            points[y],
            color=colour,
            linestyle=look.dash,
            marker=look.marker,
            # Lines that run close to each other keep their markers apart.
            markevery=(i % every, every),
            markeredgewidth=0,
            label=str(way),
        )
        if points[f"{y}_lo"].notna().any():
            axes.fill_between(
                points[x],
                points[f"{y}_lo"],
                points[f"{y}_hi"],
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
    axes.set_xlabel("epoch" if x == "epoch" else "training time (s)")
    if x == "epoch":
        axes.locator_params(axis="x", integer=True)  # there is no epoch 2.5
    axes.set_ylabel(CURVES[y])
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
