"""Cells: what keeps them apart, what merges, and what intervals they get."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_records import grid, record, study

from reports.choice import judged
from reports.study import Study


def test_two_decays_never_look_alike() -> None:
    decays = [record("es_d_rtrl", algo_config={"decay_or_rank": d}) for d in (0.9, 0.99, 4)]
    cells = study([*decays, record("bptt")]).cells
    assert sorted(cells["variant"]) == [
        "bptt", "es_d_rtrl decay_or_rank=0.9", "es_d_rtrl decay_or_rank=0.99",
        "es_d_rtrl decay_or_rank=4",
    ]  # fmt: skip


def test_a_setting_that_never_varies_is_not_in_the_name() -> None:
    built = [record("es_d_rtrl", n_hidden=h, algo_config={"decay_or_rank": 0.9}) for h in (8, 16)]
    assert set(study(built).cells["variant"]) == {"es_d_rtrl"}


def test_a_setting_outside_the_algorithm_keeps_cells_apart_too() -> None:
    fast, slow = record(), record(seed=0, created="2")
    slow["config"]["lr"] = 0.1
    slow["key"] = "another"
    assert sorted(study([fast, slow]).cells["variant"]) == ["bptt lr=0.001", "bptt lr=0.1"]


def test_seeds_and_repeats_merge_into_one_cell() -> None:
    made = study(grid(seed=[0, 1], repeat=[0, 1, 2]))
    assert len(made.cells) == 1
    cell = made.cells.iloc[0]
    assert cell["n"] == 6
    assert cell["step_time_ms"] == pytest.approx(made.table["step_time_ms"].median())
    assert len(cell["keys"]) == 6


def test_interval_over_processes_is_students() -> None:
    values = [10.0, 11.0, 12.5, 9.5]
    made = study([record(repeat=i, metrics={"step_time_ms": v}) for i, v in enumerate(values)])
    logs = np.log(values)
    half = 3.182446 * logs.std(ddof=1) / 2  # t quantile of 3 degrees of freedom
    cell = made.cells.iloc[0]
    assert np.log(cell["step_time_ms_lo"]) == pytest.approx(logs.mean() - half, rel=1e-5)
    assert np.log(cell["step_time_ms_hi"]) == pytest.approx(logs.mean() + half, rel=1e-5)


def test_two_processes_have_students_interval_not_the_union_of_their_samples() -> None:
    made = study([
        record(seed=i, metrics={"step_time_ms": t, "step_time_ms_lo": t - 1, "step_time_ms_hi": 99})
        for i, t in enumerate((10.0, 12.0))
    ])  # fmt: skip
    logs = np.log([10.0, 12.0])
    half = 12.706205 * logs.std(ddof=1) / np.sqrt(2)  # t quantile of 1 degree of freedom
    cell = made.cells.iloc[0]
    assert np.log(cell["step_time_ms_lo"]) == pytest.approx(logs.mean() - half, rel=1e-5)
    assert np.log(cell["step_time_ms_hi"]) == pytest.approx(logs.mean() + half, rel=1e-5)


def test_one_process_keeps_the_interval_of_its_samples() -> None:
    bounds = {"step_time_ms": 10, "step_time_ms_lo": 9, "step_time_ms_hi": 12}
    cell = study([record(metrics=bounds), *grid(n_hidden=[8], repeat=[0, 1])]).cells.iloc[0]
    assert (cell["step_time_ms_lo"], cell["step_time_ms_hi"]) == (9.0, 12.0)


def accuracies(values: dict[tuple[int, int], float]) -> Study:
    """A cell with the test accuracy of each (seed, repeat), on 360 images."""
    made = [record(seed=s, repeat=r, metrics={"test_accuracy": v}) for (s, r), v in values.items()]
    for built in made:
        built["config"]["task"]["n_test"] = 360
    return study(made)


def test_an_accuracy_over_seeds_has_their_spread_and_stays_a_share() -> None:
    cell = judged(accuracies({(0, 0): 0.056, (1, 0): 0.122})).iloc[0]
    assert cell["test_accuracy_lo"] == 0
    assert cell["test_accuracy_hi"] == pytest.approx(0.089 + 12.706205 * 0.033, abs=1e-4)


def test_repeats_of_a_seed_are_no_seeds() -> None:
    alone = judged(accuracies({(0, 0): 0.5})).iloc[0]
    repeated = judged(accuracies({(0, r): 0.5 for r in range(4)})).iloc[0]
    ends = ["test_accuracy_lo", "test_accuracy_hi"]
    assert repeated[ends].tolist() == alone[ends].tolist()
    assert alone["test_accuracy_hi"] - alone["test_accuracy_lo"] > 0.1  # 360 images: ± 5 %
    two = accuracies({(s, r): (0.4, 0.6)[s] for s in (0, 1) for r in range(4)})
    assert two.cells["test_accuracy_hi"].item() == 1.0  # 1 degree of freedom, not 7


def test_failed_cells_do_not_reach_the_figures() -> None:
    made = study([record(), record(n_hidden=128, status="oom")])
    assert len(made.table) == 2
    assert made.cells["n_hidden"].tolist() == [64]


def test_a_cell_measured_again_after_a_change_of_code_counts_once() -> None:
    old = record(commit="old", created="2025-01-01", metrics={"step_time_ms": 1.0})
    new = record(commit="new", created="2025-01-02", metrics={"step_time_ms": 2.0})
    made = study([old, new])
    assert len(made.everything) == 2
    assert made.table["step_time_ms"].tolist() == [2.0]


def test_machines_stay_apart() -> None:
    made = study([record(fingerprint="aaaa"), record(fingerprint="bbbb")])
    assert sorted(made.cells["variant"]) == ["bptt machine=aaaa", "bptt machine=bbbb"]


def test_slices_differ_in_one_axis_only() -> None:
    made = study(grid(algo=["bptt", "d_rtrl"], n_hidden=[8, 16], n_steps=[4, 8, 16]))
    slices = made.slices("n_steps", "step_time_ms")
    assert [s.title for s in slices] == ["H 8", "H 16"]
    for piece in slices:
        assert piece.cells["n_hidden"].nunique() == 1
        assert len(piece.cells) == 6
    assert made.slices("batch_size", "step_time_ms") == []
    assert made.slices("n_steps", "time_to_target_s") == []


def test_noise_is_read_from_pairs_of_processes_of_one_cell() -> None:
    values = [10.0, 10.4, 10.0]
    repeated = [record(repeat=i, metrics={"step_time_ms": v}) for i, v in enumerate(values)]
    found = study([*repeated, record(n_hidden=8)]).noise
    assert found is not None
    assert found.pairs == 3
    assert 0.03 < found.ratio <= 0.04 + 1e-9
    assert study([record()]).noise is None


def test_the_noise_experiment_is_preferred() -> None:
    probe = [record(repeat=i, experiment="noise", n_hidden=9, metrics={"step_time_ms": 5 + i})
             for i in range(2)]  # fmt: skip
    found = study([*probe, *grid(repeat=[0, 1, 2])]).noise
    assert found is not None
    assert found.probe
    assert found.ratio == pytest.approx(0.2)
