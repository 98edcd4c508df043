"""Text that Markdown takes as it is, and numbers with three significant figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "](": "]\\(", "\n": " "}


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


def escape_markdown(value: Any) -> str:
    """Text that cannot end a table cell, open a tag or make a link."""
    text = "" if value is None else str(value)
    for mark, safe in _MARKDOWN.items():
        text = text.replace(mark, safe)
    return text


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table; `right` columns are flush right."""
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    body = [[escape_markdown(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(r)} |" for r in [[*map(escape_markdown, head)], rule, *body])
