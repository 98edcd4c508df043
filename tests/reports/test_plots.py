"""Plots: every kind is drawn where there is data, and says what lacks where there is not."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from synthetic_records import ALGOS, grid, record, study

from reports import plots
from reports.cli import main
from reports.drawing.canvas import FAINT, SIZE_IN, NotDrawn, Plot, plain, round_ticks, shortened
from reports.drawing.series import MOST_SERIES, facets
from reports.plots.fidelity import per_weight
from reports.plots.frontier import pareto
from reports.records import read_sweeps
from reports.study import Slice, Study

KINDS = [m.name for m in pkgutil.iter_modules(plots.__path__)]


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
    parts = facets(piece)
    assert len(parts) == 4
    for part in parts:
        assert part.cells.groupby(["variant", "batching", "backend"]).ngroups <= MOST_SERIES
    assert sum(len(part.cells) for part in parts) == len(piece.cells)
    assert len({part.title for part in parts}) == 4


def test_a_slice_of_ten_is_left_whole() -> None:
    made = study(grid(algo=ALGOS, n_steps=[8, 16]))
    (piece,) = made.slices("n_steps", "step_time_ms")
    assert facets(piece) == [Slice(piece.title, piece.cells)]


def test_pareto_front_by_hand() -> None:
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


BACKENDS = ("core", "braintrace", "brainscale", "plain_jax")


def many_ways() -> list[dict[str, Any]]:
    """Sixteen ways of computing with long names; the slowest needs the least memory."""
    return [
        record(algo, batching, backend=backend, n_hidden=128,
               algo_config={"mode": mode},
               metrics={"step_time_ms": 3.0 + i, "memory_xla_mib": 50.0 - 3 * (i == 15) + i % 3})
        for i, (algo, mode, batching, backend) in enumerate(
            (a, m, b, k) for a in ALGOS[1:] for m in ("multi_step", "single_step")
            for b in ("manual", "vmap") for k in BACKENDS[:2])
    ]  # fmt: skip


def made(kind: str, records: list[dict[str, Any]]) -> list[Plot]:
    drawn: list[Plot] = importlib.import_module(f"reports.plots.{kind}").make(study(records))
    return drawn


def painted(plot: Plot) -> Any:
    """The figure as it is saved, laid out, for questions about where things are."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from reports.drawing.canvas import PNG_DPI, STYLE

    with rc_context(STYLE):
        figure = Figure((SIZE_IN[0], plot.height), layout="constrained", dpi=PNG_DPI)
        FigureCanvasAgg(figure)
        plot.draw(figure.add_subplot())
        figure.draw_without_rendering()
    return figure


def test_numbers_in_texts_of_the_page_are_not_rounded(tmp_path: Path) -> None:
    rows = [record(algo, metrics={"step_time_ms": t, "memory_xla_mib": t, "grad_cosine": 0.9537})
            for algo, t in zip(ALGOS, (0.002, 0.005, 0.008), strict=True)]  # fmt: skip
    (plot,) = made("frontier", rows)
    page = plot.save(tmp_path, "f")
    assert re.search(r">\s*0\.954\s*<", page)
    assert re.search(r">\s*0\.005\s*<", page)
    assert not any(re.search(r"\d\.\d{3,}", tag) for tag in re.findall(r"<[^>]*>", page))


def test_a_long_legend_leaves_the_axes_their_height() -> None:
    (plot,) = made("frontier", many_ways()[:MOST_SERIES])
    figure = painted(plot)
    (axes,) = figure.axes
    assert len(figure.legends[0].get_texts()) == MOST_SERIES
    assert axes.get_window_extent().height / figure.dpi > 1.4
    label = axes.yaxis.label.get_window_extent()
    assert label.y0 >= 0
    assert label.y1 <= figure.bbox.height
    assert all(t.get_window_extent().x1 <= figure.bbox.width for t in figure.legends[0].get_texts())


def test_texts_at_points_cover_neither_each_other_nor_markers() -> None:
    rows = [
        record("d_rtrl", backend=b, algo_config={"decay": i},
               metrics={"step_time_ms": 1 + 0.03 * i, "memory_xla_mib": 10 - 0.2 * i})
        for i, b in enumerate(BACKENDS * 2)
    ]  # fmt: skip
    (plot,) = made("frontier", rows)
    figure = painted(plot)
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 8
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    points = axes.transData.transform(plot.data[["step_time_ms", "memory_xla_mib"]].to_numpy())
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_points_that_something_beats_carry_no_number() -> None:
    (plot,) = made("frontier", many_ways()[-MOST_SERIES:])
    (axes,) = painted(plot).axes
    assert len(axes.texts) == plot.data["frontier"].sum() < len(plot.data)


