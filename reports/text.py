"""Templates, text that Markdown takes as it is, and numbers with three significant figures."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "](": "]\\(", "\n": " "}


def short(value: Any, digits: int = 3, bar: float | None = None) -> str:
    """Three significant figures, an en dash for nothing, no exponent where digits will do.

    Args:
        bar: what a verdict beside it holds it against: it has the digits to stay on its side.
    """
    if bar is not None and value == value:
        while digits < 17 and (float(short(value, digits)) < bar) != (value < bar):
            digits += 1
    if value is None or value is pd.NA or value != value:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return str(value)
    number = float(value)
    if number == math.inf:
        return "∞"
    if number.is_integer() and abs(number) < 1e6:
        return f"{int(number)}"
    if 1e-3 <= abs(number) < 1e6:
        text = f"{number:.{digits}g}"
        return f"{float(text):.0f}" if "e" in text else text
    return f"{number:.{digits - 1}e}"


def plural(n: int, one: str, more: str = "") -> str:
    """ "1 run", "3 runs"."""
    return f"{n} {one if n == 1 else more or one + 's'}"


def escape_markdown(value: Any) -> str:
    """Text that cannot end a table cell, open a tag or make a link."""
    text = "" if value is None else str(value)
    for mark, safe in _MARKDOWN.items():
        text = text.replace(mark, safe)
    return text


@cache
def templates(package: str, kind: str) -> Environment:
    """The templates of a package for "html", "markdown" or "text".

    Every value is escaped by jinja2 on its way into HTML. Markdown is read by renderers that pass
    HTML through, so values are escaped the same way there, and for what Markdown itself would read.
    """

    def plain(value: Any) -> Any:
        safe = not isinstance(value, str) or isinstance(value, Markup)
        return value if safe else Markup(escape_markdown(value))

    bold = {"text": str, "html": Markup("<strong>{}</strong>").format,
            "markdown": lambda value: Markup("**{}**").format(plain(value))}[kind]  # fmt: skip
    made = Environment(loader=PackageLoader(package), undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, autoescape=kind != "text",
                       finalize=plain if kind == "markdown" else None)  # fmt: skip
    made.filters |= {"short": short, "b": bold}
    return made


def one_blank_line(text: str) -> str:
    """The text without blanks at the ends of lines and without a second blank line in a row."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n"
