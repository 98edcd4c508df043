"""Composition: every YAML composes, experiments expand, and what is typed wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.types import Override

from bench import instantiate
from bench.command import cli, compose, overrides
from bench.command.compose import CONF, Composer, Point
from bench.errors import BadInput
from bench.sweep import provenance
from bench.sweep.cell import BUILT, GROUPS, Cell, checked
from tests.bench.sweeps import with_code

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OPTIONS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in (*GROUPS, "metric")
}
ALGOS = ", ".join(OPTIONS["algo"])


def points(*arguments: str, multirun: bool = False) -> list[Point]:
    return list(Composer().points(list(arguments), multirun))


def test_there_is_something_to_compose() -> None:
    assert all(OPTIONS.values())
    assert len(EXPERIMENTS) >= 11


@pytest.mark.parametrize("place", range(max(map(len, OPTIONS.values()))))
def test_every_option_composes_and_passes_the_checks(place: int) -> None:
    """One of each group at once."""
    composer = Composer()
    wanted = {group: names[place % len(names)] for group, names in OPTIONS.items()}
    words = [f"{g}=[{name}]" if g == "metric" else f"{g}={name}" for g, name in wanted.items()]
    if "steps_multiple_of" in (text := (CONF / "task" / f"{wanted['task']}.yaml").read_text()):
        words.append(f"n_steps={yaml.safe_load(text)['steps_multiple_of']}")
    (point,) = composer.points(words, False)
    cell = checked(point.config, point.choices, lambda: composer.defaults)
    for constructed in BUILT:
        instantiate.check(constructed, getattr(cell.config, constructed))
    assert [*cell.config.metric] == [wanted.pop("metric")]
    assert wanted.items() <= cell.choices.items()


@pytest.fixture
def each_value_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the combinations of a case the first, and those with a value that none before had: Hydra
    takes a tenth of a second for each."""
    all_of, seen = overrides.combinations, set[str]()

    def some(asked: Sequence[Override]) -> Iterator[tuple[str, ...]]:
        for place, combination in enumerate(all_of(asked)):
            if place == 0 or not seen.issuperset(combination):
                seen.update(combination)
                yield combination

    monkeypatch.setattr(overrides, "combinations", some)


