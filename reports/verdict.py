"""The first screen: which algorithm and batching to use, in sentences, and the one table behind
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from reports.columns import SETTINGS, SIZES, heading
from reports.laws import laws, meetings
from reports.noise import bar
from reports.study import Study
from reports.text import short, times

# A gradient this close to BPTT's is called faithful. The angle is 18 degrees.
FAITHFUL = 0.95
# What training came to, the most telling first; the table shows the first that was recorded.
LEARNED = ("test_accuracy", "accuracy", "loss_final")
WAYS = ("algo", "batching", "backend")
HELD = [s for s in SETTINGS if s not in WAYS]


@dataclass(frozen=True)
class Answer:
    """What to use, for one setting of model, task and sizes.

    Args:
        setting: the setting in words.
        sentences: the verdict; ``**`` marks what is bold.
        head, rows: the table; the first column names the way of computing.
        keys: keys of the records behind it, per row of the table.
        note: how the table and the choice were made.
    """

    setting: str
    sentences: list[str]
    head: list[str]
    rows: list[list[str]]
    keys: list[list[str]]
    note: str


@dataclass(frozen=True)
class Choice:
    """The cells of one setting and the winners among them."""

    cells: pd.DataFrame
    memory: str
    start: pd.Series
    fast: pd.Series
    lean: pd.Series


def answer(study: Study) -> Answer | None:
    """The verdict at the richest, then largest setting; None where nothing could be timed."""
    choices = settings(study)
    if not choices:
        return None
    choice = choices[0]
    cells = choice.cells.sort_values("step_time_ms")
    memory = [choice.memory] if cells[choice.memory].notna().any() else []
    head = ["use", heading("step_time_ms"), "times the fastest", *map(heading, memory)]
    learned = [m for m in LEARNED if cells[m].notna().any()][:1]
    shown = [*(["grad_cosine"] if cells["grad_cosine"].notna().any() else []), *learned]
    rows = [
        [
            study.name(c),
            interval(c, "step_time_ms"),
            short(c["step_time_ms"] / choice.fast["step_time_ms"]),
            *(interval(c, m) for m in (*memory, *shown)),
            badges(study, choice, c),
        ]
        for _, c in cells.iterrows()
    ]
    return Answer(
        setting=study.whole_setting(choice.cells.iloc[0]),
        sentences=[
            *_choice_sentences(study, choice),
            *_learning_sentence(choice),
            *_health_sentences(study),
            *_growth_sentences(study),
            *_batching_sentences(study),
        ],
        head=[*head, *map(heading, shown), "best at"],
        rows=rows,
        keys=cells["keys"].tolist(),
        note=_note(study, choice),
    )


@lru_cache(maxsize=2)
def settings(study: Study) -> list[Choice]:
    """The settings under which algorithms can be compared, the richest and largest first."""
    cells = study.cells
    if cells.empty:
        return []
    timed = cells[cells["step_time_ms"].gt(0)]
    groups = [group for _, group in timed.groupby(HELD, dropna=False)]
    size = [
        (g["variant"].nunique(), len(g), np.prod([float(g[s].iloc[0]) for s in SIZES]))
        for g in groups
    ]
    order = sorted(range(len(groups)), key=lambda i: size[i], reverse=True)
    return [_choose(groups[i], study.memory) for i in order]


def _choose(cells: pd.DataFrame, memory: str) -> Choice:
    healthy = cells[cells["health"].eq("")]
    pool = healthy if len(healthy) else cells
    fast = pool.loc[pool["step_time_ms"].idxmin()]
    # Of those that need the same memory, the fastest.
    small = pool[pool[memory] <= 1.02 * pool[memory].min()]
    lean = small.loc[small["step_time_ms"].idxmin()] if len(small) else fast
    # Where no fidelity was recorded, speed decides alone, and the sentence claims none.
    faithful = pool[pool["grad_cosine"].ge(FAITHFUL)]
    start = faithful.loc[faithful["step_time_ms"].idxmin()] if len(faithful) else fast
    return Choice(cells, memory, start, fast, lean)


def _choice_sentences(study: Study, choice: Choice) -> list[str]:
    start, fast, lean = choice.start, choice.fast, choice.lean
    out = [
        f"**Start with {study.name(start)}**: {interval(start, 'step_time_ms')} ms a training step"
        f"{_memory(start, choice.memory)}{_fidelity(start)}."
    ]
    near = 1 + bar(study.noise)
    if fast["step_time_ms"] * near < start["step_time_ms"]:
        out.append(
            f"**If an approximate gradient will do, {study.name(fast)}** takes "
            f"{_ratio(fast, start, 'step_time_ms')} that time{_fidelity(fast)}."
        )
    else:
        out[0] = out[0][:-1] + "; nothing was faster here."
    if (
        lean.name not in (start.name, fast.name)
        and lean[choice.memory] < 0.8 * start[choice.memory]
    ):
        out.append(
            f"**If memory binds, {study.name(lean)}** needs {short(lean[choice.memory])} MiB, "
            f"{_ratio(lean, start, choice.memory)} what {study.name(start)} does, at "
            f"{_ratio(lean, start, 'step_time_ms')} its time{_fidelity(lean)}."
        )
    out += _against_bptt(study, choice)
    return out


def _against_bptt(study: Study, choice: Choice) -> list[str]:
    bptt = choice.cells[choice.cells["algo"].eq("bptt")]
    others = choice.cells[~choice.cells["algo"].str.startswith("bptt")]
    if bptt.empty or others.empty:
        return []
    base, memory = bptt.loc[bptt["step_time_ms"].idxmin()], choice.memory
    parts = [
        f"{name} takes {_ratio(best, base, 'step_time_ms')} its time"
        + (f" and {_ratio(best, base, memory)} its memory" if base[memory] > 0 else "")
        for name, group in others.groupby("variant")
        for best in [group.loc[group["step_time_ms"].idxmin()]]
    ]
    return [
        f"Against BPTT's best ({interval(base, 'step_time_ms')} ms{_memory(base, memory)}): "
        f"{'; '.join(parts[:4])}."
    ]


def _learning_sentence(choice: Choice) -> list[str]:
    """What training came to under each variant, the best first."""
    for metric in LEARNED:
        cells = choice.cells.dropna(subset=[metric]).drop_duplicates("variant")
        if len(cells) > 1:
            best_first = cells.sort_values(metric, ascending=metric == "loss_final")
            told = [f"{interval(c, metric)} under {c['variant']}" for _, c in best_first.iterrows()]
            return [f"After training, {heading(metric)} is {', '.join(told[:6])}."]
    return []


def _health_sentences(study: Study) -> list[str]:
    """Which networks do not train as they should, at any setting, and what is wrong with them."""
    sick = study.cells[study.cells["health"].ne("")]
    found = []
    for (model, health), cells in sick.groupby(["model", "health"], sort=True):
        under = ", ".join(sorted(cells["variant"].unique()))
        found.append(f"**{model} is not healthy under {under}**: {health}.")
    return found[:3]


def _growth_sentences(study: Study) -> list[str]:
    """How memory grows with the length of the sequence, and where lines of memory cross."""
    axis = "n_steps"
    grown: dict[str, str] = {}
    for law in laws(study):
        if law.axis == axis and law.metric in ("memory_peak_mib", "memory_temp_mib"):
            before, end = law.law.x[-2:]
            grown.setdefault(
                law.variant, f"{times((end / before) ** law.law.top)} under {law.variant}"
            )
            spanned = f"From T = {before:.0f} to {end:.0f}"
    # XLA's sum holds the data, which grow under every algorithm; its temporaries do not.
    what = "memory grows" if study.memory == "memory_peak_mib" else "temporaries grow"
    out = [f"{spanned} {what} {', '.join(list(grown.values())[:5])}."] if grown else []
    for m in meetings(study):
        if m.axis == axis and m.metric == study.memory and len(out) < 2:
            where = f" ({m.slice})" if m.slice else ""
            out.append(
                f"{m.second} needs less memory than {m.first} from about T = {short(m.cross.at)} "
                f"on{where}."
            )
    return out


def _batching_sentences(study: Study) -> list[str]:
    """How vmap and one sample at a time compare with manual batching, over all settings."""
    out = []
    for other, words in (("vmap", "vmap"), ("single", "one sample at a time")):
        found = batching_ratio(study, other)
        if found:
            centre, low, high, pairs = found
            alike = bar(study.noise)
            tail = ""
            if abs(np.log(centre)) < np.log1p(alike):
                tail = ": no difference worth having"
            elif low < 1 < high:
                tail = ": which is faster is not decided"
            out.append(
                f"Batching with **{words}** takes {times(centre)} manual's time"
                f"{f' [{short(low)}, {short(high)}]' if low == low else ''} "
                f"over {pairs} {'pair' if pairs == 1 else 'pairs'} of cells{tail}."
            )
    return out


def batching_ratio(study: Study, other: str) -> tuple[float, float, float, int] | None:
    """(geometric mean, low, high, pairs) of the time of `other` batching over manual's."""
    keys = [*HELD, "variant", "backend"]
    cells = study.cells[[*keys, "batching", "step_time_ms"]].dropna(subset=["step_time_ms"])
    ways = cells.pivot_table(index=keys, columns="batching", values="step_time_ms", dropna=True)
    if not {"manual", other} <= set(ways.columns):
        return None
    logs = np.log((ways[other] / ways["manual"]).dropna().to_numpy(dtype=float))
    if not len(logs):
        return None
    half = (
        stdtrit(len(logs) - 1, 0.975) * logs.std(ddof=1) / np.sqrt(len(logs))
        if len(logs) > 1
        else np.nan
    )
    centre, low, high = (
        float(np.exp(v)) for v in (logs.mean(), logs.mean() - half, logs.mean() + half)
    )
    return centre, low, high, len(logs)


