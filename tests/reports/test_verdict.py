"""The first screen: the right way is recommended, with its numbers and its reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
from synthetic_records import ALGOS, grid, record, study

from reports import content
from reports.choice import judged, settings
from reports.document import Items, Table
from reports.sections.verdict import elsewhere
from reports.verdict import answer


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
        "gradient cosine 0.97 to BPTT's, test accuracy 0.931."
    )
    assert found.sentences[1] == (
        "**If an approximate gradient will do, es_d_rtrl** takes 0.571× that time; its gradient's "
        "cosine to BPTT's, 0.6, misses the 0.95 asked for."
    )
    assert found.rows[0][0] == "es_d_rtrl"  # the table is by time


def test_one_way_that_wins_all_is_said_to() -> None:
    found = answer(study([cell("bptt", 3, 20, 1.0), cell("d_rtrl", 7, 50, 0.97)]))
    assert found is not None
    assert found.sentences[0].startswith("**Start with bptt**: 3 [2.7, 3.3] ms")
    assert found.sentences[0].endswith("nothing that qualifies comes within 30% of its time.")
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
    records = grid(algo=ALGOS, batching=["manual", "vmap"], n_hidden=[32, 64], repeat=range(3),
                   noise=[0.2])  # fmt: skip
    found = answer(study(records))
    assert found is not None
    assert any("pairs of cells (alike within " in s for s in found.sentences)
    assert "Two processes of one cell differ by up to" in found.note


def test_bent_curves_cross_where_their_points_do() -> None:
    sizes = (50, 100, 200, 500, 1000)
    flat = [cell("d_rtrl", 1, memory, None, n_steps=steps)
            for steps, memory in ((50, 70), *((n, 150) for n in sizes[1:]))]  # fmt: skip
    steep = [cell("bptt", 1, steps, None, n_steps=steps) for steps in sizes]
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
    assert (
        "After training, test accuracy is 0.95 under d_rtrl, 0.9 under bptt; no interval of it is "
        "known, so none is called better."
    ) in found.sentences


def test_where_memory_was_not_measured_none_is_claimed() -> None:
    records = [cell(a, 3, 20, 1.0) for a in ALGOS]
    for built in records:
        built["metrics"] |= {"memory_xla_mib": None, "memory_peak_mib": None}
    found = answer(study(records))
    assert found is not None
    assert "MiB" not in " ".join([*found.sentences, *found.head])
    assert all(len(row) == len(found.head) for row in found.rows)


def silent(built: dict[str, Any], weights: int = 2) -> dict[str, Any]:
    """The record with this many weights that get no gradient though BPTT gives them one."""
    names = [f"gate.{i}" for i in range(weights)]
    built["fidelity"] |= {name: {"cosine": None, "rel_error": 1.0} for name in names}
    return built


def test_a_way_that_leaves_weights_without_a_gradient_wins_nothing() -> None:
    made = study([
        *(cell(algo, time, memory, 0.97, model=model)
          for model in ("gru", "lif_net") for algo, time, memory in (("d_rtrl", 7, 50),
                                                                     ("es_d_rtrl", 9, 40))),
        silent(cell("bptt", 1, 2, 0.99, model="gru")),
    ])  # fmt: skip
    found = answer(made)
    assert found is not None
    assert "Start with d_rtrl" in found.sentences[0]
    assert not any("If " in s for s in found.sentences)
    row = next(row for row in found.rows if row[0] == "bptt")
    assert row[-1] == "no gradient for 2 of 4 weights"
    words = "**gru is not healthy under bptt**: no gradient for 2 of 4 weights."
    assert words in found.sentences
    assert not any("Against BPTT" in s for s in found.sentences)
    others = next(b for b in elsewhere(made).blocks if isinstance(b, Table))
    assert not any("bptt" in part for row in others.rows for part in row)


def test_a_weight_without_a_gradient_in_one_process_counts_once() -> None:
    one, other = (silent(cell("d_rtrl", 1, 2, 0.99, repeat=i), 1) for i in range(2))
    other["fidelity"]["out.weight"] = {"cosine": None, "rel_error": 1.0}
    assert judged(study([one, other]))["flaw"].tolist() == ["no gradient for 2 of 3 weights"]


def test_a_weight_that_bptt_does_not_train_either_is_nobodys_fault() -> None:
    built = cell("d_rtrl", 1, 2, 0.99)
    built["fidelity"]["dead.weight"] = {"cosine": None, "rel_error": None}
    found = answer(study([built, cell("bptt", 7, 50, 1.0)]))
    assert found is not None
    assert "Start with d_rtrl" in found.sentences[0]


def test_the_health_of_a_record_does_not_say_a_second_time_what_gets_no_gradient() -> None:
    built = silent(cell("d_rtrl", 1, 2, 0.99, health="no gradient reaches gate.0, gate.1"))
    found = answer(study([built, cell("bptt", 7, 50, 1.0)]))
    assert found is not None
    assert "**lif_net is not healthy under d_rtrl**: no gradient for 2 of 4 weights." in (
        found.sentences
    )


def test_where_nothing_was_repeated_times_a_quarter_apart_are_alike() -> None:
    found = answer(study([cell("bptt", 10, 9, 1.0), cell("d_rtrl", 12.5, 9, 0.97),
                          cell("es_d_rtrl", 14, 9, 0.96)]))  # fmt: skip
    assert found is not None
    assert found.sentences[0].endswith("; as fast within 30%: d_rtrl.")
    assert "noise is unknown and times within 30% count as alike" in found.note
    assert [row[-1] for row in found.rows] == ["speed", "speed", ""]


def test_vmap_is_judged_apart_for_each_library() -> None:
    records = [cell("d_rtrl", time, 20, None, n_hidden=width, batching=batching, backend=backend)
               for width in (8, 16, 32)
               for backend, dearer in (("core", 1.01), ("peer", 3.0))
               for batching, time in (("manual", width), ("vmap", width * dearer))]  # fmt: skip
    found = answer(study(records))
    assert found is not None
    said, = (s for s in found.sentences if s.startswith("Batching with **vmap**"))
    assert "1.01× manual's time [1.01, 1.01] over 3 pairs of cells under core (alike within" in said
    assert "3× manual's time [3, 3] over 3 pairs of cells under peer" in said


def test_what_grows_with_the_batch_is_not_averaged_over_it() -> None:
    records = [cell(algo, batch * (0.5 + 0.5 * (batching == "single")) + 0.1, 20, None,
                    batch_size=batch, batching=batching)
               for algo in ("d_rtrl", "es_d_rtrl") for batch in (1, 8, 128)
               for batching in ("manual", "single")]  # fmt: skip
    found = answer(study(records))
    assert found is not None
    said = "from 1.83× manual's time at B = 1 to 2× at B = 128"
    assert not any(said in s for s in found.sentences)  # within the noise: one figure will do
    for built in records:
        if built["row"]["batching"] == "single":
            built["metrics"]["step_time_ms"] *= 1 + np.log2(built["row"]["batch_size"])
    found = answer(study(records))
    assert found is not None
    said = "from 1.83× manual's time at B = 1 to 16× at B = 128 over 6 pairs of cells"
    assert any(said in s for s in found.sentences)


def test_a_comparison_with_bptt_is_of_the_same_batching_library_and_updates() -> None:
    records = [
        cell("bptt", 2, 10, 1.0, algo_config=None), cell("d_rtrl", 6, 20, 0.97),
        cell("bptt", 1, 10, 1.0, backend="plain"), cell("d_rtrl", 3, 20, 0.97, batching="vmap"),
    ]  # fmt: skip
    often = [cell("bptt", 0.5, 4, 1.0), cell("d_rtrl", 5, 8, 0.97)]
    for built in often:
        built["config"] = {**built["config"], "update_every": "1"}
        built["key"] = built["key"][::-1]
    found = answer(study([*records, *often]))
    assert found is not None
    assert [s for s in found.sentences if s.startswith("Against BPTT")] == [
        "Against BPTT with the same settings: d_rtrl takes 3× its time and 2× its memory "
        "(update_every=sequence manual core), 10× its time and 2× its memory "
        "(update_every=1 manual core)."
    ]


def test_libraries_are_compared_algorithm_by_algorithm_over_like_cells() -> None:
    records = [
        cell(algo, time * slower, 10 * leaner, cosine, backend=backend, batching=batching)
        for algo, cosine, factor in (("d_rtrl", 0.97, 8), ("es_d_rtrl", 0.9, 1.5))
        for batching, time in (("manual", 1), ("vmap", 2))
        for backend, slower, leaner in (("core", 1, 1), ("peer", factor * time, 0.5))
    ]
    other = [cell("d_rtrl", 1, 10, 0.97, model="gru"),
             cell("d_rtrl", 99, 1, 0.6, model="gru", backend="peer"),
             cell("es_d_rtrl", 1, 10, 0.97, model="gru"),
             silent(cell("es_d_rtrl", 99, 1, 0.97, model="gru", backend="peer"))]  # fmt: skip
    found = answer(study([*records, *other]))
    assert found is not None
    without = "without 1 pair whose gradients differ."
    assert [s for s in found.sentences if "against core's" in s] == [
        "**d_rtrl** against core's with the same settings: peer takes 8× to 16× its time and 0.5× "
        f"its memory (2 pairs); {without}",
        "**es_d_rtrl** against core's with the same settings: peer takes 1.5× to 3× its time and "
        f"0.5× its memory (2 pairs); {without}",
    ]


def with_accuracy(algo: str, time: float, accuracy: float, n_test: int = 360) -> dict[str, Any]:
    built = cell(algo, time, 20, 0.97)
    built["config"]["task"]["n_test"] = n_test
    built["metrics"]["test_accuracy"] = accuracy
    return built


def test_accuracies_are_told_apart_only_beyond_what_the_test_samples_allow() -> None:
    found = answer(study([with_accuracy("bptt", 9, 0.86), with_accuracy("d_rtrl", 8, 0.83),
                          with_accuracy("es_d_rtrl", 2, 0.73)]))  # fmt: skip
    assert found is not None
    assert found.sentences[0].startswith("**Start with d_rtrl**")
    assert found.sentences[1] == (
        "**If learning less will do, es_d_rtrl** takes 0.25× that time; its test accuracy ends at "
        "0.73, behind the best, 0.86."
    )
    assert any(s.startswith("After training, test accuracy is 0.86 [0.82, 0.892] under bptt; "
                            "not told apart from it: d_rtrl (0.83); behind it: es_d_rtrl (0.73).")
               for s in found.sentences)  # fmt: skip
    assert [row[-1] for row in found.rows] == ["speed", "test accuracy", "test accuracy"]


def test_every_way_that_trained_is_told_of() -> None:
    records = [with_accuracy("bptt", 9, 0.9 - 0.01 * i) for i in range(9)]
    for i, built in enumerate(records):
        built["config"] = {**built["config"], "clip": i}
        built["key"] = f"{i:016d}"
    found = answer(study(records))
    assert found is not None
    said, = (s for s in found.sentences if s.startswith("After training"))
    assert all(f"clip={i}" in said for i in range(9))


def test_memory_of_one_sample_at_a_time_is_that_of_a_step_not_of_a_call() -> None:
    batched = cell("d_rtrl", 4, 10, 0.97)
    single = cell("d_rtrl", 29, 0.5, 0.97, batching="single")
    single["metrics"]["memory_peak_mib"] = 3.5
    found = answer(study([batched, single]))
    assert found is not None
    assert any("If memory binds, d_rtrl · single** needs 3.5 MiB, 0.35×" in s
               for s in found.sentences)  # fmt: skip
    assert "peak memory (MiB)" in found.head
    assert "XLA's account of one sample at a time is of one call" in found.note


def test_a_badge_that_all_would_get_is_not_given_and_bptt_has_none_for_its_gradient() -> None:
    found = answer(study([cell("bptt", 1, 20, 1.0), cell("d_rtrl", 5, 10, 0.97),
                          cell("es_d_rtrl", 5, 10, 0.965)]))  # fmt: skip
    assert found is not None
    assert [row[-1] for row in found.rows] == ["speed", "memory", "memory"]


def test_the_note_names_what_the_numbers_do_not_show() -> None:
    old = cell("d_rtrl", 1, 2, 0.9, backend="peer", versions={"jax": "0.8.1"})
    old["metrics"]["steady"] = 0.0
    found = answer(study([old, cell("d_rtrl", 2, 2, 0.9), cell("es_d_rtrl", 2, 2, 0.9)]))
    assert found is not None
    assert "Not all ran on the same jax: peer on 0.8.1, the rest on 0.10.2." in found.note
    assert "1 cell was timed before the steps had become steady" in found.note
    assert "BPTT was not measured" in found.note
    with_bptt = answer(study([cell("bptt", 1, 2, 1.0), cell("d_rtrl", 2, 2, 0.9)]))
    assert with_bptt is not None
    assert not any(w in with_bptt.note for w in ("BPTT was not", "same jax", "become steady"))
