"""The page as a file: one file, nothing fetched, everything escaped, small; and its words."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_records import ALGOS, grid, record, study, told, write_sweep

from reports import plots
from reports.build import build
from reports.page import Context, all_cells, html, markdown
from reports.page.tables import short_weights, streams
from reports.plots.base import Plot
from reports.records.table import read_parquet
from reports.stats import Interval
from reports.study import Study
from reports.tables import change, kind, listed, shown

EVIL = '$x$ "><img src=x onerror=alert(1)></script><script>window.injected=1</script>{{7*7}}'


class Tree(HTMLParser):
    """Checks that elements close in order; collects tags, attributes and identifiers."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def parsed(page: str) -> Tree:
    tree = Tree()
    tree.feed(page)
    tree.close()
    assert tree.open == []
    return tree


@pytest.fixture(scope="module")
def page(sweep: Path) -> str:
    """The page with a drawing of each kind: drawing is what takes long."""
    make_all = plots.make_all

    def some(study: Study, others: Iterable[Any] = ()) -> tuple[list[Plot], list[tuple[str, str]]]:
        drawn, missing = make_all(study, others)
        return list({plot.section: plot for plot in reversed(drawn)}.values())[::-1], missing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "make_all", some)
        return build([sweep]).page.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_identifiers_are_unique(page: str) -> None:
    tree = parsed(page)
    identifiers = [a["id"] for _, a in tree.seen if "id" in a]
    twice = {i for i in identifiers if identifiers.count(i) > 1}
    assert len(identifiers) > 20
    assert not twice


