"""The first screen: which algorithm and batching to use, in sentences, and the one table behind
them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from reports.choice import (
    EQUAL_MEMORY,
    FAITHFUL,
    SAME_COSINE,
    SLACK_MIB,
    Choice,
    behind,
    learned,
    least_memory,
    settings,
)
from reports.noise import bar
from reports.records import asked
from reports.records.columns import heading
from reports.sentences import (
    backend_sentences,
    batching_sentences,
    bptt_sentences,
    choice_sentences,
    growth_sentences,
    health_sentences,
    interval,
    learning_sentences,
    other_sentences,
)
from reports.study import Study
from reports.text import short


@dataclass(frozen=True)
class Answer:
    """What to use, for one setting of model, task and sizes.

    Args:
        setting: the setting in words.
        sentences: the verdict; ``**`` marks what is bold.
        head, rows: the table; the first column names the way of computing.
        keys: keys of the records behind it, per row of the table.
        others: what to use for the networks, tasks and devices that this setting is not of.
        note: how the table and the choice were made.
    """

    setting: str
    sentences: list[str]
    head: list[str]
    rows: list[list[str]]
    keys: list[list[str]]
    others: list[str]
    note: str


def answer(study: Study) -> Answer | None:
    """The verdict at the richest, then largest setting; None where nothing could be timed."""
    choices = settings(study)
    if not choices:
        return None
    choice = choices[0]
    cells = choice.cells.sort_values("step_time_ms")
    memory = [choice.memory] if cells[choice.memory].notna().any() else []
    head = ["use", heading("step_time_ms"), "times the fastest", *map(heading, memory)]
    cosine = ["grad_cosine"] if cells["grad_cosine"].notna().any() else []
    shown = [*cosine, *filter(None, [learned(cells)])]
    best = badges(study, choice)
    rows = [
        [
            study.name(c),
            interval(c, "step_time_ms"),
            short(c["step_time_ms"] / choice.fast["step_time_ms"]),
            *(interval(c, m) for m in (*memory, *shown)),
            best[name],
        ]
        for name, c in cells.iterrows()
    ]
    return Answer(
        setting=study.whole_setting(choice.cells.iloc[0]),
        sentences=[
            *choice_sentences(study, choice),
            *backend_sentences(study),
            *bptt_sentences(study, choice),
            *learning_sentences(study, choice),
            *health_sentences(study),
            *growth_sentences(study),
            *batching_sentences(study),
        ],
        head=[*head, *map(heading, shown), "best at"],
        rows=rows,
        keys=cells["keys"].tolist(),
        others=other_sentences(study),
        note=_note(study, choice),
    )


def badges(study: Study, choice: Choice) -> pd.Series:
    """What each cell is best at, or what is wrong with it.

    Ties within the noise share a badge; one that every cell would get tells nothing and is not
    given. BPTT's gradient is what the others' are held against, and wins nothing.
    """
    cells, metric = choice.cells, learned(choice.cells)
    sound = cells["flaw"].eq("")
    near = 1 + bar(study.noise)
    cosines = cells["grad_cosine"].where(~cells["algo"].eq("bptt") & sound)
    won = {
        "speed": cells["step_time_ms"].le(near * choice.fast["step_time_ms"]),
        "memory": least_memory(cells.where(sound), choice.memory),
        "gradient": cosines.ge(cosines.max() - SAME_COSINE).where(cosines.notna()),
        heading(metric): ~behind(cells[sound], metric).reindex(cells.index, fill_value=True),
    }
    out = cells["flaw"].copy()
    for word, mask in won.items():
        if mask[sound].dropna().eq(False).any():  # else it tells none of them apart
            for name in mask.index[sound & mask.eq(True)]:
                out[name] = f"{out[name]}, {word}" if out[name] else word
    return out


def _note(study: Study, choice: Choice) -> str:
    parts = [
        f"One row per way of computing, {_of_processes(choice)}{_of_sample(choice)}. "
        f"To start with: the fastest whose gradient has cosine {FAITHFUL} or more to BPTT's (where "
        f"recorded), whose training is healthy{_of_health(study)} and whose test accuracy is not "
        f"behind the best. {_floor(study)}",
        *_of_memory(study, choice),
        *_of_jax(study),
        *_of_steadiness(study),
    ]
    if not study.ok["algo"].eq("bptt").any():
        parts.append("BPTT was not measured, so times and memory have no baseline.")
    disturbed = int(study.ok["shared_with"].gt(0).sum())
    if disturbed:
        parts.append(
            f"**{disturbed} of {len(study.ok)} cells were timed while other cells ran on the same "
            "device**: their times are not theirs alone (Problems lists them)."
        )
    return " ".join(parts)


def _of_processes(choice: Choice) -> str:
    """How many processes a row is from, and what its brackets are intervals of."""
    least, most = int(choice.cells["n"].min()), int(choice.cells["n"].max())
    if most == 1:
        return "each from 1 process; brackets are 95 % intervals inside that one process"
    count = str(most) if least == most else f"{least} to {most}"
    alone = ", inside the process where there is one" if least == 1 else ""
    wide = " (wide from so few; repeats=5 narrows them)" if least < 3 else ""
    return (
        f"each from {count} processes (repeats and seeds); brackets are Student's 95 % intervals "
        f"between them{alone}{wide}"
    )


def _floor(study: Study) -> str:
    found = study.noise
    return (
        f"Two processes of one cell differ by up to {found.ratio:.1%} in time (95 % of "
        f"{found.pairs} pairs), so times within {bar(found):.0%} count as alike."
        if found
        else "No cell was repeated, so this machine's noise is unknown and times within "
        f"{bar(found):.0%} count as alike; repeats=5 would tell."
    )


def _of_health(study: Study) -> str:
    unknown = not any(asked(r, "health") for r in study.sweeps.records)
    return " (which was not measured here)" if unknown else ""


def _of_sample(choice: Choice) -> str:
    """What the intervals of test accuracies hold."""
    if choice.cells["test_accuracy_lo"].isna().all():
        return ""
    return (
        "; a test accuracy's covers its sample of test data and, from two seeds on, the spread "
        "between them"
    )


def _of_memory(study: Study, choice: Choice) -> list[str]:
    slack = f" or {SLACK_MIB:g} MiB" if choice.memory == "memory_peak_mib" else ""
    equal = f"Memories within {EQUAL_MEMORY:.0%}{slack} count as equal."
    if choice.memory == study.memory:
        return [equal] if choice.cells[choice.memory].notna().any() else []
    return [
        equal,
        "Memory here is the measured peak, which pages and slack blur by half a MiB: XLA's account "
        "of one sample at a time is of one call, not of a step."
    ]


def _of_jax(study: Study) -> list[str]:
    """Which libraries ran on another version of jax than most cells: it is what compiles."""
    versions = {
        key: str(((r.get("provenance") or {}).get("versions") or {}).get("jax") or "")
        for key, r in study.by_key.items()
    }
    table = study.ok.assign(jax=study.ok["key"].map(versions))
    counts = Counter(table["jax"])
    if len(counts) < 2:
        return []
    most = counts.most_common(1)[0][0]
    others = table[table["jax"].ne(most)].groupby(["backend", "jax"]).size().index
    told = ", ".join(f"{backend} on {version or 'unknown'}" for backend, version in others)
    return [f"Not all ran on the same jax: {told}, the rest on {most}."]


def _of_steadiness(study: Study) -> list[str]:
    n = int(study.ok["steady"].eq(0).sum())
    one = "cell was" if n == 1 else "cells were"
    return [f"{n} {one} timed before the steps had become steady (steady = 0)."] if n else []