@pytest.mark.usefixtures("each_value_once")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_states_its_question_and_time_and_composes(name: str) -> None:
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    package, comment = text.splitlines()[:2]
    assert package == "# @package _global_"
    assert "?" in comment
    assert "minutes" in comment
    assert yaml.safe_load(text)["question"].endswith("?")
    cells = cli.cells_of(None, [f"+experiment={name}"], multirun=False)
    assert len(cells) > 1
    assert {cell.config.experiment for cell in cells} == {name}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What Hydra composes, which takes a fifth of a second each time."""
    asked: list[list[str]] = []
    real = compose.compose
    monkeypatch.setattr(
        compose,
        "compose",
        lambda name, words, **options: asked.append(words) or real(name, words, **options),
    )
    return asked


def test_one_cell_is_composed_once(asked: list[list[str]]) -> None:
    """The defaults are for refusals alone."""
    assert len(cli.cells_of(None, ["algo=bptt", "n_hidden=8,16"], multirun=True)) == 2
    assert asked == [["algo=bptt"]]
    with pytest.raises(BadInput, match="Try n_steps=8"):
        cli.cells_of(None, ["algo=bptt", "n_steps=0"], multirun=False)
    assert asked == [["algo=bptt"], ["algo=bptt"], []]


def test_quick_is_twelve_cells() -> None:
    cells = cli.cells_of(None, ["+experiment=quick"], multirun=False)
    found = {(c.choices["algo"], c.choices["batching"], c.config.n_hidden) for c in cells}
    assert len(found) == 12
    assert [c.repeat for c in cells] == [0] * 12 + [1] * 12
    assert {c.choices["task"] for c in cells} == {"digits"}
    assert all({*c.config.metric}.isdisjoint({"learning", "fidelity"}) for c in cells[12:])


@pytest.mark.parametrize("asked", ["[memory]", "memory", "[memory,work]"])
def test_what_an_experiment_sets_of_a_metric_goes_with_the_metric(asked: str) -> None:
    cells = cli.cells_of(None, ["+experiment=width", f"metric={asked}"], multirun=False)
    assert {frozenset(c.config.metric) for c in cells} == {frozenset(asked.strip("[]").split(","))}


def test_what_an_experiment_sets_of_a_metric_that_is_asked_for_holds() -> None:
    cells = cli.cells_of(None, ["+experiment=width", "metric=[timing]"], multirun=False)
    assert {c.config.metric["timing"]["warmup_s"] for c in cells} == {1.5}


def test_a_sweep_is_the_product_in_the_order_typed() -> None:
    found = [
        (p.choices["algo"], p.config["n_hidden"])
        for p in points("algo=bptt,d_rtrl", "n_hidden=8,16", multirun=True)
    ]
    assert found == [("bptt", 8), ("bptt", 16), ("d_rtrl", 8), ("d_rtrl", 16)]


def test_what_is_typed_wins_over_the_experiment() -> None:
    found = points("+experiment=quick", "n_hidden=8", "epochs=1", "algo=bptt")
    assert {(p.config["n_hidden"], p.config["epochs"]) for p in found} == {(8, 1)}
    assert len(found) == 2


def test_a_key_of_an_algorithm_and_a_key_that_is_swept_both_arrive() -> None:
    found = points("algo=d_rtrl", "algo.window=1,sequence", multirun=True)
    assert [p.config["algo"]["window"] for p in found] == [1, "sequence"]


def test_cases_are_sweeps_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "two.yaml").write_text(
        "# @package _global_\ncases:\n  - algo=d_rtrl algo.window=1,2\n  - algo=bptt\n"
        "hydra:\n  sweeper:\n    params:\n      seed: 0,1\n"
    )
    composer = Composer(str(tmp_path))
    found = [
        (p.choices["algo"], p.config["seed"], p.config["algo"].get("window"))
        for p in composer.points(["+experiment=two"], False)
    ]
    assert found == [
        ("d_rtrl", 0, 1),
        ("d_rtrl", 0, 2),
        ("d_rtrl", 1, 1),
        ("d_rtrl", 1, 2),
        ("bptt", 0, None),
        ("bptt", 1, None),
    ]


def test_cases_typed_replace_those_of_the_experiment() -> None:
    found = points("+experiment=decay_vs_rank", 'cases=["algo=d_rtrl seed=1,2", "algo=bptt"]')
    assert [(p.choices["algo"], p.config["seed"]) for p in found] == [
        ("d_rtrl", 1),
        ("d_rtrl", 2),
        ("bptt", 0),
    ]


def test_titles_tell_cells_apart_by_what_differs() -> None:
    cells = cli.cells_of(
        None,
        ["algo=es_d_rtrl", "algo.decay_or_rank=0.9,4", "task=digits,random_spikes", "seed=7"],
        multirun=True,
    )
    assert [cell.title() for cell in cells] == [
        f"es_d_rtrl manual lif_net B64 H64 T8 {text}"
        for text in (
            "task=digits decay_or_rank=0.9",
            "task=random_spikes decay_or_rank=0.9",
            "task=digits decay_or_rank=4",
            "task=random_spikes decay_or_rank=4",
        )
    ]
    apart = [cell.title() for cell in cli.cells_of(None, ["algo=bptt,d_rtrl"], multirun=True)]
    assert apart == ["bptt manual lif_net B64 H64 T8", "d_rtrl manual lif_net B64 H64 T8"]
    own = [c.title() for c in cli.cells_of(None, ["task=digits,sine"], multirun=True)]
    assert own == [f"d_rtrl manual lif_net B64 H64 T8 task={task}" for task in ("digits", "sine")]
    some = cli.cells_of(None, ["metric=[timing],[learning,health]"], multirun=True)
    assert [cell.apart for cell in some] == [("metric=timing",), ("metric=learning+health",)]


def test_repeats_are_rounds() -> None:
    cells = cli.cells_of(None, ["repeats=3", "n_hidden=8,16"], multirun=True)
    assert [(c.repeat, c.config.n_hidden) for c in cells] == [
        (0, 8),
        (0, 16),
        (1, 8),
        (1, 16),
        (2, 8),
        (2, 16),
    ]


def test_duplicate_points_run_once() -> None:
    assert len(cli.cells_of(None, ["n_hidden=8,8,16"], multirun=True)) == 2


def test_a_foreign_conf_package_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "__init__.py").touch()
    (tmp_path / "conf" / "config.yaml").write_text("foreign: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "foreign" not in points("algo=bptt")[0].config


def cell(*arguments: str) -> Cell:
    (found,) = cli.cells_of(None, list(arguments), multirun=False)
    return found


def test_key_covers_what_is_measured_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    key = cell().key
    assert key == cell("out=elsewhere", "resume=retry", "plan=true").key
    different = [
        cell("lr=1").key,
        cell("seed=1").key,
        cell("limits.deadline_s=5").key,
        cell("algo.window=3").key,
        replace(cell(), repeat=1).key,
    ]
    with_code(monkeypatch, "other code")
    different.append(cell().key)
    monkeypatch.setattr(provenance, "environment", lambda *_: {"python": "4"})
    different.append(cell().key)
    assert len({key, *different}) == 1 + len(different)


def test_no_plots_may_be_asked_for() -> None:
    assert cell("plot=[]").config.plot == cell("plot=null").config.plot == {}


def test_one_of_several_penalties_may_leave_the_target_idle() -> None:
    asked = ["rate_target=0.1", "rate_penalty=0,1"]
    assert len(cli.cells_of(None, asked, multirun=True)) == 2


def test_values_of_dictionaries_are_composed_anew() -> None:
    asked = points("limits={deadline_s:5},{memory_gib:2}", multirun=True)
    assert [point.config["limits"] for point in asked] == [
        {"deadline_s": 5, "memory_gib": None},
        {"deadline_s": 600, "memory_gib": 2},
    ]


def test_row_names_the_cell() -> None:
    assert cell("n_hidden=32", "seed=3", "model=gru").row() == {
        "algo": "d_rtrl",
        "batching": "manual",
        "model": "gru",
        "task": "digits",
        "backend": "core",
        "device": "cpu",
        "batch_size": 64,
        "n_hidden": 32,
        "n_layers": 1,
        "n_steps": 8,
        "seed": 3,
        "repeat": 0,
    }


@pytest.mark.parametrize(
    "asked",
    ["hydra.searchpath='${x}'", "hydra.launcher='${x}'", "cases=['${x}']", "question='${x}'"],
)
def test_an_interpolation_that_leads_nowhere_is_one_sentence(asked: str) -> None:
    with pytest.raises(BadInput, match="values that Hydra can compose"):
        points(asked, multirun=True)


def test_the_axes_of_hydras_sweeper_can_be_typed() -> None:
    asked = points('+hydra.sweeper.params={n_hidden:"4,8"}', multirun=True)
    assert [point.config["n_hidden"] for point in asked] == [4, 8]
