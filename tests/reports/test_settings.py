"""What tells cells apart: whole values, shown with as few digits as keep them apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from synthetic_records import record, study, write_sweep

from reports.compare import compare
from reports.records import frame
from reports.records.settings import identities, labels, settings, variants, whole

CLOSE = (0.9991, 0.9994, 0.9996)


def test_a_value_is_its_digits() -> None:
    assert [whole(v) for v in (1, 1.0, 0.1 + 0.2, None, float("nan"), pd.NA, "a", True)] == [
        "1", "1", "0.30000000000000004", "", "", "", "a", "True",
    ]  # fmt: skip


def test_labels_have_the_digits_that_keep_them_apart() -> None:
    assert list(labels([0.5, 0.25]).values()) == ["0.5", "0.25"]
    assert list(labels(CLOSE).values()) == ["0.9991", "0.9994", "0.9996"]
    assert len(set(labels([0.3, 0.1 + 0.2]).values())) == 2


def test_close_decays_are_cells_of_their_own_everywhere(tmp_path: Path) -> None:
    records = [record("es_d_rtrl", algo_config={"decay_or_rank": d}) for d in CLOSE]
    assert study(records).cells["way"].tolist() == [f"es_d_rtrl decay_or_rank={d}" for d in CLOSE]
    folder = write_sweep(tmp_path, records)
    found = compare(folder, folder)
    assert {key for line in found.lines for key in line.keys} == {r["key"] for r in records}
    assert len({line.cell for line in found.lines}) == 3


def test_large_seeds_keep_their_last_digits() -> None:
    table = frame([record(seed=2**60 + i) for i in range(2)] + [record(seed=3)])
    assert table["seed"].tolist() == [2**60, 2**60 + 1, 3]
    mixed = frame([record(algo_config={"a": v}) for v in (2**60, 2**60 + 1, 0.5)])
    assert mixed["cfg.algo.a"].nunique() == 3


def test_options_of_one_name_in_two_places_are_named_apart() -> None:
    table = pd.DataFrame({"algo": ["x", "x"], "cfg.a.n": [1, None], "cfg.b.n": [None, 1]})
    assert variants(table, ["cfg.a.n", "cfg.b.n"]) == ["x a.n=1", "x b.n=1"]


def test_identities_are_equal_across_files_with_other_types() -> None:
    one, two = frame([record(algo_config={"w": 1})]), frame([record(algo_config={"w": 1.0})])
    by = settings(one)
    assert "cfg.algo.w" in by
    assert "cfg.out" not in by
    assert identities(one, by).tolist() == identities(two, by).tolist()


def test_text_is_no_number_no_truth_and_not_nothing() -> None:
    values = [1, "1", 1.5, "1.5", True, "True", None, "", "1e3", '"1"', "a"]
    for mixed in (values, list(reversed(values))):
        table = frame([record(algo_config={"w": v}) for v in mixed])
        assert identities(table, ["cfg.algo.w"]).nunique() == len(values)
    alone = [frame([record(algo_config={"w": v})]) for v in values]
    found = [identities(t, ["cfg.algo.w"])[0] if "cfg.algo.w" in t else ("",) for t in alone]
    assert set(found) == set(identities(table, ["cfg.algo.w"]))
    assert len(set(found)) == len(values)
