"""Comparing two sweeps: what the exact gate catches, what the clock may and may not say."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_records import ALGOS, VERSIONS, Records, grid, record, write_sweep

from reports.compare import FORMATS, Comparison, compare
from reports.errors import InputError
from reports.records import read_sweeps
from reports.records.table import frame, write

TIME = "step_time_ms"


def sweep(**axes: Any) -> Records:
    return grid(**{"algo": ALGOS, "repeat": range(8), **axes})


def changed(records: Records, change: Callable[[dict[str, Any]], None], algo: str) -> Records:
    out = copy.deepcopy(records)
    touched = [r for r in out if r["row"]["algo"] == algo]
    assert touched
    for built in touched:
        change(built)
    return out


def compared(tmp_path: Path, base: Records, head: Records) -> Comparison:
    return compare(write_sweep(tmp_path / "base", base), write_sweep(tmp_path / "head", head))


def times(factor: float, *metrics: str) -> Callable[[dict[str, Any]], None]:
    def change(built: dict[str, Any]) -> None:
        for metric in metrics:
            built["metrics"][metric] *= factor

    return change


def verdicts(found: Comparison, metric: str) -> dict[str, str]:
    return {line.cell.split()[0]: line.verdict for line in found.lines if line.metric == metric}


def test_a_sweep_is_the_same_as_itself(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, sweep())
    found = compare(folder, folder)
    assert found.status == 0
    assert {line.verdict for line in found.lines} == {"same"}
    assert not found.notes


@pytest.mark.parametrize(
    ("metric", "factor", "verdict"),
    [
        ("etrace_mib", 1.05, "worse"),
        ("etrace_mib", 0.95, "better"),
        ("n_compilations", 2, "worse"),
        ("flops_per_step", 1.0001, "worse"),
        ("memory_xla_mib", 1.001, "worse"),
        ("loss_final", 1.001, "changed"),
        ("loss_final", 0.999, "changed"),
        ("loss_first", 1.001, "changed"),
        ("accuracy", 0.9, "worse"),
        ("test_accuracy", 0.97, "worse"),
        ("test_accuracy", 1.02, "better"),
        ("grad_cosine", 0.999, "worse"),
        ("grad_rel_error", 1.01, "worse"),
    ],
)
def test_the_exact_gate_catches_a_planted_change(
    tmp_path: Path, metric: str, factor: float, verdict: str
) -> None:
    base = sweep(repeat=[0])  # one process is enough where no clock is read
    found = compared(tmp_path, base, changed(base, times(factor, metric), "d_rtrl"))
    assert verdicts(found, metric)["d_rtrl"] == verdict
    others = [ln for ln in found.lines if ln.gate == "exact" and ln.verdict != "same"]
    assert [(ln.metric, ln.cell.split()[0]) for ln in others] == [(metric, "d_rtrl")]
    assert found.status == (0 if verdict == "better" else 1)


def test_with_one_repeat_time_cannot_tell_and_the_exact_gate_decides(tmp_path: Path) -> None:
    base = sweep(repeat=[0])
    found = compared(tmp_path, base, changed(base, times(3, TIME), "bptt"))
    assert set(verdicts(found, TIME).values()) == {"cannot tell"}
    assert found.status == 0
    assert "repeats=3 or more can tell" in next(
        line.note for line in found.lines if line.metric == TIME
    )


@pytest.mark.parametrize(("factor", "verdict", "status"), [(1.25, "worse", 1), (0.75, "better", 0)])
def test_a_planted_change_of_time_is_called(
    tmp_path: Path, factor: float, verdict: str, status: int
) -> None:
    head = changed(sweep(commit=["new"], noise=[0.01]), times(factor, TIME), "d_rtrl")
    found = compared(tmp_path, sweep(noise=[0.01]), head)
    assert verdicts(found, TIME) == {"bptt": "same", "es_d_rtrl": "same", "d_rtrl": verdict}
    assert found.status == status
    line = next(ln for ln in found.lines if ln.metric == TIME and ln.verdict == verdict)
    assert line.change == pytest.approx(factor - 1, abs=0.04)
    assert line.low is not None
    assert line.high is not None
    assert line.low < line.change < line.high
    assert line.p is not None
    assert line.p < 0.05
    assert len(line.keys) == 16


def test_a_change_of_a_negative_number_has_the_sign_of_its_direction(tmp_path: Path) -> None:
    base, head = sweep(algo=["bptt"], repeat=[0]), sweep(algo=["bptt"], repeat=[0], commit=["new"])
    for side, loss, score in ((base, -3.2, -0.2), (head, -3.0, 0.5)):
        side[0]["metrics"] |= {"loss_final": loss, "test_r2": score}
    lines = {line.metric: line for line in compared(tmp_path, base, head).lines}
    assert lines["loss_final"].change == pytest.approx(0.0625)
    assert (lines["test_r2"].verdict, lines["test_r2"].change) == ("better", pytest.approx(3.5))


def test_more_noise_gives_more_cannot_tell_and_says_what_it_could_have_seen(tmp_path: Path) -> None:
    base, head = sweep(noise=[0.4]), sweep(noise=[0.4], commit=["new"])
    found = compared(tmp_path, base, head)
    assert set(verdicts(found, TIME).values()) == {"cannot tell"}
    assert all((ln.detectable or 0) > 0.2 for ln in found.lines if ln.metric == TIME)


def lose(built: dict[str, Any], *names: str, health: str = "") -> None:
    for name in names:
        built["metrics"][name] = None
    built["health"] = health


@pytest.mark.parametrize("bad", [1, 3])
def test_a_loss_that_is_not_finite_in_any_repeat_is_a_regression(tmp_path: Path, bad: int) -> None:
    base = sweep(repeat=range(3))
    head = copy.deepcopy(base)
    for built in [r for r in head if r["row"]["algo"] == "d_rtrl"][:bad]:
        lose(built, "loss_final", "grad_cosine", health="loss is not finite")
    found = compared(tmp_path, base, head)
    assert found.status == 1
    assert verdicts(found, "loss_final")["d_rtrl"] == "changed"
    assert verdicts(found, "grad_cosine")["d_rtrl"] == "worse"
    assert verdicts(found, "health") == {"d_rtrl": "worse"}
    (note,) = {line.note for line in found.alarms if line.metric == "loss_final"}
    assert note == (f"not finite or not recorded in {bad} of 3 processes of head "
                    "(loss is not finite)")  # fmt: skip
    assert compare(tmp_path / "head", tmp_path / "head").status == 0


def test_nan_and_infinity_in_a_file_are_not_finite(tmp_path: Path) -> None:
    base, head = [record()], [record(metrics={"loss_final": float("nan"), "grad_cosine": math.inf})]
    found = compared(tmp_path, base, head)
    assert {line.metric for line in found.alarms} == {"loss_final", "grad_cosine"}


def test_a_loss_that_was_not_finite_before_has_changed(tmp_path: Path) -> None:
    base, head = [record()], [record()]
    lose(base[0], "loss_final", health="loss is not finite")
    found = compared(tmp_path, base, head)
    assert verdicts(found, "loss_final")["bptt"] == "changed"
    assert verdicts(found, "health")["bptt"] == "better"


def test_a_metric_that_head_lacks_is_lost(tmp_path: Path) -> None:
    base, head = sweep(repeat=[0]), sweep(repeat=[0])
    for built in head:
        del built["metrics"]["flops_per_step"], built["metrics"][TIME]
    found = compared(tmp_path, base, head)
    assert set(verdicts(found, "flops_per_step").values()) == {"lost"}
    assert set(verdicts(found, TIME).values()) == {"lost"}
    assert "\nLost\n" in FORMATS["text"](found)
    assert found.status == 1
    back = compared(tmp_path / "back", head, base)
    assert back.status == 0


def test_health_with_other_figures_is_the_same(tmp_path: Path) -> None:
    base, head = [record(health="loss stuck at 2.30")], [record(health="loss stuck at 2.31")]
    assert verdicts(compared(tmp_path, base, head), "health") == {"bptt": "same"}


def test_memory_that_doubled_fails_although_repeats_differ_a_little(tmp_path: Path) -> None:
    base = sweep(repeat=range(3))
    for built in base:
        built["metrics"]["memory_xla_mib"] *= 1 + 1e-6 * built["row"]["repeat"]
    head = changed(base, times(2, "memory_xla_mib"), "bptt")
    head = changed(head, times(1 + 2e-6, "memory_xla_mib"), "d_rtrl")
    found = compared(tmp_path, base, head)
    assert verdicts(found, "memory_xla_mib")["bptt"] == "worse"
    assert verdicts(found, "memory_xla_mib")["d_rtrl"] == "cannot tell"


def test_other_library_versions_are_not_compared_digit_by_digit(tmp_path: Path) -> None:
    newer = {**VERSIONS, "jax": "0.11.0"}
    base = sweep(repeat=[0])
    head = changed(sweep(repeat=[0], versions=[newer]), times(2, "memory_xla_mib"), "bptt")
    found = compared(tmp_path, base, head)
    exact = [ln for ln in found.lines if ln.gate == "exact"]
    assert {ln.verdict for ln in exact} == {"cannot tell"}
    assert exact[0].note == "different versions: jax 0.10.2 and jax 0.11.0"
    assert found.status == 0


def test_another_machine_is_named_and_its_times_are_not_compared(tmp_path: Path) -> None:
    head = changed(sweep(fingerprint=["machine-b"]), times(2, TIME), "bptt")
    for built in head:
        built["provenance"]["processor"] = "Other 1"
    found = compared(tmp_path, sweep(), head)
    assert set(verdicts(found, TIME).values()) == {"cannot tell"}
    assert set(verdicts(found, "loss_final").values()) == {"cannot tell"}
    assert set(verdicts(found, "etrace_mib").values()) == {"same"}  # bytes do not depend on it
    assert any("The machines differ: Imaginary 9000 (machine-a) and Other 1" in n
               for n in found.notes)  # fmt: skip


def test_missing_failing_added_and_repaired_cells_are_named(tmp_path: Path) -> None:
    base = [record("bptt"), record("d_rtrl"), record("es_d_rtrl", status="oom"),
            record("bptt", n_hidden=8, status="skipped")]  # fmt: skip
    head = [record("d_rtrl", status="crashed", reason="signal 9"), record("es_d_rtrl"),
            record("bptt", n_hidden=99)]  # fmt: skip
    found = compared(tmp_path, base, head)
    assert [c.split()[0] for c in found.missing] == ["bptt"]
    assert found.failing[0].startswith("d_rtrl")
    assert found.failing[0].endswith("crashed, signal 9")
    assert "H=99" in found.added[0]
    assert found.fixed[0].startswith("es_d_rtrl")
    assert found.status == 1


def test_only_missing_or_only_failing_is_status_1(tmp_path: Path) -> None:
    base = [record("bptt"), record("d_rtrl")]
    assert compared(tmp_path / "1", base, [record("bptt")]).status == 1
    assert compared(tmp_path / "2", base, [base[0], record("d_rtrl", status="oom")]).status == 1
    assert compared(tmp_path / "3", [base[0]], base).status == 0


def test_a_setting_that_only_one_side_knows_does_not_unpair(tmp_path: Path) -> None:
    base = sweep(repeat=[0])
    head = copy.deepcopy(base)
    for built in head:
        built["config"]["new_option"] = 3
    found = compared(tmp_path, base, head)
    assert not found.missing
    assert any("has the settings cfg.new_option" in note for note in found.notes)


def test_where_a_sweep_lives_does_not_unpair(tmp_path: Path) -> None:
    base, head = sweep(repeat=[0]), sweep(repeat=[0])
    for built in head:
        built["config"]["out"] = "elsewhere"
    assert not compared(tmp_path, base, head).missing


def test_two_decays_are_two_cells(tmp_path: Path) -> None:
    cells = [record("es_d_rtrl", algo_config={"decay_or_rank": d}) for d in (0.9, 0.99)]
    found = compared(tmp_path, cells, cells[:1])
    assert len(found.missing) == 1
    assert "decay_or_rank=0.99" in found.missing[0]


def test_parquet_compares_as_the_folder_does(tmp_path: Path) -> None:
    base = sweep()
    head = changed(base, times(1.05, "etrace_mib"), "d_rtrl")
    folders = [write_sweep(tmp_path / name, r) for name, r in (("base", base), ("head", head))]
    for folder in folders:
        records = read_sweeps([folder]).records
        write(frame(records), folder)
    by_folder = compare(*folders)
    by_file = compare(*(folder / "results.parquet" for folder in folders))
    assert [(ln.cell, ln.metric, ln.verdict) for ln in by_file.lines] == [
        (ln.cell, ln.metric, ln.verdict) for ln in by_folder.lines
    ]
    assert by_file.status == by_folder.status == 1


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="share none of their 1 and 1 cells, for they differ in n_hidden"
    ):
        compared(tmp_path, [record(n_hidden=8)], [record(n_hidden=16)])


@pytest.fixture
def mixed(tmp_path: Path) -> Comparison:
    base = sweep()
    head = changed(base, times(1.05, "etrace_mib"), "d_rtrl")
    return compared(tmp_path, [*base, record(n_hidden=8)], [*head, record(n_hidden=9)])


def test_json_is_complete_and_strict(mixed: Comparison) -> None:
    data = json.loads(FORMATS["json"](mixed), parse_constant=lambda name: pytest.fail(name))
    assert data["status"] == 1
    assert data["alarms"] == 1
    assert len(data["lines"]) == len(mixed.lines)


def test_markdown_shows_alarms_and_folds_the_rest(mixed: Comparison) -> None:
    made = FORMATS["markdown"](mixed)
    assert made.startswith("### 1 regression (1 exact, 0 in time), 1 missing cell.")
    assert made.index("**Worse**") < made.index("<details>")
    assert "+5.00%" in made


def test_text_for_people_names_the_cell(mixed: Comparison) -> None:
    assert mixed.headline in FORMATS["text"](mixed)
    assert "d_rtrl manual B=16 H=64 T=16  etrace_mib: 0.5 -> 0.525, +5.00%" in FORMATS["text"](
        mixed
    )


def test_markup_in_names_is_escaped(tmp_path: Path) -> None:
    base = [record("<b>x</b>|y"), record("bptt")]
    found = compared(tmp_path, base, base[1:])
    assert "<b>" not in FORMATS["markdown"](found)
