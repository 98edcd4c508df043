"""A comparison as text for people, Markdown for a pull request, and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from reports.compare.result import Comparison, Line
from reports.records.columns import heading
from reports.text import one_blank_line, short, templates

_HEAD = ["cell", "metric", "base", "head", "change", "95 % interval", "could have seen", "verdict"]
MOST = 30  # lines of each kind in a text; JSON has all


def headline(found: Comparison) -> str:
    """The whole result in a sentence."""
    exact = sum(line.gate == "exact" for line in found.alarms)
    parts = [
        f"{number} {what}{'s' if number > 1 else ''}{more}"
        for number, what, more in (
            (len(found.alarms), "regression",
             f" ({exact} exact, {len(found.alarms) - exact} in time)"),
            (len(found.failing), "newly failing cell", ""),
            (len(found.missing), "missing cell", ""),
        ) if number
    ]  # fmt: skip
    groups = found.groups
    counts = [f"{len(groups[v])} {v}" for v in ("same", "better", "cannot tell") if v in groups]
    return (f"{', '.join(parts) or 'No regression'}. "
            f"Of {len(found.lines)} comparisons: {', '.join(counts) or 'none else'}.")  # fmt: skip


def text(found: Comparison) -> str:
    """For a terminal."""
    return _rendered(found, "text", "compare.txt.j2") + "\n"


def markdown(found: Comparison) -> str:
    """For a pull request: alarms in the open, the rest folded."""
    return one_blank_line(_rendered(found, "markdown", "compare.md.j2"))


def to_json(found: Comparison) -> str:
    """Everything, with null for what is no finite number."""
    data = asdict(found)
    for line in data["lines"]:
        line |= {k: None for k, v in line.items() if isinstance(v, float) and not math.isfinite(v)}
    whole = {"status": found.status, "alarms": len(found.alarms), **data}
    return json.dumps(whole, indent=1) + "\n"


FORMATS = {"text": text, "markdown": markdown, "json": to_json}


def _rendered(found: Comparison, kind: str, name: str) -> str:
    template = templates("reports.compare", kind).get_template(name)
    return template.render(c=found, headline=headline(found), head=_HEAD, cells_of=_cells,
                           most=MOST)  # fmt: skip


def _cells(line: Line) -> list[str]:
    """A line under `_HEAD`; an en dash for what it has not."""
    between = line.low is not None and line.high is not None
    return [
        line.cell,
        heading(line.metric),
        short(line.base),
        short(line.head),
        "–" if line.change is None else f"{line.change:+.2%}",
        f"[{line.low:+.1%}, {line.high:+.1%}]" if between else "–",
        "–" if line.detectable is None else f"{line.detectable:.0%}",
        line.verdict + (f": {line.note}" if line.note else ""),
    ]
