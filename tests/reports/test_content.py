"""The whole report as a document: its sections, its problems, and reports of next to nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_records import ALGOS, record, study

from reports import content
from reports.document import Document, Items, Table, Words
from reports.records import read_sweeps
from reports.study import Study


def test_all_rows_failed_is_a_report_that_says_so() -> None:
    failed = [record(a, status="oom", reason="too large") for a in ALGOS]
    document = content.build(study(failed), [], [])
    first = document.sections[0].blocks[0]
    assert isinstance(first, Words)
    assert "No answer: none of the 3 cells was timed" in first.text
    assert "3 oom" in first.text
    problems = next(s for s in document.sections if s.id == "problems")
    assert problems.alert == 3


def test_one_row_only_is_a_report_that_says_so() -> None:
    document = content.build(study([record()]), [], [])
    texts = [b.text for b in document.sections[0].blocks if isinstance(b, Words)]
    assert any("Only one way of computing was measured here" in text for text in texts)


@pytest.fixture(scope="module")
def document(sweep: Path) -> Document:
    """The report of the shared sweep and one file that is no record."""
    read = read_sweeps([sweep])
    return content.build(
        Study(replace(read, corrupt=[(sweep / "cells" / "broken.json", "not readable")])),
        [],
        [("A plot", "no data")],
    )


def test_every_problem_is_listed_with_its_reason(document: Document) -> None:
    problems = next(s for s in document.sections if s.id == "problems")
    text = str([b.rows for b in problems.blocks if isinstance(b, Table)])
    for words in ("RESOURCE_EXHAUSTED", "loss stuck at ln(10)", "broken.json", "0" * 16):
        assert words in text
    assert problems.alert == 4


def test_what_was_timed_beside_others_is_listed() -> None:
    alone, beside = record("bptt"), record("d_rtrl", metrics={"shared_with": 2.0})
    document = content.build(study([alone, beside]), [], [])
    problems = next(s for s in document.sections if s.id == "problems")
    listed, = (b for b in problems.blocks if isinstance(b, Table))
    assert [row[-1] for row in listed.rows] == [beside["key"]]
    assert listed.rows[0][-2] == "2"
    assert problems.alert == 1
    note = next(s for s in document.sections if s.id == "verdict").blocks[-1]
    assert isinstance(note, Words)
    assert "1 of 2 cells were timed while other cells ran on the same device" in note.text


def test_the_report_has_every_section(document: Document) -> None:
    assert [s.id for s in document.sections] == [
        "verdict", "settings", "plots", "scaling", "claims", "results", "method", "environment",
        "problems",
    ]  # fmt: skip
    for section in document.sections:
        assert section.blocks
        assert all(b.texts for b in section.blocks if isinstance(b, Items))
