"""Records whose repeats leave out what is seeded say the same as if they had measured it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import ALGOS, Records, grid, study, way, write_sweep

from reports import page
from reports.compare import Comparison, compare
from reports.pivot import pivot
from reports.records.columns import SEEDED

METRICS = ("timing", "memory", "learning", "fidelity", "health", "work")
SEEDED_METRICS = ("learning", "fidelity", "health", "work")
MEASURED_ONCE = (SEEDED - {"grad_norm"}) | {"flops_per_step", "product_flops_per_step"}


def as_measured(records: Records) -> Records:
    """The records as the harness makes them: repeats without what the first process measured."""
    made = copy.deepcopy(records)
    for built in made:
        repeat = built["row"]["repeat"]
        built["config"]["metric"] = {
            name: {"_target_": f"bench.metrics.{name}.{name.title()}"}
            for name in METRICS
            if not repeat or name not in SEEDED_METRICS
        }
        if repeat:
            for part in ("metrics", "curves"):
                built[part] = {k: v for k, v in built[part].items() if k not in MEASURED_ONCE}
            built["fidelity"], built["health"] = {}, ""
    return made


def in_full(records: Records) -> Records:
    made = copy.deepcopy(records)
    for built in made:
        built["config"]["metric"] = {name: {"_target_": name} for name in METRICS}
    return made


def three_ways(health: str = "") -> Records:
    rng = np.random.default_rng(0)
    return [built for algo, ms in zip(ALGOS, (9, 5, 5.1), strict=True)
            for built in seeded_alike(way(rng, algo, ms, 20, seeds=2, repeats=3,
                                          health=health * (algo == "bptt")))]  # fmt: skip


def seeded_alike(records: Records) -> Records:
    """With what is seeded equal in the repeats of a seed, as it is."""
    first = {r["row"]["seed"]: r for r in records if not r["row"]["repeat"]}
    for built in records:
        own = first[built["row"]["seed"]]["metrics"]
        built["metrics"].update({k: own[k] for k in SEEDED if k in own})
    return records


@pytest.mark.parametrize("health", ["", "loss stuck at ln(10) = 2.3026"])
def test_the_page_says_the_same(health: str) -> None:
    records = three_ways(health)
    whole, short = (study(made(records)).facts for made in (in_full, as_measured))
    assert whole.noise == short.noise
    for one, other in zip(whole.settings, short.settings, strict=True):
        assert one.answer.kind == "start"
        for a, b in zip(one.ways, other.ways, strict=True):
            assert (a.name, a.ok, a.time) == (b.name, b.ok, b.time)
            assert (a.memory, a.flaw) == (b.memory, b.flaw)
            assert a.learned
            assert b.learned
            assert a.learned.verdict == b.learned.verdict
            assert b.learned.seeds == pytest.approx(dict(a.learned.seeds))
        assert one.answer.why == other.answer.why
        assert one.answer.order == other.answer.order
    sentences = [page.answer(study(made(records)).facts) for made in (in_full, as_measured)]
    assert sentences[0] == sentences[1]


def test_a_table_for_a_paper_says_the_same() -> None:
    values = ["step_time_ms", "test_accuracy"]
    whole, short = (
        pivot(study(made(three_ways())).table, ["algo"], [], values, intervals=True).cells
        for made in (in_full, as_measured)
    )
    assert whole.equals(short)


def compared(tmp_path: Path, base: Records, head: Records) -> Comparison:
    return compare(write_sweep(tmp_path / "base", base), write_sweep(tmp_path / "head", head))


def sweep() -> Records:
    return grid(algo=ALGOS, repeat=range(3))


@pytest.mark.parametrize("before", [as_measured, in_full])
def test_a_comparison_misses_nothing_that_repeats_leave_out(
    tmp_path: Path, before: Callable[[Records], Records]
) -> None:
    found = compared(tmp_path, before(sweep()), as_measured(sweep()))
    exact = [line for line in found.lines if line.gate == "exact"]
    assert len(exact) > 20
    assert {(line.verdict, line.note) for line in exact} == {("same", "")}
    head = as_measured(sweep())
    for built in head:
        if built["row"]["algo"] == "d_rtrl" and "loss_final" in built["metrics"]:
            built["metrics"]["loss_final"] *= 1.001
    found = compared(tmp_path, before(sweep()), head)
    assert [(line.metric, line.verdict) for line in found.alarms] == [("loss_final", "changed")]


def test_a_number_that_the_first_process_lost_is_missed(tmp_path: Path) -> None:
    head = as_measured(sweep())
    for built in head:
        if built["row"]["algo"] == "d_rtrl" and "loss_final" in built["metrics"]:
            built["metrics"]["loss_final"] = None
    (line,) = compared(tmp_path, as_measured(sweep()), head).alarms
    assert (line.metric, line.verdict) == ("loss_final", "lost")


def test_a_first_process_that_fails_is_told_once(tmp_path: Path) -> None:
    """Its repeats were never to measure what it did."""
    head = as_measured(sweep())
    for built in head:
        if built["row"]["algo"] == "d_rtrl" and not built["row"]["repeat"]:
            built |= {"status": "crashed", "reason": "ValueError: planted", "metrics": {}}
    found = compared(tmp_path, as_measured(sweep()), head)
    assert not found.alarms
    assert len(found.failing) == 1
    assert found.status == 1
    # And it is not recommended for the times of its repeats.
    assert study(head).facts.settings[0].answer.why["d_rtrl"] == "training failed"


def test_a_program_that_is_another_each_time_is_no_regression(tmp_path: Path) -> None:
    """As on a GPU, where the first gradients of equal processes differ in their last digits."""
    base, head = as_measured(sweep()), as_measured(sweep())
    for side in (base, head):
        for built in side:
            built["metrics"]["grad_norm"] *= 1 + 1e-7 * built["row"]["repeat"]
    for built in head:
        if "loss_final" in built["metrics"]:
            built["metrics"]["loss_final"] *= 1 + 1e-4
    lines = [ln for ln in compared(tmp_path, base, head).lines if ln.metric == "loss_final"]
    assert {line.verdict for line in lines} == {"cannot tell"}
    assert "processes of base differ in their first gradient's norm" in lines[0].note
    # What does not move is the same all the same.
    exact = [ln for ln in compared(tmp_path, base, base).lines if ln.gate == "exact"]
    assert {line.verdict for line in exact} == {"same"}
