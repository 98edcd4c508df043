"""What a report says: the sections, from the verdict down to the problems."""

from __future__ import annotations

from collections.abc import Iterable

from reports import document as d
from reports.records.columns import describe
from reports.sections.claims import claims
from reports.sections.method import environment, method
from reports.sections.plots import plots
from reports.sections.problems import problems
from reports.sections.scaling import scaling
from reports.sections.verdict import elsewhere, verdict
from reports.study import Study


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


def results(study: Study) -> d.Section:
    table = study.table
    blocks: list[d.Block] = []
    if table["limit_ratio"].lt(1).any():
        blocks.append(
            d.Words(
                f"“{describe('limit_ratio').title}” below 1 means that the floor was measured "
                "while the machine was busier: read it as a relative figure only."
            )
        )
    if study.disagreements:
        doubt = table["key"].map(study.disagreements).fillna("")
        table = table.assign(memory_doubt=doubt.astype("string"))
    return d.Section("results", "All cells", [*blocks, d.Results(table)])


def _question(study: Study) -> str:
    questions = list(dict.fromkeys(study.sweeps.questions.values()))
    return questions[0] if len(questions) == 1 else "Which one should I use?"


def _machines(study: Study) -> str:
    names = sorted(
        {str((r.get("provenance") or {}).get("processor") or "") for r in study.sweeps.records}
        - {""}
    )
    return names[0] if len(names) == 1 else f"{len(names)} machines" if names else ""