def test_no_point_lies_on_the_edge_of_the_drawing() -> None:
    rows = [record(algo, metrics={"step_time_ms": t, "memory_xla_mib": m})
            for algo, t, m in zip(ALGOS, (0.1, 5, 2000), (900, 3, 0.02), strict=True)]  # fmt: skip
    (plot,) = made("frontier", rows)
    figure = painted(plot)
    (axes,) = figure.axes
    inside = axes.get_window_extent().padded(-3.5 * figure.dpi / 72)  # half a marker and its rim
    points = axes.transData.transform(plot.data[["step_time_ms", "memory_xla_mib"]].to_numpy())
    assert all(inside.contains(*point) for point in points)


def test_a_cut_is_told_and_keeps_the_best_trade_offs() -> None:
    decays = [record("es_d_rtrl", algo_config={"decay": d},
                     metrics={"step_time_ms": 3.0 + d, "memory_xla_mib": 50.0 - 3 * (d == 39)})
              for d in range(40)]  # fmt: skip
    drawn = made("frontier", decays)
    assert all("30 ways of 40" in plot.caption for plot in drawn)
    data = pd.concat([plot.data for plot in drawn])
    assert data.loc[data["frontier"], "memory_xla_mib"].min() == 47
    assert all("the 30 fastest ways of 40" in plot.caption for plot in made("phases", decays))
    (whole,) = made("frontier", grid(algo=ALGOS))
    assert "Drawn are" not in whole.caption


@pytest.mark.parametrize("kind", ["frontier", "phases"])
def test_more_than_ten_ways_are_drawn_by_library_on_the_same_axes(kind: str) -> None:
    drawn = made(kind, many_ways())
    assert [plot.title for plot in drawn] == ["braintrace", "core"]
    assert [len(plot.data) for plot in drawn] == [8, 8]
    axes = [painted(plot).axes[0] for plot in drawn]
    assert len({(*a.get_xlim(), *a.get_ylim()) for a in axes}) == 1
    assert len({tuple(a.get_xticks()) for a in axes}) == 1


def test_ways_that_other_drawings_name_are_grey() -> None:
    drawn = made("frontier", many_ways())
    for plot, other in zip(drawn, drawn[::-1], strict=True):
        (axes,) = painted(plot).axes
        (grey,) = [line for line in axes.lines if line.get_marker() == "o"
                   and line.get_color() == FAINT]  # fmt: skip
        assert sorted(grey.get_xdata()) == sorted(other.data["step_time_ms"])
        assert "Grey points" in plot.caption
    (whole,) = made("frontier", grid(algo=ALGOS))
    assert "Grey points" not in whole.caption


def test_parts_are_by_batching_where_that_makes_fewer() -> None:
    ways = grid(algo=ALGOS, batching=["manual", "vmap", "single"], backend=["core", "plain_jax"])
    decays = [record("es_d_rtrl", b, algo_config={"decay": d}) for b in ("manual", "vmap")
              for d in range(7)]  # fmt: skip
    assert [plot.title for plot in made("phases", ways)] == ["core", "plain_jax"]
    assert [plot.title for plot in made("phases", decays)] == ["manual", "vmap"]


def test_settings_that_are_not_drawn_are_told() -> None:
    records = grid(algo=ALGOS, n_hidden=[16, 32, 64, 128])
    assert "3 settings of 4" in made("frontier", records)[0].caption
    for kind in ("phases", "fidelity", "learning"):
        assert "2 settings of 4" in made(kind, records)[0].caption, kind


def test_bars_have_names_of_their_own() -> None:
    (plot,) = made("phases", many_ways()[:MOST_SERIES])
    (axes,) = painted(plot).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(labels)) == len(labels) == 10
    assert sum("manual" in label for label in labels) == plot.data["way"].str.contains("man").sum()
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_middle_is_left_out_but_never_what_tells_names_apart() -> None:
    assert shortened(["short", "a very long name · core"], 12) == ["short", "a very… core"]
    names = [f"the same beginning {x} and the same end" for x in "ab"]
    assert len(set(shortened(names, 12))) == 2
    assert shortened(["same", "same"], 2) == ["s…", "s…"]


def test_a_lone_best_point_has_no_line_in_its_caption() -> None:
    rows = [record(algo, metrics={"step_time_ms": i + 1, "memory_xla_mib": i + 1})
            for i, algo in enumerate(ALGOS)]  # fmt: skip
    (plot,) = made("frontier", rows)
    assert "grey line" not in plot.caption
    assert "bptt needs the least time and the least memory" in plot.caption
    assert "grey line" in made("frontier", many_ways())[0].caption


