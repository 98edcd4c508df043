"""The words of a report: how each way stands, and what to know before believing it."""

from __future__ import annotations

from typing import Any

import numpy as np
from synthetic_records import record, told, way


def ways_of(words: str) -> dict[str, str]:
    answer = words.split("## Problems")[0].splitlines()
    rows = [line.split(" | ") for line in answer if line.startswith("| ")]
    return {row[0].strip("| *"): row[-1].strip(" |") for row in rows}


def timed(algo: str, ms: float, **rest: Any) -> dict[str, Any]:
    return record(
        algo, metrics={"step_time_ms": ms, "memory_xla_mib": 20.0, "memory_peak_mib": 1.0}, **rest
    )


def test_a_pipe_or_a_link_in_a_name_ends_no_cell_of_a_table() -> None:
    twin = told([record("bptt", model="a|b [x](y)"), record("d_rtrl", model="a|b [x](y)")])
    assert "a\\|b [x]\\(y)" in twin
    assert "[x](y)" not in twin
    for name, rest in {"a": {}, "b": {"health": "[x](y)"}, "c": {"status": "oom"}}.items():
        twin = told([timed("bptt", 5), timed(f"{name} <[x](y)", 2 if rest else 5, **rest)])
        assert f"{name} &lt;[x]\\(y)" in twin.split("### Ways")[0]
        assert "[x](y)" not in twin


def test_every_problem_is_listed_with_its_reason() -> None:
    doubted = record("d_rtrl", n_hidden=8)
    doubted["memory"]["disagreement"] = "measured peak 0.6 MiB, below XLA's temporaries of 4.2 MiB"
    busy = record("bptt", n_hidden=8, metrics={"shared_with": 2.0})
    words = told([record("bptt", status="timeout", reason="600 s"), doubted, busy,
                  record("es_d_rtrl", n_hidden=8, health="loss stuck at ln(10)")])  # fmt: skip
    problems = words.split("## Problems")[1].split("\n## ")[0]
    for said in (
        "1 cell out of time",
        "600 s",
        "1 cell whose sources of memory disagree",
        "below XLA's",
        "1 cell of 3 timed under contention",
        "loss stuck at ln(10)",
    ):
        assert said in problems


def test_times_that_contradict_each_other_are_a_problem() -> None:
    own = {
        f"time_vs_bptt{end}": value for end, value in (("", 1.0), ("_low", 0.98), ("_high", 1.6))
    }
    turned, throttled = timed("d_rtrl", 3, seed=1), timed("d_rtrl", 9, seed=2)
    turned["metrics"] |= own
    told_so = "- d_rtrl: 1 by turns, 0.6 by processes of their own"
    words = told([timed("bptt", 5), turned])
    assert told_so in words
    assert "Within its one process the interval of a ratio spans up to a factor of 1.6." in words
    assert "- d_rtrl: 3 and 9 ms" in told([timed("bptt", 5), turned, throttled])
    turned["metrics"] |= {"step_time_ms": 5.2, "time_vs_bptt_high": 1.02}
    words = told([timed("bptt", 5), turned])
    assert "by turns," not in words
    assert "spans" not in words


def test_peaks_that_count_as_equal_are_said_to_be_so_within_their_slack() -> None:
    peaks = {"manual": 0.148, "single": 0.328}
    words = told([record("d_rtrl", batching, metrics={"step_time_ms": 5.0, "memory_peak_mib": mib})
                  for batching, mib in peaks.items()])  # fmt: skip
    assert "which are equal in memory (up to 2 % or 0.5 MiB) and test accuracy, and" in words


def test_an_option_that_is_null_is_called_as_it_is_set() -> None:
    records = [record(), record(seed=1)]
    for built, threads in zip(records, (1, None), strict=True):
        built["config"]["threads"] = threads
    assert "threads = null (cpu)" in told(records)


def test_what_a_batching_learned_is_not_told_where_it_never_ran() -> None:
    words = told([timed("bptt", 5, batching="manual"), timed("d_rtrl", 5, batching="manual"),
                  record("bptt", batching="vmap", status="oom")])  # fmt: skip
    (row,) = [line for line in words.splitlines() if line.startswith("| bptt · vmap |")]
    assert row == "| bptt · vmap | – | – | – | – | out of memory in 1 of 1 run |"


def test_where_the_largest_size_learned_nothing_the_others_are_named() -> None:
    records = [timed(algo, ms, n_hidden=h) for h in (32, 64, 128)
               for algo, ms in (("bptt", 9), ("d_rtrl", 5))]  # fmt: skip
    for built in records:
        built["metrics"] |= {"n_classes": 10}
        if built["row"]["n_hidden"] == 128:
            built["metrics"]["test_accuracy"] = 0.1
    words = told(records)
    assert "No recommendation: nothing learned" in words
    assert "- At other sizes: d_rtrl at H = 64 and H = 32." in words


def test_brackets_say_what_they_are() -> None:
    for n, what in ((1, ""), (2, "both values of two processes or seeds"), (3, "95 % intervals")):
        words = told([timed(a, 5 + i, seed=i) for a in ("bptt", "d_rtrl") for i in range(n)])
        assert f"In brackets: {what}." in words if what else "In brackets" not in words


def test_no_problem_is_said_to_be_none() -> None:
    assert "None: every cell gave a result." in told([record()])


