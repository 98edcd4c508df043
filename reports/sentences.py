"""The sentences of the first screen, each true of the cells that it names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.choice import (
    FAITHFUL,
    SAME_COSINE,
    Choice,
    behind,
    judged,
    learned,
    no_better_than_chance,
    settings,
)
from reports.laws import laws, meetings
from reports.noise import bar
from reports.pairs import comparable, growth, mean_ratio, pairs, timed
from reports.records.columns import SYMBOLS, heading
from reports.study import Study
from reports.text import short, times

MOST_NAMED = 4  # names in one sentence; the others are counted
REFERENCE = "core"  # the library whose gradients and times the others are held against


def choice_sentences(study: Study, choice: Choice) -> list[str]:
    """What to start with, what is faster, and what needs less memory."""
    start, fast, lean = choice.start, choice.fast, choice.lean
    first = (
        f"**Start with {study.name(start)}**: {interval(start, 'step_time_ms')} ms a training step"
        f"{_memory(start, choice.memory)}{_fidelity(start)}{_accuracy(start)}"
        f"{_caveat(study, start)}"
    )
    share = bar(study.noise)
    equals = _alike(study, choice.cells[choice.cells["able"]], start)
    if fast["step_time_ms"] * (1 + share) < start["step_time_ms"]:
        out = [f"{first}{equals}.", _faster(study, choice)]
    else:
        alone = f"; nothing that qualifies comes within {share:.0%} of its time"
        out = [f"{first}{equals or alone}."]
    if (
        lean.name not in (start.name, fast.name)
        and lean[choice.memory] < 0.8 * start[choice.memory]
    ):
        out.append(
            f"**If memory binds, {study.name(lean)}** needs {short(lean[choice.memory])} MiB, "
            f"{_ratio(lean, start, choice.memory)} what {study.name(start)} does, at "
            f"{_ratio(lean, start, 'step_time_ms')} its time{_fidelity(lean)}"
            f"{_learns_less(choice, lean)}."
        )
    return out


def other_sentences(study: Study) -> list[str]:
    """What to start with for the networks, tasks and devices that the verdict is not of, each at
    its own richest and largest setting.
    """
    what = ["model", "task", "device"]
    found = settings(study)
    best: dict[tuple[str, ...], Choice] = {}
    for choice in found:
        best.setdefault(tuple(str(choice.cells.iloc[0][s]) for s in what), choice)
    out = []
    for choice in list(best.values())[1:]:
        start = choice.start
        alone = len(choice.cells) == 1
        said = "only one way was timed," if alone else "start with"
        out.append(
            f"For {study.whole_setting(start)}: {said} **{study.name(start)}**, "
            f"{interval(start, 'step_time_ms')} ms a training step{_memory(start, choice.memory)}"
            f"{_fidelity(start)}{_accuracy(start)}{_caveat(study, start)}."
        )
    left = len(out) - MOST_NAMED
    more = f"{left} more networks, tasks or devices were timed; “At other sizes” has them."
    return out if left <= 1 else [*out[:MOST_NAMED], more]


def _faster(study: Study, choice: Choice) -> str:
    """What is faster than the recommended way, and why it is not recommended."""
    start, fast = choice.start, choice.fast
    cosine, cost = fast["grad_cosine"], _learns_less(choice, fast)
    if cosine < FAITHFUL:
        need = "an approximate gradient"
        lack = f"its gradient's cosine to BPTT's, {short(cosine)}, misses the {FAITHFUL} asked for"
    elif cosine != cosine and start["grad_cosine"] == start["grad_cosine"]:
        need, lack = "an unknown gradient", "its gradient was not compared with BPTT's"
    else:
        need, lack, cost = "learning less", cost.removeprefix(", and "), ""
    others = choice.cells[choice.cells["flaw"].eq("")].drop(index=start.name, errors="ignore")
    return (
        f"**If {need} will do, {study.name(fast)}** takes "
        f"{_ratio(fast, start, 'step_time_ms')} that time; {lack}{cost}"
        f"{_alike(study, others, fast)}."
    )


def _learns_less(choice: Choice, cell: pd.Series) -> str:
    """What a way costs in what training comes to; "" where the intervals do not tell."""
    metric = learned(choice.cells)
    if not behind(choice.cells, metric)[cell.name]:
        return ""
    values = choice.cells[metric]
    best = values.min() if metric == "loss_final" else values.max()
    ends = f"{short(cell[metric])}, behind the best, {short(best)}"
    return f", and its {heading(metric)} ends at {ends}"


def _alike(study: Study, cells: pd.DataFrame, cell: pd.Series) -> str:
    """Which others of these cells take as long as this one; "" for none."""
    share = bar(study.noise)
    others = cells.drop(index=cell.name).sort_values("step_time_ms")
    ratio = others["step_time_ms"] / cell["step_time_ms"]
    near = others[ratio.between(1 / (1 + share), 1 + share)]
    names = [study.name(other) for _, other in near.iterrows()]
    return f"; as fast within {share:.0%}: {listed(names)}" if names else ""


def backend_sentences(study: Study) -> list[str]:
    """How the libraries compare that computed the same algorithm under the same settings."""
    out = []
    for algo, group in timed(study).groupby("algo", sort=True):
        names = sorted(group["backend"].unique())
        base = REFERENCE if REFERENCE in names else names[0]
        told, unlike = [], 0
        for other in (n for n in names if n != base):
            found = pairs(study, group, "backend", other, base)
            sound = found["flaw"].eq("") & found["flaw_base"].eq("")
            same = sound & ~found["cosine_gap"].gt(SAME_COSINE)
            unlike += int((~same).sum())
            for variant, part in found[same].groupby("variant", sort=True):
                options = variant.removeprefix(str(algo))
                told.append(
                    f"{other}{options} takes {spanned(part['time'])} its time"
                    f"{_memory_spanned(part, study.memory)} ({_counted(len(part))})"
                )
        if told:
            without = f"; without {_counted(unlike)} whose gradients differ" if unlike else ""
            out.append(
                f"**{algo}** against {base}'s with the same settings: {'; '.join(told)}{without}."
            )
    return out


def bptt_sentences(study: Study, choice: Choice) -> list[str]:
    """What the online algorithms cost over BPTT with the same settings."""
    cells = comparable(study)
    here = cells[cells.index.isin(choice.cells.index)]
    told = []
    for algo in sorted(a for a in here["algo"].unique() if not a.startswith("bptt")):
        found = pairs(study, here, "algo", algo, "bptt").sort_values("time")
        if found.empty:
            continue
        shown = found if len(found) <= MOST_NAMED else found.iloc[[0, -1]]
        varied = [w for w in ("batching", "backend") if choice.cells[w].nunique() > 1]
        costs = []
        for _, pair in shown.iterrows():
            where = [pair["variant"].removeprefix(algo).strip(), *(pair[w] for w in varied)]
            label = " ".join(filter(None, where))
            memory = _memory_spanned(pair.to_frame().T, choice.memory)
            costs.append(f"{times(pair['time'])} its time{memory}" + f" ({label})" * bool(label))
        span = " to ".join(costs) if len(shown) < len(found) else ", ".join(costs)
        told.append(f"{algo} takes {span}")
    return [f"Against BPTT with the same settings: {'; '.join(told)}."] if told else []


def learning_sentences(study: Study, choice: Choice) -> list[str]:
    """What training came to: the best, what is not told apart from it, and what is behind."""
    metric = learned(choice.cells)
    cells = choice.cells.dropna(subset=[metric] if metric else [])
    cells = cells.drop_duplicates(["variant", "backend"])
    if not metric or len(cells) < 2:
        return []
    cells = cells.sort_values(metric, ascending=metric == "loss_final")
    told = [(study.name(cell, batching=False), short(cell[metric])) for _, cell in cells.iterrows()]
    if cells[f"{metric}_lo"].isna().any():
        each = listed([f"{figure} under {name}" for name, figure in told])
        return [
            f"After training, {heading(metric)} is {each}; no interval of it is known, so none "
            "is called better."
        ]
    late = behind(cells, metric)
    figures = [f"{name} ({figure})" for name, figure in told]
    alike = [text for text, after in zip(figures[1:], late[1:], strict=True) if not after]
    after = [text for text, after in zip(figures, late, strict=True) if after]
    return [
        f"After training, {heading(metric)} is {interval(cells.iloc[0], metric)} under {told[0][0]}"
        + (f"; not told apart from it: {', '.join(alike)}" if alike else "")
        + (f"; behind it: {', '.join(after)}" if after else "")
        + "."
    ]


def health_sentences(study: Study) -> list[str]:
    """Which networks do not train as they should, at any setting, and what is wrong with them."""
    cells = judged(study)
    found = []
    for (model, flaw), some in cells[cells["flaw"].ne("")].groupby(["model", "flaw"], sort=True):
        under = sorted({study.name(cell, batching=False) for _, cell in some.iterrows()})
        found.append(f"**{model} is not healthy under {listed(under)}**: {flaw}.")
    more = f"{len(found) - 3} more ways of training are not healthy; the tables name them."
    return found[:3] + [more] * (len(found) > 3)


def growth_sentences(study: Study) -> list[str]:
    """How memory grows with the length of the sequence, and where lines of memory cross."""
    axis = "n_steps"
    grown: dict[str, str] = {}
    covered: dict[str, list[str]] = {}
    for law in laws(study):
        if law.axis == axis and law.metric in ("memory_peak_mib", "memory_temp_mib"):
            if law.untested:
                names = covered.setdefault(law.untested, [])
                names += [law.variant] * (law.variant not in names)
                continue
            before, end = law.law.x[-2:]
            grown.setdefault(
                law.variant, f"{times((end / before) ** law.law.top)} under {law.variant}"
            )
            spanned_sizes = f"From T = {before:.0f} to {end:.0f}"
    # XLA's sum holds the data, which grow under every algorithm; its temporaries do not.
    what = "memory grows" if study.memory == "memory_peak_mib" else "temporaries grow"
    out = [f"{spanned_sizes} {what} {', '.join(list(grown.values())[:5])}."] if grown else []
    out += [
        f"How memory grows beyond one window is not tested under {listed(names)}: {why}."
        for why, names in covered.items()
    ]
    for m in meetings(study):
        if m.axis == axis and m.metric == study.memory and len(out) < 2 + len(covered):
            where = f" ({m.slice})" if m.slice else ""
            out.append(
                f"{m.second} needs less memory than {m.first} from about T = {short(m.cross.at)} "
                f"on{where}."
            )
    return out


def batching_sentences(study: Study) -> list[str]:
    """How vmap and one sample at a time compare with manual batching, for each library."""
    out = []
    cells = comparable(study)
    for other, words in (("vmap", "vmap"), ("single", "one sample at a time")):
        found = pairs(study, cells, "batching", other, "manual")
        told = [
            _batching(part, bar(study.noise), f" under {backend}" * (found.backend.nunique() > 1))
            for backend, part in found.groupby("backend", sort=True)
        ]
        if told:
            out.append(f"Batching with **{words}** takes {'; '.join(told)}.")
    return out


def _batching(found: pd.DataFrame, alike: float, under: str) -> str:
    over = f" over {_counted(len(found))} of cells{under}"
    grown = growth(found, alike)
    if grown:
        axis, means = grown
        (first, low), (last, high) = ((means.index[i], means.iloc[i]) for i in (0, -1))
        symbol = SYMBOLS[axis]
        return (
            f"from {times(low)} manual's time at {symbol} = {first} to {times(high)} at "
            f"{symbol} = {last}{over}"
        )
    ratio = mean_ratio(found["time"])
    ends = f" [{short(ratio.low)}, {short(ratio.high)}]" if ratio.pairs >= 3 else ""
    centre = times(ratio.centre) if ends else spanned(found["time"])
    tail = ""
    if max(-np.log(ratio.low), np.log(ratio.high)) < np.log1p(alike):
        tail = f" (alike within {alike:.0%})"
    elif ratio.low < 1 < ratio.high:
        tail = " (which is faster is not decided)"
    return f"{centre} manual's time{ends}{over}{tail}"


def interval(cell: pd.Series, metric: str) -> str:
    """A figure with its interval: "3.1 [3.0, 3.2]"; without one where none was recorded."""
    low, high = cell.get(f"{metric}_lo", np.nan), cell.get(f"{metric}_hi", np.nan)
    text = short(cell[metric])
    return f"{text} [{short(low)}, {short(high)}]" if low == low and low != high else text


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    if more <= 1:  # to name one more takes no longer than to count it
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMED])} and {more} more"


def spanned(ratios: pd.Series) -> str:
    """Ratios from the least to the greatest: "1.2× to 3.4×", one figure where they read alike."""
    low, high = times(float(ratios.min())), times(float(ratios.max()))
    return low if low == high else f"{low} to {high}"


def _counted(n: int) -> str:
    return f"{n} {'pair' if n == 1 else 'pairs'}"


def _memory_spanned(found: pd.DataFrame, metric: str) -> str:
    """The ratios of memory of pairs; nothing where one is unknown."""
    base = found[f"{metric}_base"].astype("float64")
    ratios = found[metric].astype("float64") / base.where(base > 0)
    return f" and {spanned(ratios)} its memory" if ratios.notna().all() else ""


def _ratio(cell: pd.Series, base: pd.Series, metric: str) -> str:
    return times(cell[metric] / base[metric]) if base[metric] else "–"


def _memory(cell: pd.Series, metric: str) -> str:
    return f", {short(cell[metric])} MiB" if cell[metric] == cell[metric] else ""


def _fidelity(cell: pd.Series) -> str:
    cosine = cell["grad_cosine"]
    if cell["algo"] == "bptt":
        return ""
    return f", gradient cosine {short(cosine)} to BPTT's" if cosine == cosine else ""


def _accuracy(cell: pd.Series) -> str:
    found = cell["test_accuracy"]
    return f", test accuracy {interval(cell, 'test_accuracy')}" if found == found else ""


def _caveat(study: Study, cell: pd.Series) -> str:
    """What is wrong with a way that is recommended for want of a better one."""
    flaw = f" (not healthy: {cell['flaw']})" if cell["flaw"] else ""
    guessing = no_better_than_chance(study, cell)
    flaw += f" ({guessing})" if guessing else ""
    low = cell["grad_cosine"] < FAITHFUL
    return f"{flaw} (no gradient reaches a cosine of {FAITHFUL})" if low else flaw
