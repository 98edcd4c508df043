"""The first screen: the right way is recommended, with its numbers and its reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_records import grid, record

from reports import content
from reports.document import Document, Items, Table, Words
from reports.records import Sweeps, read_sweeps
from reports.study import Study
from reports.verdict import answer, settings

Records = list[dict[str, Any]]
ALGOS = ["bptt", "d_rtrl", "es_d_rtrl"]


def study(records: Records) -> Study:
    return Study(Sweeps((Path("."),), records))


def cell(
    algo: str, time: float, memory: float, cosine: float | None, **rest: Any
) -> dict[str, Any]:
    return record(algo, metrics={
        "step_time_ms": time, "step_time_ms_lo": time * 0.9, "step_time_ms_hi": time * 1.1,
        "memory_xla_mib": memory, "memory_peak_mib": memory, "grad_cosine": cosine,
    }, **rest)  # fmt: skip


def test_the_fastest_faithful_and_healthy_way_is_recommended() -> None:
    found = answer(study([cell("bptt", 10, 100, 1.0), cell("d_rtrl", 7, 50, 0.97),
                          cell("es_d_rtrl", 4, 60, 0.6)]))  # fmt: skip
    assert found is not None
    assert found.sentences[0] == (
        "**Start with d_rtrl**: 7 [6.3, 7.7] ms a training step, 50 MiB, "
        "gradient cosine 0.97 to BPTT's."
    )
    assert "If an approximate gradient will do, es_d_rtrl** takes 0.57×" in found.sentences[1]
    assert found.rows[0][0] == "es_d_rtrl"  # the table is by time


def test_one_way_that_wins_all_is_said_to() -> None:
    found = answer(study([cell("bptt", 3, 20, 1.0), cell("d_rtrl", 7, 50, 0.97)]))
    assert found is not None
    assert found.sentences[0].startswith("**Start with bptt**: 3 [2.7, 3.3] ms")
    assert found.sentences[0].endswith("nothing was faster here.")
    assert not any("If " in s for s in found.sentences)


def test_a_sick_way_is_not_recommended_and_its_words_stand_in_the_table() -> None:
    found = answer(study([cell("bptt", 3, 20, 1.0, health="never spikes"),
                          cell("d_rtrl", 7, 50, 0.99)]))  # fmt: skip
    assert found is not None
    assert "Start with d_rtrl" in found.sentences[0]
    assert any("never spikes" in row[-1] for row in found.rows)
    assert any("not healthy under bptt**: never spikes" in s for s in found.sentences)


def test_a_network_that_is_sick_throughout_is_named_wherever_it_stands() -> None:
    sick = [cell(algo, 1, 9, 1.0, model="dead", health="never spikes") for algo in ALGOS[:2]]
    well = [cell(algo, 1, 9, 1.0, model="alive") for algo in ALGOS]
    document = content.build(study([*sick, *well]), [], [])
    words = " ".join(s for b in document.sections[0].blocks if isinstance(b, Items)
                     for s in b.texts)  # fmt: skip
    assert "dead is not healthy under bptt, d_rtrl**: never spikes" in words
    others, = (b for b in document.sections[1].blocks if isinstance(b, Table))
    assert [("dead" in row[0], "(not healthy)" in row[1]) for row in others.rows] == [
        (False, False), (True, True),
    ]  # fmt: skip
    problems = next(s for s in document.sections if s.id == "problems")
    assert all("dead" in row for b in problems.blocks if isinstance(b, Table) for row in b.rows)


def test_the_leanest_is_named_when_it_saves_much() -> None:
    found = answer(study([cell("bptt", 3, 100, 1.0), cell("d_rtrl", 5, 20, 0.9)]))
    assert found is not None
    assert any("If memory binds, d_rtrl** needs 20 MiB, 0.2× what bptt does" in s
               for s in found.sentences)  # fmt: skip


def test_without_fidelity_speed_decides_and_none_is_claimed() -> None:
    found = answer(study([cell("bptt", 3, 20, None), cell("d_rtrl", 2, 20, None)]))
    assert found is not None
    assert "Start with d_rtrl" in found.sentences[0]
    assert "cosine" not in found.sentences[0]


def test_batching_that_wins_here_and_loses_there_is_not_decided() -> None:
    records = [cell("bptt", time, 20, None, n_hidden=width, batching=batching)
               for width, times in ((8, (1, 4)), (16, (3, 1)), (32, (1, 2)))
               for batching, time in zip(("manual", "vmap"), times, strict=True)]  # fmt: skip
    found = answer(study(records))
    assert found is not None
    assert any("which is faster is not decided" in s for s in found.sentences)


def test_a_difference_within_the_noise_is_no_difference() -> None:
    records = grid(algo=ALGOS, batching=["manual", "vmap"], repeat=range(3), noise=[0.3])
    found = answer(study(records))
    assert found is not None
    assert any("no difference worth having" in s for s in found.sentences)
    assert "Two processes of one cell differ by up to" in found.note


def test_bent_curves_cross_where_their_points_do() -> None:
    flat = [cell("d_rtrl", 1, memory, None, n_steps=steps)
            for steps, memory in ((50, 70), (100, 150), (200, 150), (500, 150))]  # fmt: skip
    steep = [cell("bptt", 1, steps, None, n_steps=steps) for steps in (50, 100, 200, 500)]
    found = answer(study([*flat, *steep]))
    assert found is not None
    assert "d_rtrl needs less memory than bptt from about T = 150 on" in " ".join(found.sentences)


def test_the_richest_then_largest_setting_is_answered_for() -> None:
    made = study([*grid(algo=ALGOS, n_hidden=[8, 16]), *grid(algo=["bptt"], n_hidden=[999])])
    found = answer(made)
    assert found is not None
    assert "H = 16" in found.setting
    assert [c.cells["n_hidden"].iloc[0] for c in settings(made)] == [16, 8, 999]


def test_growth_with_time_and_crossings_are_told() -> None:
    found = answer(study(grid(algo=ALGOS, n_steps=[8, 64, 512], n_hidden=[128])))
    assert found is not None
    text = " ".join(found.sentences)
    assert "From T = 64 to 512 temporaries grow 8× under bptt, 1× under d_rtrl" in text
    assert "d_rtrl needs less memory than bptt from about T = " in text


def test_what_training_came_to_is_told_best_first() -> None:
    records = [cell(a, 3, 20, 1.0) for a in ALGOS]
    for built, accuracy in zip(records, (0.9, 0.95, None), strict=True):
        built["metrics"]["test_accuracy"] = accuracy
    found = answer(study(records))
    assert found is not None
    assert "After training, test accuracy is 0.95 under d_rtrl, 0.9 under bptt." in found.sentences


def test_where_memory_was_not_measured_none_is_claimed() -> None:
    records = [cell(a, 3, 20, 1.0) for a in ALGOS]
    for built in records:
        built["metrics"] |= {"memory_xla_mib": None, "memory_peak_mib": None}
    found = answer(study(records))
    assert found is not None
    assert "MiB" not in " ".join([*found.sentences, *found.head])
    assert all(len(row) == len(found.head) for row in found.rows)


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
