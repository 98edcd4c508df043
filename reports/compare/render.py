"""A comparison as text for people, Markdown for a pull request, JSON, and JUnit XML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

from reports.compare.result import Comparison, Line
from reports.records.columns import heading
from reports.text import escape_markdown, short, table

_HEAD = ["cell", "metric", "base", "head", "change", "95 % interval", "could have seen", "verdict"]
_ORDER = ("worse", "changed", "lost", "better", "cannot tell", "same")
MOST = 30  # lines of each kind in a text; JSON and JUnit have all


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
    counts = [f"{number} {verdict}" for verdict in ("same", "better", "cannot tell")
              if (number := found.count(verdict))]  # fmt: skip
    return (f"{', '.join(parts) or 'No regression'}. "
            f"Of {len(found.lines)} comparisons: {', '.join(counts) or 'none else'}.")  # fmt: skip


def text(found: Comparison) -> str:
    """For a terminal."""
    out = [headline(found), *found.notes]
    for verdict, lines in _groups(found):
        out.append(f"\n{verdict.capitalize()}")
        out += [f"  {line.cell}  {line.metric}: {_told(line)}" for line in lines[:MOST]]
        out += [f"  … and {len(lines) - MOST} more"] if len(lines) > MOST else []
    for title, cells in _cells(found):
        out += [f"\n{title}", *(f"  {cell}" for cell in cells[:MOST])]
    return "\n".join(out) + "\n"


def markdown(found: Comparison) -> str:
    """For a pull request: alarms in the open, the rest folded."""
    out = [
        f"### {escape_markdown(headline(found))}",
        f"Base `{found.base}`, head `{found.head}`. "
        f"A change in time counts from {found.bar:.0%} on.",
        *map(escape_markdown, found.notes),
    ]
    for title, cells in _cells(found):
        out += [f"**{title}**", "\n".join(f"- {escape_markdown(cell)}" for cell in cells[:MOST])]
    for verdict, lines in _groups(found):
        made = table(_HEAD, [_row(line) for line in lines[:MOST]], range(2, 7))
        made += f"\n\nThe first {MOST} of {len(lines)}." if len(lines) > MOST else ""
        title = verdict.capitalize()
        if lines[0].alarm:
            out += [f"**{title}**", made]
        else:
            summary = f"<summary>{title} ({len(lines)})</summary>"
            out.append(f"<details>{summary}\n\n{made}\n\n</details>")
    return "\n\n".join(out) + "\n"


def to_json(found: Comparison) -> str:
    return json.dumps(found.to_dict(), indent=1) + "\n"


def junit(found: Comparison) -> str:
    """One test case a line; alarms fail, what cannot be told is skipped."""
    cases: list[tuple[str, str, str, str, str]]
    cases = [(line.cell, line.metric, _told(line), "failure" if line.alarm else
              "skipped" if line.verdict == "cannot tell" else "", line.verdict)
             for line in found.lines]  # fmt: skip
    cases += [(cell, "status", kind, "failure", kind)
              for kind, cells in (("newly failing", found.failing), ("missing", found.missing))
              for cell in cells]  # fmt: skip
    counts = {kind: sum(case[3] == kind for case in cases) for kind in ("failure", "skipped")}
    suite = ElementTree.Element(
        "testsuite", name="compare", tests=str(len(cases)), failures=str(counts["failure"]),
        errors="0", skipped=str(counts["skipped"]),
    )  # fmt: skip
    for cell, metric, words, outcome, kind in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(cell), name=metric)
        if outcome:
            ElementTree.SubElement(case, outcome, message=_xml(words), type=kind)
    ElementTree.indent(suite)
    made = ElementTree.tostring(suite, "unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{made}\n'


FORMATS = {"text": text, "markdown": markdown, "json": to_json, "junit": junit}


def _groups(found: Comparison) -> Iterator[tuple[str, list[Line]]]:
    for verdict in _ORDER:
        lines = [line for line in found.lines if line.verdict == verdict]
        if lines:
            yield verdict, lines


def _cells(found: Comparison) -> list[tuple[str, list[str]]]:
    groups = {"Newly failing": found.failing, "Missing in head": found.missing,
              "Only in head": found.added, "Works again": found.fixed}  # fmt: skip
    return [(title, cells) for title, cells in groups.items() if cells]


def _row(line: Line) -> list[str]:
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


def _told(line: Line) -> str:
    """The same as a sentence."""
    _, _, base, head, change, between, seen, _ = _row(line)
    words = f"{base} -> {head}"
    words += f", {change}" * (change != "–") + f" {between}" * (between != "–")
    if seen != "–" and line.verdict in ("cannot tell", "same"):
        words += f", could have seen {seen}"
    return words + (f"  ({line.note})" if line.note else "")


def _xml(words: str) -> str:
    """Text without the control characters that XML 1.0 cannot hold."""
    return "".join(c if c in "\t\n" or c >= " " else "�" for c in words)
