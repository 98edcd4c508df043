"""Plots: every kind is drawn where there is data, and says what lacks where there is not."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from synthetic_records import grid, record

from reports import plots
from reports.cli import main
from reports.drawing.canvas import NotDrawn, plain, round_ticks
from reports.drawing.palette import COLOURS, looks
from reports.drawing.series import MOST_SERIES, split
from reports.plots.frontier import pareto
from reports.records import Sweeps, read_sweeps
from reports.study import Slice, Study

KINDS = [m.name for m in pkgutil.iter_modules(plots.__path__)]
ALGOS = ["bptt", "d_rtrl", "es_d_rtrl"]


def study(records: list[dict[str, Any]]) -> Study:
    return Study(Sweeps((Path("."),), records))


@pytest.fixture(scope="module")
def rich(sweep: Path) -> Study:
    """All axes vary, three seeds, and the same cells at three commits."""
    commits = [record("bptt", commit=f"c{i}", created=f"2025-03-0{i + 1}") for i in range(3)]
    return study([*read_sweeps([sweep]).records, *commits])


def test_there_are_seven_kinds() -> None:
    assert KINDS == ["fidelity", "frontier", "heatmap", "history", "learning", "phases", "scaling"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_drawn_to_svg_and_png(kind: str, rich: Study, tmp_path: Path) -> None:
    drawn = importlib.import_module(f"reports.plots.{kind}").make(rich)
    assert drawn
    inline = drawn[0].save(tmp_path, drawn[0].name)
    ElementTree.fromstring((tmp_path / f"{drawn[0].name}.svg").read_text())
    assert (tmp_path / f"{drawn[0].name}.png").read_bytes().startswith(b"\x89PNG")
    root = ElementTree.fromstring(inline)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert not drawn[0].data.empty
    assert len(inline) < 60_000
    # The page's own colours, so that one drawing serves light and dark.
    assert "var(--ink)" in inline
    assert "#1b1b1f" not in inline


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_data_says_what_is_lacking(kind: str) -> None:
    bare = record("bptt", status="oom")
    with pytest.raises(NotDrawn, match=r"\w+ \w+"):
        importlib.import_module(f"reports.plots.{kind}").make(study([bare]))


def test_what_is_not_drawn_is_reported_with_its_title() -> None:
    drawn, missing = plots.make_all(study([record(status="oom")]))
    assert not drawn
    assert len(missing) == len(KINDS)


def test_names_of_drawings_are_unique_file_names(rich: Study) -> None:
    names = [p.name for p in plots.make_all(rich)[0]]
    assert len(names) == len(set(names)) > 20
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)


def test_no_drawing_has_more_than_ten_series() -> None:
    decays = [
        record("es_d_rtrl", n_steps=t, batching=b, algo_config={"decay_or_rank": d})
        for t in (8, 16)
        for b in ("manual", "vmap")
        for d in np.linspace(0.1, 0.9, 13)
    ]
    made = study(decays)
    (piece,) = made.slices("n_steps", "step_time_ms")
    parts = split(piece)
    assert len(parts) == 4
    for part in parts:
        assert part.cells.groupby(["variant", "batching", "backend"]).ngroups <= MOST_SERIES
    assert sum(len(part.cells) for part in parts) == len(piece.cells)
    assert len({part.title for part in parts}) == 4


def test_a_slice_of_ten_is_left_whole() -> None:
    made = study(grid(algo=ALGOS, n_steps=[8, 16]))
    (piece,) = made.slices("n_steps", "step_time_ms")
    assert split(piece) == [Slice(piece.title, piece.cells)]


def test_series_can_be_told_apart_without_colour() -> None:
    pairs = [(v, w) for v in "abcdefgh" for w in ("manual", "vmap", "single")]
    found = looks(pairs)
    assert len({(look.colour, look.marker, look.dash) for look in found.values()}) == len(pairs)
    for variant in "abcdefgh":
        assert len({found[variant, w].marker for w in ("manual", "vmap", "single")}) == 3


def test_an_algorithm_keeps_its_colour_whatever_stands_beside_it() -> None:
    few = looks([(v, "") for v in ("d_rtrl", "es_d_rtrl")])
    many = looks([(v, "") for v in ("bptt", "bptt_checkpointed", "d_rtrl", "es_d_rtrl", "rtrl")])
    assert all(few[pair].colour == many[pair].colour for pair in few)
    assert len({look.colour for look in many.values()}) == len(many)


def test_colours_are_okabe_and_itos() -> None:
    assert set(COLOURS[:6]) == {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"}


def test_pareto_front_by_hand() -> None:
    import pandas as pd

    data = pd.DataFrame({"x": [1, 2, 3, 2], "y": [3, 2, 2.5, 2]})
    assert pareto(data, "x", "y") == [True, True, False, True]


def test_out_of_memory_is_marked_at_its_setting(tmp_path: Path) -> None:
    records = [*grid(algo=["bptt", "es_d_rtrl"]), record("d_rtrl", status="oom", reason="4 GiB")]
    (drawn,) = importlib.import_module("reports.plots.frontier").make(study(records))
    assert "d_rtrl" in drawn.caption
    assert "× d_rtrl: out of memory" in drawn.save(tmp_path, "f")


@pytest.mark.parametrize(("low", "high"), [(0.01, 5e4), (1, 9), (95, 130), (0.8, 1.7), (3, 3.2)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    ticks = round_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert min(ticks) >= low
    assert max(ticks) <= high


def test_tick_numbers() -> None:
    assert [plain(v) for v in (0.01, 200, 5000, 12000, 2e6, 3e9)] == [
        "0.01", "200", "5000", "12k", "2M", "3G",
    ]  # fmt: skip


def test_intervals_are_drawn(tmp_path: Path) -> None:
    made = study(grid(algo=["bptt"], n_steps=[8, 16, 32], repeat=range(4), noise=[0.3]))
    scaling = importlib.import_module("reports.plots.scaling").make(made)
    timed = next(p for p in scaling if p.name.startswith("timesteps"))
    assert timed.data["timesteps_per_s_lo"].notna().all()
    svg = timed.save(tmp_path, "t")
    assert svg.count("LineCollection") + svg.count("<path") > 10


def test_the_heatmap_command_draws_any_metric(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sweep: Path
) -> None:
    out = tmp_path / "maps"
    arguments = ["heatmap", str(sweep), "--x", "n_steps", "--y", "n_hidden", "--out", str(out)]
    assert main([*arguments, "--values", "loss_final"]) == 0
    assert len(list(out.glob("*.svg"))) == len(capsys.readouterr().out.splitlines()) > 0
    assert main([*arguments, "--values", "nonsense"]) == 2
    assert "a setting or a metric of the results; got 'nonsense'" in capsys.readouterr().err
