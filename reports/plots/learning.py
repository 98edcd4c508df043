"""What training came to against the time it took, each seed thin and their median thick."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.judge import Setting, Way
from reports.judge.rows import number
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import INK, MOST_SERIES
from reports.study import Study

ORDER = 10
TITLE = "Learning against training time"
CURVES = ("test_accuracy", "validation_accuracy", "accuracy", "test_r2", "validation_r2", "r2",
          "loss")  # fmt: skip
TIME, IN_BPTT = "train_time_s", "train_time_bptt_epochs"
MOST_SETTINGS = 2
LEAST_EPOCHS = 3


def make(study: Study) -> list[Plot]:
    drawn: list[Plot] = []
    for setting in study.facts.settings[:MOST_SETTINGS]:
        points = curves(study, setting).dropna(subset=[TIME])
        y = next((name for name in CURVES if points[name].notna().any()), None)
        if y:
            points = points.dropna(subset=[y])
            drawn.append(_plot(study, setting, points, y, len(drawn) + 1))
    if not drawn:
        raise NotDrawn(f"no record holds a learning curve of {LEAST_EPOCHS} epochs or more")
    return drawn


def curves(study: Study, setting: Setting) -> pd.DataFrame:
    """A row for each method, seed and epoch at the recommended batching.

    Of a seed's repeats the median; the learning rate is the one that the method is judged at.
    """
    columns = ["way", "seed", "epoch", *CURVES, TIME]
    found = []
    for way in _most_telling(setting):
        for record in (study.by_key[key] for key in way.keys):
            curve, epochs = record["curves"], len(record["curves"].get("epoch") or ())
            judged_at = way.learned.lr if way.learned else np.nan
            elsewhere = abs(number(record["config"].get("lr")) - judged_at) > 0
            if epochs >= LEAST_EPOCHS and not elsewhere:
                known = {n: v for n, v in curve.items() if n in columns and len(v) == epochs}
                seed = record["row"].get("seed")
                found.append(pd.DataFrame({"way": way.name, "seed": seed, **known}))
    table = pd.concat(found) if found else pd.DataFrame()
    table = table.reindex(columns=columns).astype(dict.fromkeys((*CURVES, TIME), "float64"))
    by = table.groupby(["way", "seed", "epoch"], sort=False, dropna=False)
    return by.median().reset_index()


def _most_telling(setting: Setting) -> list[Way]:
    """At most seven that trained: the recommended one, then the fastest."""
    start, ways = setting.answer.start, [w for w in setting.by_method if w.learned]
    ranked = sorted(ways, key=lambda w: (not start or w.method != start.method,
                                         np.nan_to_num(w.ms, nan=np.inf), w.name))  # fmt: skip
    return [w for w in ways if w in ranked[:MOST_SERIES]]


def _plot(study: Study, setting: Setting, points: pd.DataFrame, y: str, number: int) -> Plot:
    shown = [w for w in setting.ways if w.name in set(points["way"])]
    learned = [w.learned for w in shown if w.learned]
    # What the loss of guessing is, is not known where accuracy is judged.
    chance = learned[0].chance if (y == "loss") == (setting.metric == "loss_final") else np.nan
    busy, time = any(w.contended for w in shown), TIME
    if busy and base.by_turns(shown):
        # Seconds of a busy machine say little; an epoch has equally many steps.
        ratio = {w.name: w.against.centre for w in shown if w.against}
        time, points = IN_BPTT, points.rename(columns={TIME: IN_BPTT})
        points[time] = points["epoch"] * points["way"].map(ratio)
    several = points.groupby("way")["seed"].nunique(dropna=False).max() > 1
    batchings = ", ".join(sorted({w.batching for w in shown if w.name != w.method}))
    slow = ("The machine was busy, so time is by turns with BPTT." if time == IN_BPTT else
            "Times were measured under contention, so how far the curves lie apart says little."
            )  # fmt: skip
    caption = " ".join(filter(None, [
        "Thin: each seed; thick: their median." if several else "One seed.",
        "Evaluation is not counted as training time.",
        slow if busy else "",
        batchings and f"Batching: {batchings}.",
        "Each at its best learning rate." if any(f.n_lr > 1 for f in learned) else "",
    ]))  # fmt: skip
    trained = sum(1 for w in setting.by_method if w.learned)
    data = points[["way", "seed", "epoch", time, y]].reset_index(drop=True)
    looks = base.looks(study)
    styles = {w.name: looks[w.method] for w in shown}

    def draw(axes: Axes) -> None:
        seeds = data.groupby("way")["seed"].transform("nunique", dropna=False)
        for (way, _), seed in data[seeds > 1].groupby(["way", "seed"], dropna=False):
            seed = seed.sort_values("epoch")
            axes.plot(seed[time], seed[y], color=styles[way].colour, linewidth=0.6, alpha=0.45,
                      label="_")  # fmt: skip
        middle = data.groupby(["way", "epoch"], sort=False)[[time, y]].median().reset_index()
        base.draw(axes, middle.sort_values("epoch", kind="stable"), styles, time, y, log="",
                  kind="lines")  # fmt: skip
        axes.set_xlim(left=0)
        axes.margins(y=0.06)
        if chance == chance:
            axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
            base.note(axes, "chance", 0.99, chance, transform=axes.get_yaxis_transform(),
                      ha="right", va="bottom")  # fmt: skip

    return Plot(
        name=f"{y}_vs_{TIME}_{number}",
        section=f"{base.label(y)[0].upper()}{base.label(y)[1:]} against training time",
        title=setting.whole,
        caption=caption + base.left_out(len(shown), trained, "methods"),
        data=data,
        draw=draw,
        first=base.leads(study, setting),
    )  # fmt: skip