def test_nothing_is_fetched_and_every_link_has_its_file(page: str, sweep: Path) -> None:
    tree = parsed(page)
    files = 0
    for name, attributes in tree.seen:
        assert name not in ("iframe", "object", "embed", "audio", "video"), name
        for attribute in ("src", "xlink:href", "action", "srcset"):
            value = attributes.get(attribute) or "#"
            assert value.startswith(("#", "data:,")), (name, attribute, value)
        target = attributes.get("href") or "#"
        if name == "a" and not target.startswith("#"):
            assert (sweep / "report" / target).resolve().is_file(), target
            files += 1
    assert files > 20
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    policy = next(a["content"] for _, a in tree.seen if a.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_every_figure_has_a_name_and_links_to_its_files(page: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", page, flags=re.S)
    assert len(figures) > 5
    for made in figures:
        assert 'role="img"' in made
        assert re.search(r'aria-label="[^"]+"', made)
        assert re.findall(r">(SVG|PNG|CSV)</a>", made) == ["SVG", "PNG", "CSV"]


def evil_sweep(folder: Path) -> Path:
    records = [
        record(algo=EVIL, n_steps=t, model=EVIL, task=EVIL, health=EVIL, experiment=EVIL,
               algo_config={"decay_or_rank": EVIL}) for t in (8, 16, 32)
    ] + [record(status="crashed", reason=EVIL), record(batching=EVIL, backend=EVIL)]  # fmt: skip
    for built in records:
        built["provenance"]["processor"] = EVIL
        if built["fidelity"]:
            built["fidelity"] = {EVIL: {"cosine": 0.5, "rel_error": 0.5}}
    write_sweep(folder, records, experiment=EVIL, question=EVIL,
                planned=[{"key": "0" * 16, "row": {"algo": EVIL}}])  # fmt: skip
    (folder / "cells" / "bad.json").write_text(json.dumps({"schema": 1, "key": [EVIL]}))
    return folder


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    page = build([evil_sweep(tmp_path)]).page.read_text(encoding="utf-8")
    tree = parsed(page)
    assert "window.injected" in page  # it is there, as text
    assert [name for name, _ in tree.seen].count("script") == 2  # the data and our own script
    assert not any(name == "img" for name, _ in tree.seen)
    assert not any(key.startswith("on") for _, attributes in tree.seen for key in attributes)
    twin = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "<img" not in twin
    assert "<script" not in twin


def test_five_hundred_rows_stay_below_two_megabytes(tmp_path: Path) -> None:
    records = grid(algo=ALGOS, batching=["manual", "vmap"], batch_size=[1, 8, 64],
                   n_hidden=[32, 64, 128], n_steps=[8, 16, 64], seed=range(4))[:500]  # fmt: skip
    assert len(records) == 500
    begun = time.process_time()
    built = build([write_sweep(tmp_path, records)])
    assert built.page.stat().st_size < 2_000_000
    # Processor time, so that a busy machine does not fail it; 5,000 records may take 30 s.
    assert time.process_time() - begun < 30


def test_the_markdown_twin_says_the_same(sweep: Path, page: str) -> None:
    twin = (sweep / "report" / "report.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+\.svg)\)", twin):
        assert (sweep / "report" / link).exists()
    lead = re.search(r'<p class="lead">(.*?)</p>', page)
    assert lead
    words = re.sub(r"</?strong>", "**", lead.group(1))
    assert words in twin
    for made in (page, twin):
        assert " cells · 1 planned cell not run yet · Imaginary 9000" in made
    table = re.search(r"<h3>(Ways for [^<]*)</h3>\s*<div class=.scroll", page)
    assert table
    assert table[1] in twin


def test_backend_and_model_stand_among_the_first_columns() -> None:
    records = grid(algo=ALGOS, backend=["core", "braintrace"], model=["gru", "lif_net"])
    first = [name for name, _, _ in all_cells(study(records).table)[0][:4]]
    assert first == ["variant", "backend", "model", "batching"]


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is what takes long; one drawing is enough where it is not the question."""
    make_all = plots.make_all
    monkeypatch.setattr(plots, "make_all", lambda *asked: (make_all(*asked)[0][:1], []))


@pytest.mark.usefixtures("few_plots")
def test_a_folder_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / os.fsdecode(b"\xff"), [record()])
    (folder / "cells" / "half.json").write_text("{", encoding="utf-8")
    built = build([folder])
    assert "1 file left out" in built.page.read_text(encoding="utf-8")
    assert len(read_parquet(folder / "results.parquet")) == 1


@pytest.mark.usefixtures("few_plots")
def test_several_sweeps_merge_beside_the_first(tmp_path: Path) -> None:
    a = write_sweep(tmp_path / "a", grid(algo=["bptt"]))
    b = write_sweep(tmp_path / "b", grid(algo=["d_rtrl"]))
    built = build([a, b])
    assert built.page == tmp_path.resolve() / "a+b" / "report" / "index.html"
    assert not (a / "report").exists()
    assert "d_rtrl" in built.page.read_text(encoding="utf-8")
    other = write_sweep(tmp_path / "deep" / "b", grid(algo=["es_d_rtrl"]))
    beside = build([a, other]).page
    assert beside == tmp_path.resolve() / "a+deep_b" / "report" / "index.html"
    assert "es_d_rtrl" not in built.page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("few_plots")
def test_the_csv_of_a_table_holds_numbers_and_the_ends_of_intervals(tmp_path: Path) -> None:
    records = grid(algo=["bptt", "d_rtrl"], repeat=range(3))
    for built in records[:3]:
        built["metrics"]["contended"] = 1
    page = build([write_sweep(tmp_path, records)]).page
    table = pd.read_csv(page.with_name("ways_1.csv"))
    assert "*" in page.read_text(encoding="utf-8").split("Ways for", 1)[1][:2000]
    times = table[["ms per training step", "ms per training step_lo", "ms per training step_hi"]]
    assert all(kind.kind == "f" for kind in times.dtypes)
    assert table["standing"].notna().all()
    # What the page marks * is no less doubtful in a paper.
    marked = dict(zip(table["way"], table["ms per training step_contended"], strict=True))
    assert marked == {"bptt": True, "d_rtrl": False}
    assert (times.diff(axis=1).iloc[:, 2] > 0).all()  # from the lower end to the upper
    study_of = {w.name: w.ms for w in study(records).facts.settings[0].ways}
    assert dict(zip(table["way"], times.iloc[:, 0], strict=True)) == pytest.approx(study_of)


@pytest.mark.usefixtures("few_plots")
def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, grid(algo=ALGOS, n_steps=[8, 16]))
    first = build([folder]).page.read_bytes()
    assert build([folder]).page.read_bytes() == first


def test_a_report_of_next_to_nothing_is_a_report() -> None:
    bare = record()
    bare["metrics"] = {}
    for records in ([record()], [bare], [record(status="oom")],
                    [record(a, status="oom", reason="large") for a in ALGOS]):  # fmt: skip
        made = Context(study(records), [], [("A plot", "no data")])
        assert "<h1>" in html(made)
        assert "# " in markdown(made)
    words = told([record(a, status="oom", reason="too large") for a in ALGOS])
    assert "No answer: no cell got through" in words
    assert "3 cells out of memory" in words
    assert "bptt: too large" in words


def test_weights_have_the_same_short_names_everywhere() -> None:
    names = ["readout.weight", "synapses.0.comm.weight.bias", "synapses.0.comm.weight.weight"]
    assert list(short_weights(names).values()) == ["readout", "synapses.0.bias", "synapses.0"]
    assert short_weights(["a.weight", "a.comm"]) == {"a.weight": "a.weight", "a.comm": "a.comm"}


def test_a_stream_has_a_row_wherever_it_was_timed() -> None:
    stream = {"latency_p50_us": 80.0, "latency_p99_us": None, "latency_steps": 999,
              "stream_steps_per_s": 12000.0, "scan_steps_per_s": 20000.0}  # fmt: skip
    sweep = [
        record("d_rtrl", model="gru", metrics={**stream, "latency_contended": 1}),
        record("d_rtrl", model="lif_net", metrics={**stream, "latency_contended": 0}),
        record("bptt", model="gru"),
    ]
    table = streams(study(sweep).facts)
    assert table.cells.to_numpy().tolist() == [
        ["d_rtrl", "gru", "80*", "999", "12000*", "20000*"],
        ["d_rtrl", "lif_net", "80", "999", "12000", "20000"],
    ]
    assert "contention" in table.notes[-1]
    assert not streams(study(sweep[2:]).facts)


def test_an_answer_by_training_steps_says_what_one_step_of_a_stream_takes() -> None:
    def page_of(latencies: dict[str, float]) -> str:
        return told([record(algo, repeat=i, metrics={"step_time_ms": ms, "latency_p50_us": us})
                     for (algo, us), ms in zip(latencies.items(), (5.0, 9.0), strict=True)
                     for i in range(3)] + [record("rtrl", status="oom")])  # fmt: skip

    other = page_of({"bptt": 200, "d_rtrl": 80})
    assert "start with **bptt**" in other
    said = "- A training step is a whole sequence. Of one step at a time, with its update, bptt has"
    assert f"{said} a median latency of 200 us, d_rtrl one of 80." in other
    assert f"{said} a median latency of 90 us." in page_of({"bptt": 90, "d_rtrl": 80})
    assert "latency" not in told([record("bptt"), record("d_rtrl")])


def test_each_weight_has_its_cosine_and_none_where_no_gradient_reaches_it() -> None:
    built = record("d_rtrl", backend="braintrace")
    built["fidelity"]["linear.weight"] = {"cosine": None, "rel_error": 1.0}
    words = told([record("d_rtrl"), built])
    assert "| weight | d_rtrl · braintrace | d_rtrl · core |" in words
    assert "| linear | 0 | 0.97 |" in words


def test_figures_have_the_interval_that_they_have() -> None:
    assert shown(None) == "–"
    assert shown(Interval(3.14159, 3.0, 3.2, "95 %")) == "3.14 (3 to 3.2)"
    assert shown(Interval(3.1, 3.0, 3.2, "within one process")) == "3.1"
    assert shown(Interval(1.0, 1.0, 1.0, "95 %")) == "1"
    assert kind(Interval(3.1, 3.0, 3.2, "within one process"), 1, "process") == (
        "1 process; 3 to 3.2 within it (95 %)")  # fmt: skip
    two = kind(Interval(3.1, 3.0, 3.2, "min to max"), 2, "process", "processes")
    assert two == "2 processes, min to max"
    assert kind(Interval(0.9, 0.8, 1.0, "95 %"), 5, "seed") == "5 seeds, 95 % interval"


def test_changes_in_words() -> None:
    assert change(Interval(1.25, 1.2, 1.3, "95 %")) == "25 % slower (20 to 30 %)"
    assert change(Interval(0.75, 0.7, 0.8, "95 %")) == "25 % faster (20 to 30 %)"
    assert change(Interval(3.2)) == "3.2 × the time"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
