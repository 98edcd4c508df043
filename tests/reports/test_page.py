"""The page as a file: one file, nothing fetched, everything escaped, small."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic_records import ALGOS, grid, record, write_sweep

from reports import plots
from reports.build import build
from reports.document import Figure
from reports.drawing.canvas import Plot
from reports.html.elements import Html, table, tag
from reports.html.page import _gallery, rich
from reports.study import Study
from reports.text import escape_markdown

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
    """The page with two drawings of each kind: drawing is what takes long."""
    make_all = plots.make_all

    def some(
        study: Study, others: Iterable[str] = ()
    ) -> tuple[list[Plot], list[tuple[str, str]]]:
        drawn, missing = make_all(study, others)
        kinds = dict.fromkeys(plot.section for plot in drawn)
        return [p for k in kinds for p in [q for q in drawn if q.section == k][:2]], missing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "make_all", some)
        return build([sweep]).page.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_identifiers_are_unique(page: str) -> None:
    tree = parsed(page)
    identifiers = [a["id"] for _, a in tree.seen if "id" in a]
    twice = {i for i in identifiers if identifiers.count(i) > 1}
    assert len(identifiers) > 20
    assert not twice


def test_nothing_is_fetched(page: str) -> None:
    tree = parsed(page)
    for name, attributes in tree.seen:
        assert name not in ("iframe", "object", "embed", "audio", "video"), name
        for attribute in ("src", "href", "xlink:href", "action", "srcset"):
            value = attributes.get(attribute) or "#"
            assert value.startswith(("#", "data:,")), (name, attribute, value)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    policy = next(a["content"] for _, a in tree.seen if a.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_every_figure_has_its_numbers_and_a_name(page: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", page, flags=re.S)
    assert len(figures) > 10
    for figure in figures:
        assert 'role="img"' in figure
        assert re.search(r'aria-label="[^"]+"', figure)
        assert "<summary>The numbers</summary>" in figure
        assert figure.count("<tr>") > 2


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    records = [
        record(algo=EVIL, n_steps=t, model=EVIL, task=EVIL, health=EVIL, experiment=EVIL,
               algo_config={"decay_or_rank": EVIL}) for t in (8, 16, 32)
    ] + [record(status="crashed", reason=EVIL), record(batching=EVIL, backend=EVIL)]  # fmt: skip
    for built in records:
        built["provenance"]["processor"] = EVIL
        if built["fidelity"]:
            built["fidelity"] = {EVIL: {"cosine": 0.5, "rel_error": 0.5}}
    folder = write_sweep(tmp_path, records, experiment=EVIL, question=EVIL,
                         planned=[{"key": EVIL, "row": {"algo": EVIL}}])  # fmt: skip
    (folder / "cells" / "bad.json").write_text(json.dumps({"schema": 1, "key": [EVIL]}))
    page = build([folder]).page.read_text(encoding="utf-8")
    tree = parsed(page)
    assert "window.injected" in page  # it is there, as text
    assert [name for name, _ in tree.seen].count("script") == 2  # the data and our own script
    assert not any(name == "img" for name, _ in tree.seen)
    assert not any(key.startswith("on") for _, attributes in tree.seen for key in attributes)
    markdown = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "<img" not in markdown
    assert "<script" not in markdown


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
    markdown = (sweep / "report" / "report.md").read_text(encoding="utf-8")
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert len(titles) >= 8
    for title in titles:
        assert f"## {title}" in markdown
    for link in re.findall(r"\]\(([^)]+\.svg)\)", markdown):
        assert (sweep / "report" / link).exists()
    verdict = re.search(r'<p class="lead">(.*?)</p>', page)
    assert verdict
    words = re.sub(r"</?strong>", "**", verdict.group(1))
    assert words.replace("&#x27;", "'") in markdown


@pytest.mark.usefixtures("few_plots")
def test_backend_and_model_stand_among_the_first_columns(tmp_path: Path) -> None:
    records = grid(algo=ALGOS, backend=["core", "braintrace"], model=["gru", "lif_net"])
    page = build([write_sweep(tmp_path, records)]).page
    columns = re.findall(r'data-column="(\w+)"', page.read_text(encoding="utf-8"))
    assert {"variant", "backend", "model", "batching"} == set(columns[:4])
    head = (page.parent / "report.md").read_text(encoding="utf-8").split("## All cells")[1]
    assert head.strip().splitlines()[0].startswith("| variant | backend | model | batching |")


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is what takes long; two drawings are enough where it is not the question."""
    make_all = plots.make_all
    monkeypatch.setattr(plots, "make_all", lambda *asked: (make_all(*asked)[0][:2], []))


@pytest.mark.usefixtures("few_plots")
def test_drawings_of_an_earlier_state_do_not_stay(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, grid(algo=ALGOS, n_steps=[8, 16]))
    build([folder])
    own = folder / "report" / "own.svg"
    own.write_text("<svg/>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "make_all", lambda *_: ([], []))
        build([folder])
    assert list((folder / "report").glob("*.svg")) == [own]


@pytest.mark.usefixtures("few_plots")
def test_several_sweeps_merge_beside_the_first(tmp_path: Path) -> None:
    a = write_sweep(tmp_path / "a", grid(algo=["bptt"]))
    b = write_sweep(tmp_path / "b", grid(algo=["d_rtrl"]))
    built = build([a, b])
    assert built.page == tmp_path.resolve() / "merged" / "report" / "index.html"
    assert not (a / "report").exists()
    assert "d_rtrl" in built.page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("few_plots")
def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, grid(algo=ALGOS, n_steps=[8, 16]))
    first = build([folder]).page.read_bytes()
    assert build([folder]).page.read_bytes() == first


def test_what_captions_share_is_said_once() -> None:
    made = [
        Figure(Plot(name, "s", name, caption, pd.DataFrame({"a": [1]}), lambda _: None), "", name)
        for name, caption in (("a", "Down is better. A wins. Cut."), ("b", "Down is better. Cut."))
    ]
    page = _gallery(made)
    assert page.count("Down is better.") == 1
    assert re.findall(r"<figcaption>(.*?)</figcaption>", page) == ["A wins. Cut.", "Cut."]
    assert "<figcaption>" not in _gallery(made[:1])


def test_elements_escape_everything_but_html() -> None:
    made = tag("p", "<&>", Html("<b>x</b>"), ["a", None, 3], class_='"x"', hidden=True, id=None)
    assert made == '<p class="&quot;x&quot;" hidden>&lt;&amp;&gt;<b>x</b>a3</p>'
    assert tag("br") == "<br>"
    assert '<td class="num">1</td>' in table(["a", "b"], [["x", "1"]], numeric=[1])


def test_bold_is_made_after_escaping() -> None:
    assert rich("a **<b>** c") == "a <strong>&lt;b&gt;</strong> c"


def test_markdown_escapes_cells_tags_and_links() -> None:
    assert escape_markdown("a|b <i> [x](y)\nz") == "a\\|b &lt;i&gt; [x]\\(y) z"
