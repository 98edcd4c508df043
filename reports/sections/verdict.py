"""The first screen, and the same choice at the other settings."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from reports import document as d
from reports.choice import EQUAL_MEMORY, by_setting, settings
from reports.records import asked
from reports.records.columns import SYMBOLS, heading
from reports.sentences import growth_sentences, interval
from reports.study import Study
from reports.text import short
from reports.verdict import answer

_OF_MEMORY = ("memory_temp_mib", "etrace_mib")  # beside the memory in all
MOST_SETTINGS = 12  # rows of the table of other settings


def verdict(study: Study) -> d.Section:
    found = answer(study)
    if found is None:
        return d.Section("verdict", "Verdict", _without_times(study))
    alone = len(found.rows) == 1
    first = [d.Words(f"For {found.setting}:")]
    sentences = (
        [
            "**Only one way of computing was measured here, so there is nothing to choose "
            f"between**: {found.rows[0][0]} takes {found.rows[0][1]} ms a training step."
        ]
        if alone
        else found.sentences
    )
    table = d.Table(
        found.head,
        found.rows,
        numeric=range(1, len(found.head) - 1),
        caption="Which one should I use?",
    )
    return d.Section(
        "verdict",
        "Verdict",
        [
            *first,
            d.Words(sentences[0], lead=True),
            *([d.Items(sentences[1:])] if sentences[1:] else []),
            table,
            *([d.Items(found.others)] if found.others else []),
            d.Words(found.note),
        ],
    )


def _without_times(study: Study) -> list[d.Block]:
    """What can be said where no cell was timed: why, and which way needs the least memory."""
    counts = Counter(study.table["status"])
    told = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    cells = f"{len(study.table)} {'cell' if len(study.table) == 1 else 'cells'}"
    if counts["ok"] == 0 or any(asked(r, "timing") for r in study.sweeps.records):
        words = f"**No answer: none of the {cells} was timed** ({told}). The reasons are under "
        return [d.Words(words + "Problems.", lead=True)]
    names = dict.fromkeys(name for r in study.sweeps.records for name in r["config"]["metric"])
    left_out = f"metric=[{','.join(names)}] left it out"
    found = by_setting(study, study.memory)
    if not found:
        return [
            d.Words(f"**Timing was not asked for** ({left_out}), nor memory measured, so there is "
                    f"nothing to choose by ({told}).", lead=True)
        ]  # fmt: skip
    ways = found[0].sort_values(study.memory)
    least = ways.iloc[0]
    one = f"{study.name(least)} needs {short(least[study.memory])} MiB"
    return [
        d.Words(f"For {study.whole_setting(least)}:"),
        d.Words(
            f"**Timing was not asked for** ({left_out}), so no way is called fast. "
            + (f"**Least memory: {one}**." if len(ways) > 1 else f"**{one}**."),
            lead=True,
        ),
        *([d.Items(grown)] if (grown := growth_sentences(study)) else []),
        d.Table(
            ["use", heading(study.memory), "times the least", *map(heading, _OF_MEMORY)],
            [
                [
                    study.name(c),
                    interval(c, study.memory),
                    short(c[study.memory] / least[study.memory]),
                    *(short(c[m]) for m in _OF_MEMORY),
                ]
                for _, c in ways.iterrows()
            ],
            numeric=range(1, 3 + len(_OF_MEMORY)),
            caption="Which one needs the least memory?",
        ),
    ]


def elsewhere(study: Study) -> d.Section:
    """The winners at every setting, those of one network and task together, small ones first."""
    choices = [c for c in settings(study) if len(c.cells) > 1]
    if len(choices) < 2:
        return d.Section("settings", "At other sizes")
    more = (
        f" The {MOST_SETTINGS} with the most ways and the largest sizes of {len(choices)}."
        if len(choices) > MOST_SETTINGS
        else ""
    )
    order = ["model", "task", "device", "n_layers", *SYMBOLS]
    choices = sorted(
        choices[:MOST_SETTINGS], key=lambda c: tuple(c.cells.iloc[0][s] for s in order)
    )
    rows = [
        [
            study.setting(c.cells.iloc[0]) or "this sweep",
            *_winner(study, c.start, "step_time_ms"),
            *_winner(study, c.fast, "step_time_ms"),
            *_winner(study, c.lean, c.memory),
        ]
        for c in choices
    ]
    return d.Section(
        "settings",
        "At other sizes",
        [
            d.Words(
                "The same choice at every setting where more than one way of computing was timed: "
                "what to start with, the fastest, and the one that needs the least memory (the "
                f"fastest of those within {EQUAL_MEMORY:.0%} of the least, which count as equal), "
                "each with the cosine of its gradient to BPTT's." + more
            ),
            d.Table(
                [
                    "setting",
                    *("start with", "ms", "cosine"),
                    *("fastest", "ms", "cosine"),
                    *("least memory", "MiB", "cosine"),
                ],
                rows,
                numeric=(2, 3, 5, 6, 8, 9),
            ),
        ],
    )


def _winner(study: Study, cell: pd.Series, metric: str) -> list[str]:
    name = study.name(cell) + (" (not healthy)" if cell["flaw"] else "")
    return [name, interval(cell, metric), short(cell["grad_cosine"])]
