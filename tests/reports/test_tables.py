"""The results table: the contract's columns, types that survive parquet, pivots as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_records import grid, record, write_sweep

import reports
from reports.cli import main
from reports.errors import InputError
from reports.pivot import FORMATS, pivot
from reports.records.columns import CONTRACT, describe
from reports.records.table import frame, one_thread, read_parquet, write
from reports.text import short


def test_contract_columns_always_exist_null_where_absent(tmp_path: Path) -> None:
    bare = record(status="crashed", reason="signal 9")
    table = reports.load(write_sweep(tmp_path, [bare]))
    assert set(CONTRACT) <= set(table.columns)
    assert table["step_time_ms"].isna().all()
    assert table["reason"].tolist() == ["signal 9"]
    assert list(table.columns[: len(CONTRACT)]) == list(CONTRACT)


def test_every_configuration_leaf_is_a_column() -> None:
    built = record(algo_config={"decay_or_rank": [0.9, 0.8], "deep": {"er": {"leaf": True}}})
    row = frame([built]).iloc[0]
    assert row["cfg.algo.decay_or_rank"] == "[0.9, 0.8]"
    assert row["cfg.algo.deep.er.leaf"]
    assert row["cfg.lr"] == 1e-3
    assert row["cfg.update_every"] == "sequence"


@pytest.mark.parametrize("kind", [object, "string", "Int64"])
def test_one_thread_is_told_by_the_setting_or_by_the_cores(kind: Any) -> None:
    values: dict[str, list[Any]] = {"cfg.threads": [1, 2, None, None], "env.cores": [8, 8, 1, None]}
    if kind == "string":
        values = {k: [None if v is None else str(v) for v in some] for k, some in values.items()}
    table = pd.DataFrame({k: pd.array(some, dtype=kind) for k, some in values.items()})
    assert one_thread(table).tolist() == [True, False, True, False]
    assert not one_thread(table[[]]).any()
    starved = table.assign(cpu_per_wall=pd.array([0.4, 1.0, 0.99, 1.0], dtype="object"))
    assert one_thread(starved).tolist() == [False, False, True, False]


def test_further_metrics_and_intervals_stand_beside_theirs() -> None:
    table = frame([record(metrics={"bandwidth_gib_s": 3.0})])
    columns = list(table.columns)
    at = columns.index("step_time_ms")
    assert columns[at : at + 3] == ["step_time_ms", "step_time_ms_lo", "step_time_ms_hi"]
    assert table["bandwidth_gib_s"].tolist() == [3.0]


@pytest.mark.parametrize("part", [None, "row", "metrics", "provenance"])
def test_contention_is_a_column_wherever_a_record_tells_it(part: str | None) -> None:
    busy, calm, silent = record(), record(seed=1), record(seed=2)
    for built, told in ((busy, True), (calm, False)):
        (built[part] if part else built)["contended"] = told
    assert frame([busy, calm, silent])["contended"].tolist()[:2] == [1.0, 0.0]
    assert frame([busy, silent])["contended"].isna().tolist() == [False, True]
    assert "contended" not in frame([silent])


def test_words_that_some_rows_have_are_rows() -> None:
    table = frame([record("bptt"), record("d_rtrl", health="loss not finite"), record("es_d_rtrl")])
    made = pivot(table, ["health"], [], ["loss_final"])
    assert list(made.cells.index) == ["loss not finite", "–"]


def test_a_metric_called_like_a_column_of_the_cell_does_not_replace_it() -> None:
    (row,) = frame([record(metrics={"status": 3.0, "algo": 2.0, "cfg.lr": 7.0})]).to_dict("records")
    assert (row["status"], row["algo"], row["cfg.lr"]) == ("ok", "bptt", 1e-3)


def test_parquet_and_csv_hold_the_same_rows(tmp_path: Path) -> None:
    records = [
        record(algo_config={"window": "auto"}),
        record(seed=1, algo_config={"window": 16}),
        record(seed=2, algo_config={"window": None}, status="oom"),
    ]
    table = frame(records)
    write(table, tmp_path)
    stored = read_parquet(tmp_path / "results.parquet")
    assert stored["cfg.algo.window"].tolist()[:2] == ["auto", "16"]
    assert stored["step_time_ms"].tolist()[:2] == table["step_time_ms"].tolist()[:2]
    assert len(pd.read_csv(tmp_path / "results.csv")) == 3
    assert stored["env.fingerprint"].tolist() == ["machine-a"] * 3
    assert stored["env.versions"][0] == "brainstate 0.5.4, jax 0.10.2"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["results.csv", "results.parquet"]


def test_a_foreign_parquet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(InputError, match="without key, experiment"):
        read_parquet(file)
    file.write_text("no parquet")
    with pytest.raises(InputError, match="expected a sweep's folder or a results"):
        read_parquet(file)


@pytest.fixture
def table() -> pd.DataFrame:
    return frame(grid(algo=["bptt", "d_rtrl"], n_hidden=[64, 128], seed=[0, 1]))


def test_pivot_takes_medians_of_ok_cells(table: pd.DataFrame) -> None:
    made = pivot(table, ["n_hidden"], ["algo"], ["step_time_ms"])
    expected = table[table["algo"].eq("bptt") & table["n_hidden"].eq(64)]["step_time_ms"].median()
    assert made.cells.loc["64", ("step_time_ms", "bptt")].centre == expected
    assert made.cells.index.tolist() == ["64", "128"]
    assert made.cells.columns.get_level_values("algo").tolist() == ["bptt", "d_rtrl"]


def test_pivot_of_an_unknown_column_suggests_close_ones(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"got 'n_hiden'\. Close to it: n_hidden"):
        pivot(table, ["n_hiden"], ["algo"], ["step_time_ms"])


def test_pivot_over_several_keys_in_every_format() -> None:
    rows = frame(grid(algo=["bptt", "d_rtrl"], n_hidden=[64, 128], batching=["manual", "vmap"]))
    made = pivot(rows, ["n_hidden", "batching"], ["algo"], ["step_time_ms"])
    lines = FORMATS["markdown"](made).splitlines()
    assert lines[:2] == ["| n_hidden | batching | bptt | d_rtrl |", "| --- | --- | ---: | ---: |"]
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| 64", "manual"], ["| 64", "vmap"], ["| 128", "manual"], ["| 128", "vmap"],
    ]  # fmt: skip
    assert FORMATS["csv"](made).splitlines()[0] == "n_hidden,batching,bptt,d_rtrl"
    across = pivot(rows, ["n_hidden"], ["algo", "batching"], ["step_time_ms"])
    assert FORMATS["markdown"](across).startswith("| n_hidden | bptt · manual | bptt · vmap |")


def test_a_row_stays_where_a_column_does_not_apply_or_nothing_was_measured() -> None:
    made = pivot(
        frame([record("bptt"), record("d_rtrl", algo_config={"window": 4}),
               record("d_rtrl", algo_config={"window": 9}, status="oom")]),
        ["algo", "cfg.algo.window"], ["n_hidden"], ["loss_final"],
    )  # fmt: skip
    lines = FORMATS["markdown"](made).splitlines()[2:]
    assert lines[0].startswith("| bptt | – | 0.")
    assert lines[1].startswith("| d_rtrl | 4 | 0.")
    assert lines[2] == "| d_rtrl | 9 | oom |"
    assert FORMATS["csv"](made).splitlines()[3] == "d_rtrl,9,"


def test_without_columns_a_table_has_one_a_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sweep(tmp_path, [record("bptt"), record("d_rtrl", algo_config={"window": 4})])
    assert main(["table", str(folder), "--rows", "algo,cfg.algo.window"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| algo | cfg.algo.window | step time (ms) |"
    assert [line.split(" | ")[:2] for line in lines[2:]] == [["| bptt", "–"], ["| d_rtrl", "4"]]
    assert main(["table", str(folder), "--rows", "algo", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("algo,step_time_ms\n")


def test_close_values_are_rows_of_their_own_with_the_digits_they_need() -> None:
    decays = (0.9991, 0.9994, 0.5)
    rows = frame([record("es_d_rtrl", algo_config={"decay_or_rank": d}) for d in decays])
    made = pivot(rows, ["cfg.algo.decay_or_rank"], ["algo"], ["loss_final"])
    assert [line.split(" | ")[0] for line in FORMATS["markdown"](made).splitlines()[2:]] == [
        "| 0.5", "| 0.9991", "| 0.9994",
    ]  # fmt: skip


def test_several_metrics_with_intervals() -> None:
    rows = frame(grid(algo=["bptt", "d_rtrl"], repeat=range(3)))
    made = pivot(rows, ["n_hidden"], ["algo"], ["step_time_ms", "loss_final"], intervals=True)
    head, _, line = FORMATS["markdown"](made).splitlines()
    assert head == ("| n_hidden | bptt step time (ms) | d_rtrl step time (ms) | bptt final loss | "
                    "d_rtrl final loss |")  # fmt: skip
    cells = line.strip("| ").split(" | ")[1:]
    assert [cell.count(" to ") for cell in cells] == [1, 1, 0, 0]  # one seed has no interval
    assert made.cells.loc["64", ("step_time_ms", "bptt")].kind == "95 %"
    head = FORMATS["csv"](made).splitlines()[0].split(",")
    assert head[1:4] == ["bptt step_time_ms", "bptt step_time_ms_lo", "bptt step_time_ms_hi"]
    lucky = [0.9] * 17 + [0.1] * 3  # the median lies outside of the interval of the mean
    seeds = frame([record(seed=i, metrics={"test_accuracy": x}) for i, x in enumerate(lucky)])
    of = pivot(seeds, ["n_hidden"], ["algo"], ["test_accuracy"], intervals=True)
    found = of.cells.loc["64", ("test_accuracy", "bptt")]
    assert found.centre == pytest.approx(np.mean(lucky))
    assert found.low < found.centre < found.high < 0.92
    assert "Means of test accuracy with 95" in FORMATS["latex"](of)
    mixed = frame(grid(algo=["bptt"], n_steps=[8, 16]))
    with pytest.raises(InputError, match=r"different n_steps inside of one\. Add --rows"):
        pivot(mixed, ["n_hidden"], ["algo"], ["step_time_ms"], intervals=True)


@pytest.mark.parametrize(
    ("keys", "cols", "values", "twice"),
    [(["algo"], ["algo"], "step_time_ms", "algo"),
     (["n_hidden"], ["algo"], "n_hidden", "n_hidden"),
     (["algo", "algo"], ["batching"], "step_time_ms", "algo")],
)  # fmt: skip
def test_pivot_of_one_column_twice_is_refused(
    table: pd.DataFrame, keys: list[str], cols: list[str], values: str, twice: str
) -> None:
    with pytest.raises(InputError, match=f"got {twice} twice"):
        pivot(table, keys, cols, [values])


@pytest.mark.parametrize(("rows", "values"), [([], ["step_time_ms"]), (["algo"], [])])
def test_pivot_of_no_column_is_refused(
    table: pd.DataFrame, rows: list[str], values: list[str]
) -> None:
    with pytest.raises(InputError, match=r"at least one column as (rows|values); got none"):
        pivot(table, rows, ["batching"], values)


def test_pivot_of_a_metric_that_no_row_has(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="ok rows with a number in 'time_to_target_s'; got none"):
        pivot(table, ["n_hidden"], ["algo"], ["time_to_target_s"])


def test_bold_is_the_best_way_whichever_side_the_ways_are_on() -> None:
    rows = frame([record(algo, n_hidden=h, metrics={"step_time_ms": t})
                  for h, algo, t in [(64, "bptt", 2.0), (64, "d_rtrl", 3.0),
                                     (128, "bptt", 5.0), (128, "d_rtrl", 4.0)]])  # fmt: skip
    down, along = (FORMATS["latex"](pivot(rows, *sides, ["step_time_ms"])).splitlines()
                   for sides in ((["algo"], ["n_hidden"]), (["n_hidden"], ["algo"])))  # fmt: skip
    assert r"BPTT & \textbf{2} & 5 \\" in down
    assert r"D-RTRL & 3 & \textbf{4} \\" in down
    assert r"64 & \textbf{2} & 3 \\" in along
    sizes = FORMATS["latex"](pivot(rows[rows["algo"].eq("bptt")], ["n_layers"], ["n_hidden"],
                           ["step_time_ms"]))  # fmt: skip
    assert r"1 & \textbf{2} & 5 \\" in sizes


def test_none_is_best_of_what_is_not_comparable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        record(algo, task=task, metrics={"step_time_ms": t})
        for algo, task, t in (("bptt", "digits", 2.0), ("d_rtrl", "copy_memory", 3.0))
    ]
    command = ["table", str(write_sweep(tmp_path, rows)), "--format", "latex", "--rows"]
    assert main([*command, "n_hidden"]) == 0
    told = capsys.readouterr()
    assert r"64 & 2 & 3 \\" in told.out
    assert "differs in task, cfg.task.name; add --rows n_hidden,task" in told.err
    for built in rows:
        built["row"]["task"] = built["config"]["task"]["name"] = "digits"
    assert main(["table", str(write_sweep(tmp_path, rows)), "--format", "latex"]) == 0
    told = capsys.readouterr()
    assert r"64 & \textbf{2} & 3 \\" in told.out
    assert not told.err


def test_seeds_that_diverged_are_not_left_out_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [record(seed=i, metrics={"test_r2": x}, health="" if x else "loss is not finite")
            for i, x in enumerate((0.9, None, None))]  # fmt: skip
    folder = str(write_sweep(tmp_path, [*rows, record("d_rtrl")]))
    assert main(["table", folder, "--values", "test_r2"]) == 0
    told = capsys.readouterr().err
    assert "left out of test_r2: 2 ok cells whose training or gradient was not finite" in told


def test_no_time_of_a_busy_machine_is_called_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [record(algo, metrics={"step_time_ms": t, "accuracy": a, "contended": t < 2.5})
            for algo, t, a in (("bptt", 2.0, 0.8), ("d_rtrl", 3.0, 0.9))]  # fmt: skip
    command = ["table", str(write_sweep(tmp_path, rows)), "--format", "latex", "--values"]
    assert main([*command, "step_time_ms,accuracy"]) == 0
    told = capsys.readouterr()
    assert r"64 & 2 & 3 & 0.8 & \textbf{0.9} \\" in told.out
    assert "no best time, for 1 ok cell had to share the machine" in told.err
    assert main([*command, "accuracy"]) == 0
    assert not capsys.readouterr().err


def test_a_list_of_folders_is_loaded_as_folders_are(tmp_path: Path) -> None:
    folders = [write_sweep(tmp_path / algo, [record(algo)]) for algo in ("bptt", "d_rtrl")]
    pd.testing.assert_frame_equal(reports.load(folders), reports.load(*map(str, folders)))
    with pytest.raises(InputError, match="at least one sweep's folder; got none"):
        reports.load([])


def test_latex_as_a_paper_wants_it() -> None:
    rows = frame([record(algo, n_hidden=h, metrics={"step_time_ms": t, "accuracy": a,
                                                    "latency_p50_us": 80.0})
                  for h, algo, t, a in [(64, "bptt", 2.0, 0.9), (64, "d_rtrl", 3.0, 0.95),
                                        (128, "bptt", 4.0, 0.9), (128, "my_way", 4.0, 0.8)]
                  ])  # fmt: skip
    latex = FORMATS["latex"](pivot(rows, ["n_hidden"], ["algo"], ["step_time_ms", "accuracy"]))
    lines = latex.splitlines()
    assert r"\begin{tabular}{lrrrrrr}" in lines
    assert r"\label{tab:step-time-ms-accuracy}" in lines
    assert (
        r" & \multicolumn{3}{c}{step time (ms)} & \multicolumn{3}{c}{training accuracy} \\" in lines
    )
    assert r"width & BPTT & D-RTRL & my\_way & BPTT & D-RTRL & my\_way \\" in lines
    assert r"64 & \textbf{2} & 3 & – & 0.9 & \textbf{0.95} & – \\" in lines
    assert r"128 & \textbf{4} & – & \textbf{4} & \textbf{0.9} & – & 0.8 \\" in lines
    assert latex.count(r"\begin") == latex.count(r"\end") == 2
    alone = FORMATS["latex"](pivot(rows, ["n_hidden", "algo"], [], ["step_time_ms"])).splitlines()
    assert r"width & algorithm & step time (ms) \\" in alone
    assert r"64 & D-RTRL & 3 \\" in alone
    of_option = pivot(rows, ["algo", "cfg.update_every"], [], ["latency_p50_us"])
    assert "algorithm & update every & median latency (us)" in FORMATS["latex"](of_option)
    assert "{Medians of median latency by algorithm and update every.}" in FORMATS["latex"](
        of_option
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (pd.NA, "–"), (0, "0"), (0.0, "0"), (12.0, "12"),
        (1234.5, "1230"), (0.012345, "0.0123"), (1e-5, "1.00e-05"), (2.5e7, "2.50e+07"),
        (9.996, "10"), ("word", "word"), (True, "True"), (-3.14159, "-3.14"),
    ],
)  # fmt: skip
def test_numbers_for_people(value: object, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9499, "0.9499"), (0.94999, "0.94999"), (0.95, "0.95"), (0.9501, "0.95"), (0.9, "0.9"),
     (float("nan"), "–")],
)  # fmt: skip
def test_no_number_is_rounded_across_the_bar_of_its_verdict(value: float, text: str) -> None:
    assert short(value, bar=0.95) == text


def test_every_metric_of_the_contract_is_documented() -> None:
    assert len(CONTRACT) > 30
    for name in CONTRACT:
        assert len(describe(name).words) > 5, name
