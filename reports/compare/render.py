"""A comparison as text for people, Markdown for a pull request, JSON, and JUnit XML."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from reports.compare.result import Comparison, Line
from reports.records.columns import heading
from reports.text import escape_markdown, short, table

_HEAD = ["cell", "metric", "base", "head", "change", "95 % interval", "could have seen", "verdict"]
MOST = 30  # lines of each kind in a text; JSON and JUnit have all


def headline(found: Comparison) -> str:
    """The whole result in a sentence."""
    alarms = found.alarms
    parts = []
    if alarms:
        exact = sum(line.gate == "exact" for line in alarms)
        parts.append(
            f"{len(alarms)} regression{'s' if len(alarms) != 1 else ''} "
            f"({exact} exact, {len(alarms) - exact} in time)"
        )
    if found.failing:
        parts.append(
            f"{len(found.failing)} newly failing cell{'s' if len(found.failing) != 1 else ''}"
        )
    if found.missing:
        parts.append(f"{len(found.missing)} missing cell{'s' if len(found.missing) != 1 else ''}")
    verdict = ", ".join(parts) or "No regression"
    counts = ", ".join(
        f"{found.count(v)} {v}" for v in ("same", "better", "cannot tell") if found.count(v)
    )
    return f"{verdict}. Of {len(found.lines)} comparisons: {counts or 'none else'}."


def text(found: Comparison) -> str:
    """For a terminal."""
    out = [headline(found), *found.notes]
    for title, lines in _groups(found):
        out.append(f"\n{title}")
        out += [
            f"  {line.cell}  {line.metric}: {_numbers(line)}"
            + (f"  ({line.note})" if line.note else "")
            for line in lines[:MOST]
        ]
        if len(lines) > MOST:
            out.append(f"  … and {len(lines) - MOST} more")
    for title, cells in _cells(found):
        out += [f"\n{title}", *(f"  {cell}" for cell in cells[:MOST])]
    return "\n".join(out) + "\n"


def markdown(found: Comparison) -> str:
    """For a pull request: alarms in the open, the rest folded."""
    out = [
        f"### {escape_markdown(headline(found))}",
        f"Base `{found.base}`, head `{found.head}`. A change in time counts from "
        f"{found.bar:.0%} on.",
        *(escape_markdown(note) for note in found.notes),
    ]
    for title, cells in _cells(found):
        out += [f"**{title}**", "\n".join(f"- {escape_markdown(cell)}" for cell in cells[:MOST])]
    for title, lines in _groups(found):
        made = table(_HEAD, [_row(line) for line in lines[:MOST]], frozenset(range(2, 7)))
        more = f"\n\nThe first {MOST} of {len(lines)}." if len(lines) > MOST else ""
        if lines[0].alarm:
            out += [f"**{title}**", made + more]
        else:
            out.append(
                f"<details><summary>{title} ({len(lines)})</summary>\n\n{made}{more}\n\n</details>"
            )
    return "\n\n".join(out) + "\n"


def to_json(found: Comparison) -> str:
    return json.dumps(found.to_dict(), indent=1) + "\n"


def junit(found: Comparison) -> str:
    """One test case a line; alarms fail, what cannot be told is skipped."""
    suite = ElementTree.Element(
        "testsuite",
        name="compare",
        tests=str(len(found.lines) + len(found.failing) + len(found.missing)),
        failures=str(len(found.alarms) + len(found.failing) + len(found.missing)),
        errors="0",
        skipped=str(found.count("cannot tell")),
    )
    for line in found.lines:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(line.cell), name=line.metric
        )
        words = _xml(f"{_numbers(line)} {line.note}".strip())
        if line.alarm:
            ElementTree.SubElement(case, "failure", message=words, type=line.verdict).text = words
        elif line.verdict == "cannot tell":
            ElementTree.SubElement(case, "skipped", message=words)
    for kind, cells in (("newly failing", found.failing), ("missing", found.missing)):
        for cell in cells:
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(cell), name="status")
            ElementTree.SubElement(case, "failure", message=kind, type=kind)
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"
    )


FORMATS = {"text": text, "markdown": markdown, "json": to_json, "junit": junit}


def _groups(found: Comparison) -> list[tuple[str, list[Line]]]:
    titles = {
        "worse": "Worse",
        "changed": "Changed",
        "lost": "Lost",
        "better": "Better",
        "cannot tell": "Cannot tell",
        "same": "Same",
    }
    groups = [
        (title, [line for line in found.lines if line.verdict == verdict])
        for verdict, title in titles.items()
    ]
    return [(title, lines) for title, lines in groups if lines]


def _cells(found: Comparison) -> list[tuple[str, list[str]]]:
    groups = [
        ("Newly failing", found.failing),
        ("Missing in head", found.missing),
        ("Only in head", found.added),
        ("Works again", found.fixed),
    ]
    return [(title, cells) for title, cells in groups if cells]


def _numbers(line: Line) -> str:
    words = f"{short(line.base)} -> {short(line.head)}"
    if line.change is not None:
        words += f", {line.change:+.2%}"
    if line.low is not None and line.high is not None:
        words += f" [{line.low:+.1%}, {line.high:+.1%}]"
    if line.detectable is not None and line.verdict in ("cannot tell", "same"):
        words += f", could have seen {line.detectable:.0%}"
    return words


def _row(line: Line) -> list[str]:
    interval = (
        f"[{line.low:+.1%}, {line.high:+.1%}]"
        if line.low is not None and line.high is not None
        else "–"
    )
    return [
        line.cell,
        heading(line.metric),
        short(line.base),
        short(line.head),
        "–" if line.change is None else f"{line.change:+.2%}",
        interval,
        "–" if line.detectable is None else f"{line.detectable:.0%}",
        line.verdict + (f": {line.note}" if line.note else ""),
    ]


def _xml(words: str) -> str:
    """Text without the control characters that XML 1.0 cannot hold."""
    return "".join(c if c in "\t\n" or c >= " " else "�" for c in words)