def badges(study: Study, choice: Choice, cell: pd.Series) -> str:
    """What this cell is best at, ties within the noise included."""
    near = 1 + bar(study.noise)
    found = []
    if cell["step_time_ms"] <= near * choice.fast["step_time_ms"]:
        found.append("speed")
    if cell[choice.memory] <= 1.02 * choice.lean[choice.memory]:
        found.append("memory")
    for metric, word in (("grad_cosine", "gradient"), ("test_accuracy", "accuracy")):
        best = choice.cells[metric].max()
        if cell[metric] == cell[metric] and cell[metric] >= best - 0.005:
            found.append(word)
    return ", ".join(found) + (f"; {cell['health']}" if cell["health"] else "")


def interval(cell: pd.Series, metric: str) -> str:
    """A figure with its interval: "3.1 [3.0, 3.2]"; without one where none was recorded."""
    low, high = cell.get(f"{metric}_lo", np.nan), cell.get(f"{metric}_hi", np.nan)
    text = short(cell[metric])
    return f"{text} [{short(low)}, {short(high)}]" if low == low and low != high else text


def _ratio(cell: pd.Series, base: pd.Series, metric: str) -> str:
    return times(cell[metric] / base[metric]) if base[metric] else "–"


def _memory(cell: pd.Series, metric: str) -> str:
    return f", {short(cell[metric])} MiB" if cell[metric] == cell[metric] else ""