def test_where_nothing_was_timed_memory_is_answered_for() -> None:
    records = [record(algo) for algo in ("bptt", "d_rtrl")]
    for built, mib in zip(records, (8.0, 6.0), strict=True):
        built["metrics"] = {"memory_xla_mib": mib}
    assert "nothing was timed; **d_rtrl** needs the least memory, 6 MiB" in told(records)
    for built in records:
        built["metrics"] = {}
    assert "No answer: neither time nor memory was measured" in told(records)


def test_each_way_has_a_row_that_says_how_it_stands() -> None:
    words = told(
        [
            timed("bptt", 5),
            timed("d_rtrl", 9),
            timed("es_d_rtrl", 2, health="never spikes"),
            record("rtrl", status="oom"),
        ]
    )
    found = ways_of(words)
    assert found["bptt"] == "**recommended**"
    assert found["d_rtrl"] == "80 % slower"
    assert found["es_d_rtrl"] == "not healthy: never spikes; 0.4 × the time"
    assert found["rtrl"] == "out of memory in 1 of 1 run"
    assert "es_d_rtrl takes 0.4 × the time, but its training is not healthy: never spikes." in words


def test_a_lone_way_is_not_recommended_over_nothing() -> None:
    assert ways_of(told([timed("d_rtrl", 5)]))["d_rtrl"] == "**the only way measured**"
    sick = told([timed("d_rtrl", 5, health="never spikes")])
    assert ways_of(sick)["d_rtrl"] == "**the only way measured; not healthy: never spikes**"


def test_a_cosine_is_not_rounded_to_the_other_side_of_its_verdict() -> None:
    none = dict.fromkeys(("accuracy", "test_accuracy", "loss_final"))
    ways = (("bptt", 5.0, 1.0), ("d_rtrl", 2.0, 0.9499))
    records = [record(algo, metrics=none | {"step_time_ms": ms, "grad_cosine": cosine})
               for algo, ms, cosine in ways]  # fmt: skip
    words = told(records)
    assert "but its gradient's cosine to BPTT's is 0.9499." in words
    assert "| 0.9499 | gradient differs;" in words


def test_how_many_seeds_are_too_few_is_said_of_whom() -> None:
    def note(**seeds: int) -> str:
        records = [record(algo, seed=s) for algo, n in seeds.items() for s in range(n)]
        found = [line for line in told(records).splitlines() if "from three on" in line]
        return "".join(found).split(":")[0]

    assert note(bptt=1, d_rtrl=1) == "1 seed"
    assert note(bptt=1, d_rtrl=2) == "1 or 2 seeds"
    assert note(bptt=3, d_rtrl=2, es_d_rtrl=1) == "1 or 2 seeds of d_rtrl and es_d_rtrl"
    assert note(bptt=3, d_rtrl=3) == note(bptt=1) == ""


def test_what_memory_is_of_is_said_of_which_settings() -> None:
    sizes = {64: {"memory_peak_mib": 1.0}, 128: {"memory_peak_mib": 100.0}}
    words = told([record(algo, n_hidden=h, metrics=m) for h, m in sizes.items()
                  for algo in ("bptt", "d_rtrl")])  # fmt: skip
    assert "- Memory at H = 128 is the measured peak" in words
    assert "- Memory at H = 64 is XLA's account" in words
    assert "- Memory is the measured peak" in told([record(metrics=sizes[128])])


def test_cells_of_other_library_versions_are_told() -> None:
    others = ({}, {"numpy": "2.4.6"}, {"brainstate": "0.6.0"})
    records = [record(seed=i, versions={"jax": "0.10.2", "brainstate": "0.5.4"} | other)
               for i, other in enumerate(others)]  # fmt: skip
    title = "Not all cells ran on the same versions of the libraries"
    problems = told(records).split("## Problems")[1].split("\n## ")[0]
    assert f"{title}:\n\n- brainstate 0.5.4: 2 cells\n- brainstate 0.6.0: 1 cell\n" in problems
    assert title not in told(records[:2])  # a library that only some cells need


def test_memory_is_offered_where_it_is_limited() -> None:
    lean = record(
        "d_rtrl", metrics={"step_time_ms": 9.0, "memory_xla_mib": 4.0, "memory_peak_mib": 1.0}
    )
    words = told([timed("bptt", 3), lean])
    assert "If memory is limited: d_rtrl needs 4 MiB instead of 20, 3 × the time." in words


def test_other_sizes_are_listed_from_the_smallest() -> None:
    records = [
        timed(algo, ms, n_hidden=h)
        for h in (128, 8, 64)
        for algo, ms in (("bptt", 3), ("d_rtrl", 9))
    ]
    words = told(records)
    rows = [line.split(" | ")[0] for line in words.splitlines() if line.startswith("| H = ")]
    assert rows == ["| H = 8", "| H = 64", "| H = 128"]
    assert "At other sizes: the same at H = 64 and H = 8." in words


def test_what_the_first_screen_leaves_out_is_counted() -> None:
    tasks = [timed(algo, ms, task=t) for t in "abcde" for algo, ms in (("bptt", 3), ("d_rtrl", 9))]
    assert "2 further combinations of task, model and options" in told(tasks)
    assert "further combination" not in told(tasks[:6])


def test_of_a_way_at_chance_no_seeds_are_said_to_guess_beside() -> None:
    rng = np.random.default_rng(0)
    lost = way(rng, "d_rtrl", 5, 20, 0.1, spread=0)
    lost[0]["metrics"]["test_accuracy"] = 0.13  # above chance by itself, and the mean is not
    words = told([*way(rng, "bptt", 5, 20), *lost])
    assert ways_of(words)["d_rtrl"] == "at chance; within noise"
