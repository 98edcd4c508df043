"""The claims of the tutorials."""

from __future__ import annotations

from collections import Counter

from reports import document as d
from reports.claims import answer_all
from reports.study import Study

_LATER = {"not decided": 1, "not tested here": 2}  # what was answered comes first


def claims(study: Study) -> d.Section:
    answers = answer_all(study)
    counts: Counter[str] = Counter(a.finding.verdict for a in answers)
    told = ", ".join(
        f"{counts[verdict]} {one if counts[verdict] == 1 else more}"
        for verdict, one, more in (
            ("holds", "holds", "hold"),
            ("does not hold", "does not", "do not"),
            ("not decided", "was tested and not decided", "were tested and not decided"),
            ("not tested here", "was not tested here", "were not tested here"),
        )
    )
    return d.Section(
        "claims",
        "Claims",
        [
            d.Words(
                f"What the tutorials say, in our words, and what these records say to it: {told}. "
                "The algorithms are judged by the core's rows, not by other libraries'. "
                "Brackets are 95 % intervals, and after a number of pairs the smallest and the "
                "largest follow; the keys name the rows behind each answer."
            ),
            d.Claims(sorted(answers, key=lambda a: _LATER.get(a.finding.verdict, 0))),
        ],
    )