def _fidelity(cell: pd.Series) -> str:
    cosine = cell["grad_cosine"]
    if cell["algo"] == "bptt":
        return ""
    return f", gradient cosine {short(cosine)} to BPTT's" if cosine == cosine else ""


def _note(study: Study, choice: Choice) -> str:
    found = study.noise
    floor = (
        f"Two processes of one cell differ by up to {found.ratio:.1%} in time (95 % of "
        f"{found.pairs} pairs), so times within {bar(found):.0%} count as alike."
        if found
        else "No cell was repeated, so this machine's noise is unknown and times within "
        f"{bar(found):.0%} count as alike; repeats=5 would tell."
    )
    n = int(choice.cells["n"].min())
    disturbed = int(study.ok["shared_with"].gt(0).sum())
    busy = (
        f" **{disturbed} of {len(study.ok)} cells were timed while other cells ran on the same "
        "device**: their times are not theirs alone (Problems lists them)."
        if disturbed
        else ""
    )
    return (
        f"One row per way of computing, each from {n} {'process' if n == 1 else 'processes'}; "
        "brackets are 95 % intervals"
        f"{' inside that one process' if n == 1 else ''}. "
        f"To start with: the fastest whose gradient has cosine {FAITHFUL} or more to BPTT's "
        f"(where recorded) and whose training is healthy. {floor}{busy}"
    )