def sick(backend: str, **settings: Any) -> dict[str, Any]:
    """A record whose first weight gets no gradient, as `bench` writes it."""
    built = record("d_rtrl", backend=backend, **settings)
    built["fidelity"]["linear.weight"] = {"cosine": None, "rel_error": 1.0}
    return built


def test_backends_are_not_merged_and_no_gradient_is_drawn_at_nought() -> None:
    records = [record("d_rtrl"), sick("braintrace"), sick("braintrace", batching="vmap")]
    (plot,) = made("fidelity", records)
    data = plot.data.set_index(["backend", "weight"])
    assert data.loc[("core", "linear.weight"), ["cosine", "cosine_lo", "no_gradient"]].tolist() == [
        0.97, 0.97, 0]  # fmt: skip
    assert data.loc[("braintrace", "linear.weight"), ["cosine", "no_gradient", "n"]].tolist() == [
        0, 2, 2]  # fmt: skip
    assert "gets no gradient at all" in plot.caption
    (axes,) = painted(plot).axes
    (open_marker,) = [line for line in axes.lines
                      if line.get_fillstyle() == "none" and len(line.get_xdata())]  # fmt: skip
    assert open_marker.get_xdata().tolist() == [0]
    assert "no gradient" in [t.get_text() for t in axes.get_figure().legends[0].get_texts()]


def test_a_weight_that_gets_a_gradient_is_drawn_filled() -> None:
    (plot,) = made("fidelity", grid(algo=ALGOS))
    assert "no gradient" not in plot.caption
    assert all(line.get_fillstyle() == "full" for line in painted(plot).axes[0].lines)


def test_a_weight_without_a_comparison_is_left_out() -> None:
    built = record("d_rtrl")
    built["fidelity"]["linear.weight"] = {"cosine": None, "rel_error": None}
    found = study([built])
    assert per_weight(found, found.cells)["weight"].tolist() == ["out.weight"]


def test_more_than_ten_ways_have_a_drawing_of_their_own() -> None:
    decays = [record("es_d_rtrl", algo_config={"decay": d}) for d in range(23)]
    drawn = made("fidelity", decays)
    assert [plot.data["variant"].nunique() for plot in drawn] == [10, 10, 3]


def test_open_markers_on_the_frontier_do_not_train_all_weights() -> None:
    fast = {"step_time_ms": 0.1}
    (plot,) = made("frontier", [record("d_rtrl"), record("bptt"), sick("braintrace", metrics=fast)])
    (axes,) = painted(plot).axes
    assert [line.get_label() for line in axes.lines if line.get_fillstyle() == "none"] == [
        "d_rtrl · braintrace"]  # fmt: skip
    assert "Open markers" in plot.caption
    assert plot.data.set_index("backend").loc["braintrace", "no_gradient"] == 1


def test_learning_curves_of_two_backends_are_two() -> None:
    (plot, *_) = made("learning", grid(algo=["bptt"], backend=["core", "plain_jax"], seed=[0, 1]))
    assert sorted(plot.data["way"].unique()) == ["bptt · core", "bptt · plain_jax"]
    assert set(plot.data["n"]) == {2}


def test_series_on_one_another_share_an_entry() -> None:
    rows = [
        record(algo, batching, n_steps=t, metrics={"memory_xla_mib": m})
        for algo in ALGOS
        for batching in ("manual", "vmap")
        for t, m in ((8, 1.0 + (algo == "bptt")), (16, 2.0), (64, 10.0))
    ]
    plot = next(p for p in made("scaling", rows) if p.name.startswith("memory_xla"))
    figure = painted(plot)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(len(text.split("\n")) for text in texts) == [2, 4]
    assert len(figure.axes[0].containers) == 2
    assert "share a line" in plot.caption
    assert len(plot.data) == len(rows)


def test_bars_are_promised_only_where_there_are_some() -> None:
    captions = {p.name: p.caption for p in made("scaling", grid(algo=ALGOS, n_steps=[8, 16, 64]))}
    assert "Bars" not in captions["memory_xla_vs_n_steps_1"]
    repeated = made("scaling", grid(algo=["bptt"], n_steps=[8, 16, 32], repeat=range(4)))
    timed = next(p for p in repeated if p.name.startswith("timesteps"))
    assert "Bars are 95 % intervals" in timed.caption
    assert "share a line" not in timed.caption
