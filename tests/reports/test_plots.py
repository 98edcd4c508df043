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
from contest_records import complete
from contest_records import way as contestant
from markupsafe import Markup
from planted_records import UNTRAINED
from synthetic_records import ALGOS, Records, grid, record, study

from reports import plots
from reports.page import Context
from reports.plots.base import NotDrawn, Plot, folded, plain, round_ticks
from reports.plots.frontier import pareto
from reports.plots.style import MOST_SERIES
from reports.records import read_sweeps
from reports.study import Study

KINDS = [m.name for m in pkgutil.iter_modules(plots.__path__) if m.name not in plots.SHARED]


@pytest.fixture(scope="module")
def rich(sweep: Path) -> Study:
    """All axes vary, three seeds, and a contest."""
    rng = np.random.default_rng(0)
    contest = [complete(r) for algo in ("bptt", "d_rtrl") for r in contestant(rng, algo)]
    return study([*read_sweeps([sweep]).records, *contest])


def made(kind: str, records: list[dict[str, Any]]) -> list[Plot]:
    drawn: list[Plot] = importlib.import_module(f"reports.plots.{kind}").make(study(records))
    return drawn


def painted(plot: Plot) -> Any:
    """The axes as they are saved, laid out, for questions about where things are."""
    return plot.figure().axes[0]


