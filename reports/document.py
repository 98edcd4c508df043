"""A report as data: sections of blocks, which HTML and Markdown each render in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from reports.claims.base import Answered
from reports.drawing.canvas import Plot


@dataclass(frozen=True)
class Words:
    """A paragraph; ``**`` marks what is bold. `lead` is set larger."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table; `numeric` columns are set flush right. `folded` ones open on demand."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    caption: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption and its numbers; `svg` is ready for a page, `file` is its stem."""

    plot: Plot
    svg: str
    file: str


@dataclass(frozen=True)
class Claims:
    """The tutorials' claims with what the records say to each."""

    answers: Sequence[Answered]


@dataclass(frozen=True)
class Results:
    """The table of all cells, to be filtered and sorted."""

    table: pd.DataFrame


@dataclass(frozen=True)
class Heading:
    text: str


Block = Words | Items | Table | Figure | Claims | Results | Heading


@dataclass(frozen=True)
class Section:
    """One part of the report. `alert` is a count worth seeing in the table of contents."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)
    alert: int = 0


@dataclass(frozen=True)
class Document:
    title: str
    subtitle: str
    sections: Sequence[Section]
