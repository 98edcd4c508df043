"""The first screen, and the same choice at the other settings."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from reports import document as d
from reports.choice import settings
from reports.sentences import interval
from reports.study import Study
from reports.text import short
from reports.verdict import answer

MOST_SETTINGS = 12  # rows of the table of other settings


def verdict(study: Study) -> d.Section:
    found = answer(study)
    if found is None:
        counts = Counter(study.table["status"])
        told = ", ".join(f"{n} {status}" for status, n in counts.most_common())
        return d.Section(
            "verdict",
            "Verdict",
            [
                d.Words(
                    f"**No answer: none of the {len(study.table)} cells was timed** ({told}). "
                    "The reasons are under Problems.",
                    lead=True,
                )
            ],
        )
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
            d.Words(found.note),
        ],
    )


def elsewhere(study: Study) -> d.Section:
    """The winners at each of the other settings."""
    choices = settings(study)
    choices = [c for c in choices if len(c.cells) > 1]
    if len(choices) < 2:
        return d.Section("settings", "At other sizes")
    rows = [
        [
            study.setting(c.cells.iloc[0]) or "this sweep",
            *_winner(study, c.start, "step_time_ms"),
            *_winner(study, c.fast, "step_time_ms"),
            *_winner(study, c.lean, c.memory),
        ]
        for c in choices
    ]
    more = f" The {MOST_SETTINGS} largest of {len(rows)}." if len(rows) > MOST_SETTINGS else ""
    return d.Section(
        "settings",
        "At other sizes",
        [
            d.Words(
                "The same choice at every setting where more than one way of computing was timed: "
                "what to start with, the fastest, and the one that needs the least memory, each "
                "with the cosine of its gradient to BPTT's." + more
            ),
            d.Table(
                [
                    "setting",
                    *("start with", "ms", "cosine"),
                    *("fastest", "ms", "cosine"),
                    *("least memory", "MiB", "cosine"),
                ],
                rows[:MOST_SETTINGS],
                numeric=(2, 3, 5, 6, 8, 9),
            ),
        ],
    )


def _winner(study: Study, cell: pd.Series, metric: str) -> list[str]:
    name = study.name(cell) + (" (not healthy)" if cell["flaw"] else "")
    return [name, interval(cell, metric), short(cell["grad_cosine"])]