def test_there_are_four_kinds() -> None:
    assert KINDS == ["contest", "frontier", "learning", "scaling"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_drawn_to_svg_png_and_csv(kind: str, rich: Study, tmp_path: Path) -> None:
    drawn = importlib.import_module(f"reports.plots.{kind}").make(rich)
    inline = drawn[0].save(tmp_path)
    ElementTree.fromstring((tmp_path / f"{drawn[0].name}.svg").read_text())
    assert (tmp_path / f"{drawn[0].name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / f"{drawn[0].name}.csv").read_text().count("\n") == len(drawn[0].data) + 1 > 1
    root = ElementTree.fromstring(inline)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert len(inline) < 60_000
    # The page's own colours, so that one drawing serves light and dark.
    assert "var(--ink)" in inline
    assert "#1b1b1f" not in inline


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_data_says_what_is_lacking(kind: str) -> None:
    with pytest.raises(NotDrawn, match=r"\w+ \w+"):
        made(kind, [record("bptt", status="oom")])


def test_what_is_not_drawn_is_reported_with_its_title() -> None:
    drawn, missing = plots.make_all(study([record(status="oom")]))
    assert not drawn
    assert len(missing) == len(KINDS)


def test_growth_stands_beside_the_costs_where_nothing_was_trained() -> None:
    records = grid(algo=ALGOS, n_steps=[8, 16, 64])
    for built in records:
        built["metrics"] |= UNTRAINED
        built["curves"] = {}
    found = study(records)
    drawn = [(plot, Markup("")) for plot in plots.make_all(found)[0]]
    context = Context(found, drawn, [])
    assert [plot.name for plot, _ in context.first] == ["frontier_1", "memory_vs_n_steps_1"]
    assert len(context.first) + len(context.more) == len(drawn)


def test_names_of_drawings_are_unique_file_names(rich: Study) -> None:
    names = [p.name for p in plots.make_all(rich)[0]]
    assert len(names) == len(set(names)) > 10
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)


def test_values_show_on_hover(tmp_path: Path) -> None:
    rows = [record(algo, metrics={"step_time_ms": t, "memory_xla_mib": 7.0, "memory_peak_mib": 1.0})
            for algo, t in zip(ALGOS, (0.002, 0.005, 0.008), strict=True)]  # fmt: skip
    (plot,) = made("frontier", rows)
    svg = plot.save(tmp_path)
    tips = re.findall(r'<g class="tip"><title>(.*?)</title>', svg)
    assert sorted(tips) == ["bptt: 0.002 ms, 7 MiB", "d_rtrl: 0.005 ms, 7 MiB",
                            "es_d_rtrl: 0.008 ms, 7 MiB"]  # fmt: skip
    assert all(f"<title>{said}</title>" in (tmp_path / "frontier_1.svg").read_text()
               for said in tips)  # fmt: skip
    assert not any(re.search(r"\d\.\d{3,}", tag) for tag in re.findall(r"<[^>]*>", svg))


def test_no_drawing_has_more_than_seven_series() -> None:
    decays = [record("es_d_rtrl", n_steps=t, algo_config={"decay_or_rank": d / 20})
              for t in (8, 16, 64) for d in range(13)]  # fmt: skip
    for kind in ("scaling", "learning"):
        for plot in (p for p in made(kind, decays) if not p.name.startswith("cosine")):
            axes = painted(plot)
            named = [line for line in axes.lines if not line.get_label().startswith("_")]
            assert len(named) == MOST_SERIES, plot.name
            assert "Drawn are 7 of 13 methods" in plot.caption


def test_cosines_are_drawn_by_length_and_exact_ones_named() -> None:
    def cosines(records: Records) -> list[Plot]:
        return [plot for plot in made("scaling", records) if plot.name.startswith("cosine")]

    kept = {"bptt": (1, 1, 1), "uoro": (0.5, 0.3, -0.1), "d_rtrl": (1, 0.9, 0.6)}
    rows = [record(algo, n_steps=t, metrics={"grad_cosine": c})
            for algo, cosines in kept.items()
            for t, c in zip((3, 6, 18), cosines, strict=True)]  # fmt: skip
    (plot,) = cosines(rows)
    assert "At 1 throughout: bptt." in plot.caption
    assert "slope of theory" not in plot.caption
    assert plot.data[["way", "n_steps", "grad_cosine"]].values.tolist() == [
        [algo, t, c] for algo in ("d_rtrl", "uoro") for t, c in zip((3, 6, 18), kept[algo],
                                                                   strict=True)]  # fmt: skip
    lines = {line.get_label(): list(line.get_ydata()) for line in painted(plot).lines}
    assert lines["uoro"] == [0.5, 0.3, -0.1]
    many = [record("es_d_rtrl", n_steps=t, algo_config={"decay_or_rank": d / 20})
            for t in (8, 16, 64) for d in range(13)]  # fmt: skip
    assert [plot.data["way"].nunique() for plot in cosines(many)] == [7, 6]
    assert not cosines(rows[:2])


def test_pareto_front_by_hand() -> None:
    assert pareto([(1, 3), (2, 2), (3, 2.5), (2, 2)]) == [True, True, False, True]


def test_out_of_memory_is_told_at_its_setting() -> None:
    records = [*grid(algo=["bptt", "es_d_rtrl"]), record("d_rtrl", status="oom", reason="4 GiB")]
    (drawn,) = made("frontier", records)
    assert "Out of memory: d_rtrl." in drawn.caption


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


def test_names_stand_in_the_order_of_their_lines_and_inside_the_picture() -> None:
    records = grid(
        algo=["bptt", "d_rtrl", "es_d_rtrl", "rtrl", "bptt_checkpointed"],
        n_steps=[8, 16],
        batching=["manual", "vmap"],
    )
    plot = next(p for p in made("scaling", records) if p.name.startswith("time"))
    axes = painted(plot)
    (legend,) = axes.get_figure().legends
    last = plot.data.groupby("way", sort=False)["step_time_ms"].last()
    told = [text.get_text() for text in legend.get_texts()]
    assert told == last.sort_values(ascending=False).index.tolist()
    figure, box = axes.get_figure().bbox, legend.get_window_extent()
    assert box.x1 <= figure.width + 1
    assert not box.overlaps(axes.get_window_extent())


@pytest.mark.parametrize("option", [{}, {"a_longer_name_of_it": 0.95}])
def test_a_long_title_stays_clear_of_the_names(option: dict[str, Any]) -> None:
    records = grid(algo=ALGOS, batching=["manual", "vmap"])
    for built in records:
        built["config"]["algo"] |= option if built["row"]["algo"] == "d_rtrl" else {}
    if option:
        records.append(record("d_rtrl"))
    (plot,) = made("frontier", records)
    axes = painted(plot)
    (legend,) = axes.get_figure().legends
    said = axes.get_title(loc="left")
    (title,) = axes.findobj(lambda artist: getattr(artist, "get_text", str)() == said)
    assert said.replace("\n", " ") == plot.title
    assert not title.get_window_extent().overlaps(legend.get_window_extent())


def test_many_long_names_are_all_inside_the_picture() -> None:
    option = "a_name_as_long_as_those_of_some_plug_ins_are"
    records = [
        record("es_d_rtrl", batching, algo_config={option: 0.9 + 0.012 * i, "kept": i})
        for i in range(5)
        for batching in ("manual", "vmap")
    ]
    (plot,) = made("frontier", records)
    axes = painted(plot)
    (legend,) = axes.get_figure().legends
    assert len(legend.get_texts()) == 9
    assert legend.get_window_extent().y0 >= 0


def test_a_way_looks_the_same_in_every_drawing() -> None:
    """Also where one drawing does not hold all: of cosines each has as many."""
    algos = [*ALGOS, "snap", "rtrl", "e_prop", "ottt", "otpe", "uoro"]
    records = grid(algo=algos, n_steps=[4, 8, 16])
    drawn = [p for kind in ("scaling", "learning") for p in made(kind, records)]
    cosines = [p for p in drawn if p.name.startswith("cosine")]
    assert [p.data["way"].nunique() for p in cosines] == [4, 4]
    colours: dict[str, set[str]] = {}
    for plot in drawn:
        for line in painted(plot).lines:
            if not str(line.get_label()).startswith("_"):
                colours.setdefault(str(line.get_label()), set()).add(line.get_color())
    assert {*colours} == {*algos}
    assert all(len(some) == 1 for some in colours.values())


def test_names_are_broken_never_cut() -> None:
    name = "es_d_rtrl decay_or_rank=0.95 window=16 · vmap · braintrace"
    assert folded(name, 22).replace("\n", " ") == name
    assert max(map(len, folded(name, 22).split("\n"))) <= 22


def test_the_recommended_batching_is_drawn_and_named() -> None:
    records = grid(algo=ALGOS, batching=["manual", "vmap"], n_steps=[8, 16, 64])
    for built in records:
        slow = built["row"]["batching"] == "manual"
        built["metrics"]["step_time_ms"] *= 3 if slow else 1
    for kind in ("scaling", "learning"):
        plot = made(kind, records)[0]
        assert "Batching: vmap." in plot.caption
    assert set(plot.data["way"].str.split(" · ").str[1]) == {"vmap"}


def test_batchings_are_apart_where_the_batch_grows() -> None:
    batchings = ["manual", "vmap", "single"]
    memory, time = made("scaling", grid(algo=["bptt"], batching=batchings, batch_size=[1, 4, 16]))
    named = {f"bptt · {batching}" for batching in batchings}
    assert {*memory.data["way"]} == {*time.data["way"]} == named
    assert {x.get_label() for x in painted(time).lines if x.get_label()[0] != "_"} == named


def test_each_seed_is_thin_and_their_median_thick() -> None:
    (plot, *_) = made("learning", grid(algo=["bptt", "d_rtrl"], seed=[0, 1, 2]))
    widths = [line.get_linewidth() for line in painted(plot).lines if len(line.get_xdata()) > 2]
    assert sorted(set(widths)) == [0.6, 2]
    assert [widths.count(w) for w in (0.6, 2)] == [6, 2]
    assert "Thin: each seed" in plot.caption


def test_chance_is_drawn_where_it_is_known() -> None:
    records = grid(algo=["bptt", "d_rtrl"])
    assert not [t for t in painted(made("learning", records)[0]).texts if t.get_text() == "chance"]
    for built in records:
        built["metrics"]["n_classes"] = 10
    axes = painted(made("learning", records)[0])
    assert [t.get_text() for t in axes.texts if t.get_text() == "chance"] == ["chance"]
    assert any(set(line.get_ydata()) == {0.1} for line in axes.lines)


def test_where_one_window_ends_is_drawn() -> None:
    records = [record(a, n_steps=t, metrics={"window_steps": float(min(t, 16))})
               for a in ("d_rtrl", "es_d_rtrl") for t in (8, 16, 64, 256)]  # fmt: skip
    plot = made("scaling", records)[0]
    assert "one window covers the sequence" in plot.caption
    assert any(list(line.get_xdata()) == [16, 16] for line in painted(plot).lines)
    assert "no trace is kept" not in plot.caption
    short, timed = made("scaling", [r for r in records if r["row"]["n_steps"] < 32])[:2]
    said = "One window covers every sequence of d_rtrl and es_d_rtrl: no trace is kept."
    assert said in short.caption
    assert said not in timed.caption


def test_intervals_are_drawn_between_processes() -> None:
    repeated = made(
        "scaling", grid(algo=["bptt"], n_steps=[8, 16, 32], repeat=range(4), noise=[0.3])
    )
    timed = next(p for p in repeated if p.name.startswith("time"))
    assert (timed.data["step_time_ms_hi"] > timed.data["step_time_ms_lo"]).all()
    assert len(painted(timed).collections[0].get_segments()) == 3
    (once,) = list(made("frontier", grid(algo=ALGOS)))
    assert "One process each, so there are no intervals." in once.caption


def test_ways_that_took_turns_with_bptt_are_compared_by_that_on_a_busy_machine() -> None:
    records = [record(algo, metrics={"time_vs_bptt": r, "time_vs_bptt_low": 0.98 * r,
                                     "time_vs_bptt_high": 1.02 * r, "contended": 1.0})
               for algo, r in (("bptt", 1.0), ("d_rtrl", 0.8), ("es_d_rtrl", 0.7))]  # fmt: skip
    (plot,) = made("frontier", records)  # several threads: load may have moved the ratios
    assert plot.data["contended"].all()
    assert not plot.data["pareto_front"].any()
    for built in records:
        built["config"]["threads"] = 1
    (plot,) = made("frontier", records)
    assert plot.data["time_vs_bptt"].tolist() == [1.0, 0.8, 0.7]
    assert plot.data["pareto_front"].any()
    assert not plot.data["contended"].any()
    assert painted(plot).get_xlabel() == "time over BPTT's"
    (curve,) = made("learning", records)
    last = curve.data.groupby("way").last()
    assert last["train_time_bptt_epochs"].tolist() == [e * r for e, r in zip(
        last["epoch"], (1.0, 0.8, 0.7), strict=True)]  # fmt: skip
    assert painted(curve).get_xlabel() == "training time (epochs of BPTT)"
    del records[1]["metrics"]["time_vs_bptt"]
    (plot,) = made("frontier", records)
    assert plot.data["contended"].all()
    assert "step_time_ms" in plot.data
    assert not plot.data["pareto_front"].any()


def test_a_way_that_does_not_qualify_is_an_open_mark() -> None:
    records = [record("d_rtrl", health="never spikes"), record("bptt")]
    (plot,) = made("frontier", records)
    marks = {line.get_label(): line.get_fillstyle() for line in painted(plot).lines
             if not line.get_label().startswith("_")}  # fmt: skip
    assert marks == {"bptt": "full", "d_rtrl": "none"}


def costs(ms: float, mib: float, **more: float) -> dict[str, float | None]:
    return {"step_time_ms": ms, "memory_xla_mib": mib, "memory_peak_mib": 1.0, **more}


def test_captions_say_what_is_drawn_and_nothing_else() -> None:
    def drawn(kind: str, records: Records) -> tuple[str, list[Any]]:
        plot = made(kind, records)[-1]
        return plot.caption, painted(plot).lines

    two = [record("bptt", metrics=costs(1, 20)), record("d_rtrl", metrics=costs(2, 10))]
    one = [record("bptt", metrics=costs(1, 10)), record("d_rtrl", metrics=costs(2, 20))]
    busy = [record(r["row"]["algo"], metrics={**r["metrics"], "contended": 1}) for r in two]
    sick = [two[0], record("d_rtrl", health="never spikes", metrics=costs(2, 10))]
    for records in (two, one, busy, sick):
        said, lines = drawn("frontier", records)
        front = [x for x in lines if x.get_drawstyle() == "steps-post" and len(x.get_xdata()) > 1]
        assert ("grey line is the Pareto front" in said) == (records in (two, sick)) == bool(front)
        hollow = any(x.get_fillstyle() == "none" for x in lines)
        assert ("Open marks" in said) == (records is sick) == hollow
        assert ("* measured under contention" in said) == (records is busy)

    for algo, contended in (("bptt", 0), ("bptt", 1), ("uoro", 0)):
        grown = grid(algo=[algo], n_steps=[8, 16, 64], metrics=[{"contended": contended}])
        said, lines = drawn("scaling", [r | {"fidelity": {}} for r in grown])
        dashed = [x for x in lines if x.get_linewidth() == 0.8]
        assert ("Dashed: the slope of theory" in said) == (algo == "bptt") == bool(dashed)
        hollow = any(x.get_fillstyle() == "none" for x in lines)
        assert ("Open marks: measured under contention" in said) == bool(contended) == hollow

    for seeds in ([0], [0, 1, 2]):
        said, lines = drawn("learning", grid(algo=["bptt"], seed=seeds))
        thin = [x for x in lines if x.get_linewidth() == 0.6]
        assert ("One seed." in said, "Thin: each seed" in said) == (not thin, bool(thin))

    for classes in (10, None):
        rng = np.random.default_rng(0)
        records = [complete(r) for a, x in (("bptt", 0.9), ("d_rtrl", 0.7))
                   for r in contestant(rng, a, x)]  # fmt: skip
        for built in records:
            built["metrics"]["n_classes"] = classes
        said, lines = drawn("contest", records)
        assert ("Grey line: guessing" in said) == bool(classes)
        assert any(x.get_color() == "0.6" for x in lines) == bool(classes)


def test_learning_curves_of_two_libraries_are_two() -> None:
    (plot, *_) = made("learning", grid(algo=["bptt"], backend=["core", "other"], seed=[0, 1]))
    assert sorted(plot.data["way"].unique()) == ["bptt · core", "bptt · other"]
