"""What a report must not leave unsaid: what was not measured, what guesses, what disagrees."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_records import Records, record, study

from reports import content
from reports import document as d
from reports.markdown import render
from reports.verdict import answer


def told(records: Records, section: str = "") -> str:
    """The whole report of these records as Markdown, or one section of it."""
    built = content.build(study(records), [], [])
    kept = [s for s in built.sections if not section or s.id == section]
    return render(d.Document(built.title, built.subtitle, kept))


def asking(built: dict[str, Any], *metrics: str) -> dict[str, Any]:
    built["config"] = {**built["config"], "metric": {name: {} for name in metrics}}
    return built


def learner(algo: str, time: float, right: float, cosine: float, **more: Any) -> dict[str, Any]:
    metrics = {"step_time_ms": time, "test_accuracy": right, "grad_cosine": cosine, **more}
    built = record(algo, metrics=metrics)
    built["config"]["task"] |= {"n_test": 360}
    return built


def sentences(records: Records) -> str:
    found = answer(study(records))
    assert found is not None
    return " ".join(found.sentences)


def test_without_timing_memory_is_answered_for() -> None:
    records = [asking(record(algo), "memory") for algo in ("bptt", "d_rtrl")]
    for built, mib in zip(records, (8.0, 6.0), strict=True):
        built["metrics"] = {"memory_xla_mib": mib, "memory_temp_mib": mib / 2}
    words = told(records, "verdict")
    assert "**Timing was not asked for** (metric=[memory] left it out)" in words
    assert "**Least memory: d_rtrl needs 6 MiB**" in words
    assert "| bptt | 8 | 1.33 | 4 |" in words
    assert "No answer" not in words


def test_with_neither_timing_nor_memory_nothing_is_answered() -> None:
    built = asking(record())
    built["metrics"] = {}
    assert "(metric=[] left it out), nor memory measured" in told([built], "verdict")


def test_cells_that_failed_have_their_reasons_under_problems() -> None:
    words = told([asking(record(status="oom", reason="large"), "timing")], "verdict")
    assert "No answer: none of the 1 cell was timed** (1 oom)" in words


@pytest.mark.parametrize(
    ("metrics", "words"),
    [(("timing",), "None: every cell gave a result. Health was not measured"),
     (("timing", "health"), "None: every cell gave a result and no health check spoke up.")],
)  # fmt: skip
def test_health_that_was_not_measured_is_not_called_silent(
    metrics: tuple[str, ...], words: str
) -> None:
    assert words in told([asking(record(), *metrics)], "problems")
    note = "whose training is healthy (which was not measured here)"
    assert (note in told([asking(record(), *metrics)])) == ("health" not in metrics)


def test_a_way_no_better_than_guessing_is_recommended_with_that_said() -> None:
    guessing = [learner("bptt", 3, 0.11, 1.0, n_classes=10),
                learner("d_rtrl", 5, 0.1, 0.97, n_classes=10)]  # fmt: skip
    assert "(its test accuracy is not above chance, 1 in 10)" in sentences(guessing)
    for built in guessing:
        built["metrics"] |= {"test_accuracy": None, "loss_final": 2.301}
    assert "(its loss is no lower than that of guessing, ln(10))" in sentences(guessing)
    knowing = [learner("bptt", 3, 0.3, 1.0, n_classes=10),
               learner("d_rtrl", 5, 0.1, 0.97, n_classes=10)]  # fmt: skip
    unknown = [learner("bptt", 3, 0.11, 1.0), learner("d_rtrl", 5, 0.1, 0.97)]
    assert not any("chance" in sentences(records) for records in (knowing, unknown))


def test_an_approximate_gradient_is_offered_with_what_it_costs() -> None:
    dear = [learner("bptt", 10, 0.264, 1.0), learner("es_d_rtrl", 2, 0.083, 0.6)]
    cost = ", and its test accuracy ends at 0.083, behind the best, 0.264."
    assert cost in sentences(dear)
    alike = [learner("bptt", 10, 0.264, 1.0), learner("es_d_rtrl", 2, 0.25, 0.6)]
    assert "misses the 0.95 asked for." in sentences(alike)


def test_memories_that_count_as_equal_are_said_to() -> None:
    ways = (("manual", 1.0, 3.49), ("vmap", 1.1, 3.456))
    records = [record(batching=way, n_hidden=h, metrics={
        "step_time_ms": time, "memory_xla_mib": mib, "memory_peak_mib": 1.0})
        for h in (8, 16) for way, time, mib in ways]  # fmt: skip
    assert "the fastest of those within 2% of the least, which count as equal" in told(records)
    assert "Memories within 2% count as equal." in told(records, "verdict")


def test_memory_that_disagrees_is_a_problem_and_marked_in_the_table() -> None:
    words = "measured peak 0.6 MiB, below XLA's temporaries of 4.2 MiB"
    doubted = record("d_rtrl")
    doubted["memory"]["disagreement"] = words
    records = [record(), doubted]
    assert words in told(records, "problems")
    assert words in told(records, "results")
    problems = next(s for s in content.build(study(records), [], []).sections if s.id == "problems")
    assert problems.alert == 1
    assert "memory_doubt" not in told([record()], "results")


@pytest.mark.parametrize("section", ["results", "method"])
def test_a_cell_below_the_floor_makes_the_ratio_a_relative_figure(section: str) -> None:
    words = "relative figure only"
    assert words in told([record(metrics={"limit_ratio": 0.4})], section)
    assert words not in told([record(metrics={"limit_ratio": 1.4})], section)


def test_other_networks_of_a_merged_report_are_answered_for_too() -> None:
    spikes = [record(algo, n_hidden=h) for algo in ("bptt", "d_rtrl") for h in (64, 128)]
    gated = [record(algo, model="gru") for algo in ("d_rtrl", "es_d_rtrl")]
    words = told([*spikes, *gated], "verdict")
    assert "- For gru on digits with B = 16, H = 64, T = 16 (manual, core on cpu): start w" in words
    assert "For gru" not in told(spikes, "verdict")
    lone = told([*spikes, record("bptt", model="gru")], "verdict")
    assert "only one way was timed, **bptt**" in lone


def test_sizes_are_listed_from_the_smallest() -> None:
    records = [record(algo, n_hidden=h) for algo in ("bptt", "d_rtrl") for h in (128, 8, 64)]
    words = told(records, "settings")
    assert [line.split(" | ")[0] for line in words.splitlines() if line.startswith("| H ")] == [
        "| H 8", "| H 64", "| H 128",
    ]  # fmt: skip


def test_one_claim_holds_and_several_hold() -> None:
    few = told([record("d_rtrl", n_hidden=128)], "claims")
    assert "1 holds, 2 do not, 0 were tested and not decided, " in few
    many = [record("d_rtrl", n_hidden=h) for h in (64, 128, 256)]
    assert "3 do not, 1 was tested and not decided, " in told(many, "claims")
