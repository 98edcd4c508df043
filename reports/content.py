"""What a report says: the sections, from the verdict down to the environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from reports import document as d
from reports.claims import answer_all
from reports.columns import EXTRA_METRICS, METRICS, SIZES, describe, heading
from reports.laws import Law, laws, meetings
from reports.study import Study
from reports.text import short
from reports.verdict import answer, interval, settings

# The peak holds these; they are told apart on demand.
_FOLDED = ("memory_temp_mib",)
MOST_SETTINGS = 12  # rows of the table of other settings


def build(
    study: Study, figures: Iterable[d.Figure], not_drawn: Iterable[tuple[str, str]]
) -> d.Document:
    """The whole report of a study."""
    experiments = sorted(set(study.table["experiment"]) - {""})
    n = len(study.table)
    sections = [
        verdict(study),
        elsewhere(study),
        plots(figures, not_drawn),
        scaling(study),
        claims(study),
        results(study),
        method(study),
        environment(study),
        problems(study),
    ]
    return d.Document(
        title=_question(study),
        subtitle=" · ".join(
            filter(
                None,
                [
                    ", ".join(experiments[:4]),
                    f"{n} cells" if n != 1 else "1 cell",
                    _machines(study),
                ],
            )
        ),
        sections=[s for s in sections if s.blocks],
    )


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
    first = [d.Words(f"For {found.setting}.")]
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
            study.name(c.start),
            interval(c.start, "step_time_ms"),
            study.name(c.fast),
            interval(c.fast, "step_time_ms"),
            study.name(c.lean),
            interval(c.lean, c.memory),
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
                "what to start with, the fastest, and the one that needs the least memory." + more
            ),
            d.Table(
                ["setting", "start with", "ms", "fastest", "ms", "least memory", "MiB"],
                rows[:MOST_SETTINGS],
                numeric=(2, 4, 6),
            ),
        ],
    )


def plots(figures: Iterable[d.Figure], not_drawn: Iterable[tuple[str, str]]) -> d.Section:
    blocks: list[d.Block] = []
    last = ""
    for figure in figures:
        if figure.plot.section != last:
            blocks.append(d.Heading(figure.plot.section))
            last = figure.plot.section
        blocks.append(figure)
    lacking = [f"**{title}**: {why}." for title, why in not_drawn]
    if lacking:
        blocks += [d.Heading("Not drawn"), d.Items(lacking)]
    return d.Section("plots", "Plots", blocks)


def scaling(study: Study) -> d.Section:
    found, crossings = laws(study), meetings(study)
    if not found:
        return d.Section(
            "scaling",
            "Scaling laws",
            [
                d.Words(
                    "No algorithm ran at three sizes of any axis with everything else equal, so "
                    "no exponent "
                    "can be fitted with an interval."
                )
            ],
        )
    blocks: list[d.Block] = [
        d.Words(
            "Each exponent p says that the quantity grows as size to the power p over the sizes "
            "measured "
            "(least squares on logarithms, 95 % Student intervals). Theory speaks of large "
            "sizes; at small "
            "ones fixed costs flatten a curve, which the exponent between the two largest sizes "
            "shows."
        )
    ]
    for metric in dict.fromkeys(law.metric for law in found):
        rows = [_law_row(law) for law in found if law.metric == metric]
        blocks.append(
            d.Table(
                [
                    "series",
                    "in",
                    "exponent",
                    "95 % interval",
                    "at the top",
                    "theory",
                    "reading",
                    "points",
                ],
                rows,
                numeric=(2, 3, 4, 5, 7),
                caption="" if metric in _FOLDED else heading(metric),
                folded=f"The same for {describe(metric).title}" if metric in _FOLDED else "",
            )
        )
    if crossings:
        blocks += [
            d.Heading("Where two of them cost the same"),
            d.Table(
                ["of", "setting", "cheaper below", "cheaper above", "crosses at", "95 % interval"],
                [
                    [
                        heading(m.metric),
                        m.slice,
                        m.first,
                        m.second,
                        f"{_axis(m.axis)} = {short(m.cross.at)}",
                        _bounds(m.cross.low, m.cross.high),
                    ]
                    for m in crossings
                ],
                numeric=(5,),
            ),
        ]
    return d.Section("scaling", "Scaling laws", blocks)


def _law_row(law: Law) -> list[str]:
    fit = law.law
    if law.theory is None:
        reading = ""
    elif fit.low <= law.theory <= fit.high or abs(fit.exponent - law.theory) < 0.05:
        reading = "as theory says"
    elif abs(fit.top - law.theory) < 0.15:
        reading = "heading there"
    else:
        reading = "less than theory" if fit.exponent < law.theory else "more than theory"
    return [
        law.series,
        _axis(law.axis),
        f"{fit.exponent:.2f}",
        _bounds(fit.low, fit.high, 2),
        f"{fit.top:.2f}",
        "" if law.theory is None else f"{law.theory:g}",
        reading + ("; bent" if fit.bent else ""),
        str(fit.points),
    ]


def _bounds(low: float, high: float, digits: int | None = None) -> str:
    if low != low:
        return "–"
    show = (lambda v: f"{v:.{digits}f}") if digits is not None else short
    left = "…" if low == 0 and digits is None else show(low)
    return f"[{left}, {'…' if high == float('inf') else show(high)}]"


def _axis(axis: str) -> str:
    return {"n_steps": "T", "n_hidden": "H", "batch_size": "B"}.get(axis, axis)


def claims(study: Study) -> d.Section:
    answers = answer_all(study)
    counts = Counter(a.finding.verdict for a in answers)
    told = (
        f"{counts['holds']} hold, {counts['does not hold']} do not, "
        f"{counts['not tested here']} were not tested here"
    )
    return d.Section(
        "claims",
        "Claims",
        [
            d.Words(
                f"What the tutorials say, in our words, and what these records say to it: {told}. "
                "Brackets are 95 % intervals; the keys name the rows behind each answer."
            ),
            d.Claims(sorted(answers, key=lambda a: a.finding.verdict == "not tested here")),
        ],
    )


def results(study: Study) -> d.Section:
    return d.Section("results", "All cells", [d.Results(study.table)])


def method(study: Study) -> d.Section:
    used = [
        c
        for c in (*METRICS, *EXTRA_METRICS)
        if c.name in study.table and study.table[c.name].notna().any()
    ]
    first = study.sweeps.records[0]
    sources = sorted(
        {str((r.get("memory") or {}).get("source") or "") for r in study.sweeps.records} - {""}
    )
    disagreements = [
        str((r.get("memory") or {}).get("disagreement"))
        for r in study.sweeps.records
        if (r.get("memory") or {}).get("disagreement")
    ]
    texts = [
        "Every cell ran in a fresh process. Times are medians of steady-state training steps after "
        "warm-up; tracing, lowering and compilation are measured apart. Intervals are 95 %.",
        "Seeds and repeats of one cell are merged: the median of the processes, with Student's "
        "interval from three processes on; below that with the interval of one process's samples, "
        "which knows nothing of the differences between processes.",
    ]
    if sources:
        texts.append(f"Peak memory was read from: {', '.join(sources)}.")
    if disagreements:
        texts.append(
            f"In {len(disagreements)} cells the sources of memory disagree, such as: "
            f"{disagreements[0]}."
        )
    if first.get("config"):
        texts.append("The whole configuration of every cell is in results.csv as cfg.<path>.")
    return d.Section(
        "method",
        "How it was measured",
        [
            d.Items(texts),
            d.Table(
                ["column", "unit", "what it is"],
                [[c.name, c.unit or "–", c.words] for c in used],
                folded="The columns",
            ),
        ],
    )


def environment(study: Study) -> d.Section:
    """What the machines were, each distinct value once."""
    rows: dict[str, Counter[str]] = {}
    for record in study.sweeps.records:
        for name, value in (record.get("provenance") or {}).items():
            if name == "versions" and isinstance(value, dict):
                for library, version in value.items():
                    rows.setdefault(str(library), Counter())[str(version)] += 1
            else:
                rows.setdefault(name, Counter())[_flat(value)] += 1
    return d.Section(
        "environment",
        "Environment",
        [d.Table(["what", "value"], [[name, _values(counts)] for name, counts in rows.items()])]
        if rows
        else [],
    )


def _flat(value: Any) -> str:
    if isinstance(value, float):
        return short(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _values(counts: Counter[str]) -> str:
    if len(counts) <= 3:
        return "; ".join(
            f"{value or '–'} ({n} cells)" if len(counts) > 1 else value or "–"
            for value, n in counts.most_common()
        )
    try:
        numbers = sorted(float(v) for v in counts)
    except ValueError:
        return f"{len(counts)} different values"
    return f"{short(numbers[0])} to {short(numbers[-1])}"


def problems(study: Study) -> d.Section:
    table, sweeps = study.table, study.sweeps
    failed = table[~table["status"].isin(["ok"])]
    sick = table[table["health"].ne("") & table["status"].eq("ok")]
    blocks: list[d.Block] = []
    label = ["variant", "batching", "batch_size", "n_hidden", "n_steps", "seed", "repeat"]
    head = ["variant", "batching", "B", "H", "T", "seed", "repeat"]
    for title, rows, column in (
        ("Cells without a result", failed, "reason"),
        ("Health warnings", sick, "health"),
    ):
        if len(rows):
            shown = rows.head(200)
            blocks += [
                d.Heading(title),
                d.Table(
                    [*head, "status", column, "key"],
                    [
                        [
                            *(_cell(row[c]) for c in label),
                            row["status"],
                            row[column] or "–",
                            row["key"],
                        ]
                        for _, row in shown.iterrows()
                    ],
                    caption=f"The first 200 of {len(rows)}." if len(rows) > 200 else "",
                ),
            ]
    if sweeps.missing:
        blocks += [
            d.Heading("Planned cells that have no record"),
            d.Words("The sweep was interrupted, or is still running; the same command resumes it."),
            d.Table(
                ["key", *SIZES],
                [[c["key"], *(str(c.get(s, "–")) for s in SIZES)] for c in sweeps.missing[:50]],
            ),
        ]
    if sweeps.corrupt:
        blocks += [
            d.Heading("Files that are not records"),
            d.Table(["file", "problem"], [[str(file), why] for file, why in sweeps.corrupt]),
        ]
    if not blocks:
        blocks = [d.Words("None: every cell gave a result and no health check spoke up.")]
    return d.Section(
        "problems",
        "Problems",
        blocks,
        alert=len(failed[failed["status"].ne("skipped")]) + len(sick) + len(sweeps.corrupt),
    )


def _cell(value: Any) -> str:
    return "–" if value is None or value != value or str(value) == "<NA>" else str(value)


def _question(study: Study) -> str:
    questions = list(dict.fromkeys(study.sweeps.questions.values()))
    return questions[0] if len(questions) == 1 else "Which one should I use?"


def _machines(study: Study) -> str:
    names = sorted(
        {str((r.get("provenance") or {}).get("processor") or "") for r in study.sweeps.records}
        - {""}
    )
    return names[0] if len(names) == 1 else f"{len(names)} machines" if names else ""
