"""Text that Markdown and LaTeX take as it is, and numbers with three significant figures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd


def short(value: Any, digits: int = 3) -> str:
    """Three significant figures, an en dash for nothing, no exponent where digits will do."""
    if value is None or value is pd.NA or value != value:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return str(value)
    number = float(value)
    if number.is_integer() and abs(number) < 1e6:
        return f"{int(number)}"
    if 1e-3 <= abs(number) < 1e6:
        text = f"{number:.{digits}g}"
        return f"{float(text):.0f}" if "e" in text else text
    return f"{number:.{digits - 1}e}"


def line(cells: Iterable[str]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def escape_markdown(value: Any) -> str:
    """Text that cannot end a table cell, open a tag or make a link."""
    text = "" if value is None else str(value)
    for mark, safe in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("](", "]\\("),
        ("\n", " "),
    ):
        text = text.replace(mark, safe)
    return text


def escape_latex(value: Any) -> str:
    escapes = {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
    }
    return "".join(escapes.get(c, c) for c in str(value if value is not None else ""))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table; `right` columns are flush right."""
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    return "\n".join(
        [
            line(map(escape_markdown, head)),
            line(rule),
            *(line(escape_markdown(str(c)) for c in row) for row in rows),
        ]
    )
