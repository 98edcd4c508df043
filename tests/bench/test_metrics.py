"""The parts of metrics that are pure functions."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench.cell import worker
from bench.cell.build import Rebuild, build, model_of, set_up
from bench.cell.gradients import EXACT, cosine_and_error, float64_gradients
from bench.cell.operations import peak_bytes
from bench.command import cli
from bench.errors import BadInput
from bench.instantiate import task_of
from bench.metrics.base import Metric, Run, in_order
from bench.metrics.health import Health, gradient_words, without_gradient
from bench.metrics.learning import Learning, time_to
from bench.metrics.memory import Memory
from bench.metrics.timing import Timing
from bench.metrics.work import Work
from bench.tasks.random_classification import RandomClassification
from bench.tasks.random_spikes import RandomSpikes
from bench.tasks.sine import Sine


def built(*overrides: str) -> Run:
    """A cell whose training step is compiled in this process."""
    (cell,) = cli.cells_of(None, ["task=random_spikes", *overrides], multirun=False)
    return build(cell.config, cell.choices)[0]


def test_cosine_and_relative_error() -> None:
    def of(u: list[float], v: list[float]) -> tuple[float | None, float | None]:
        # A weight of one number and one of the others; what only one side has does not count.
        theirs, ours = ({"a": np.array(w[:1]), "b": np.array([w[1:]])} for w in (v, u))
        return cosine_and_error(ours | {"c": np.ones(1)}, theirs)

    assert of([1, 0, 0], [1, 1, 0]) == pytest.approx((1 / math.sqrt(2), 1 / math.sqrt(2)))
    assert of([3, 0, 0], [1, 0, 0]) == (1, 2)
    assert of([2, 2, 4], [1, 1, 2]) == pytest.approx((1, 1))
    assert of([1, 0, 0], [0, 0, 0]) == (None, None)
    assert of([0, 0, 0], [1, 0, 0]) == (None, 1)
    one = {"a": np.ones(1), "b": np.ones(2)}
    assert cosine_and_error({**one, "b": np.zeros(2)}, one, ["a"]) == (1, 0)


class Nothing(Metric):
    def measure(self, run: Run) -> Any:
        return None


class Noted(Metric):
    def measure(self, run: Run) -> Any:
        return {"note": 3, "invalid": {"odd"}}


def test_what_a_metric_notes_may_be_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cell.build.build", lambda *_: (SimpleNamespace(), {}))
    config: Any = SimpleNamespace(metric={"m": {"_target_": "tests.bench.test_metrics.Noted"}})
    said = worker.measure(config, {}, lambda message: None)
    assert said == (["{'odd'}"], ["3"])


class Step(Metric):
    def measure(self, run: Run) -> Any:
        return {"metrics": {"step_time_ms": 1.0}}


class Well(Metric):
    def measure(self, run: Run) -> Any:
        return {"health": "well"}


@pytest.mark.parametrize(("kind", "came"), [("Step", "metrics.step_time_ms"), ("Well", "health")])
def test_a_metric_replaces_nothing_that_another_measured(
    kind: str, came: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cell.build.build", lambda *_: (SimpleNamespace(), {}))
    node = {"_target_": f"tests.bench.test_metrics.{kind}"}
    config: Any = SimpleNamespace(metric={"shipped": node, "mine": node})
    with pytest.raises(BadInput, match=rf"metric\.mine: expected .* got {came}, which the cell"):
        worker.measure(config, {}, lambda message: None)


def test_a_metric_that_returns_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cell.build.build", lambda *_: (SimpleNamespace(), {}))
    metric = {"odd": {"_target_": "tests.bench.test_metrics.Nothing"}}
    config: Any = SimpleNamespace(metric=metric)
    with pytest.raises(
        BadInput, match=r"metric\.odd: expected parts of a record by name; got None"
    ):
        worker.measure(config, {}, lambda message: None)


def test_time_to_target_is_the_first_epoch_at_or_below() -> None:
    losses, seconds = [3.0, 2.0, 1.0, 2.0], [0.1, 0.2, 0.3, 0.4]
    assert time_to(losses, seconds, 2.0) == 0.2
    assert time_to(losses, seconds, 1.5) == 0.3
    assert time_to(losses, seconds, 0.5) is None


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([2.5, 1.0], []),
        ([], []),
        ([2.5, math.log(10) * 1.005], ["loss stuck at ln(10) = 2.3026"]),
        ([2.5, math.nan], ["loss is not finite"]),
        ([math.inf, 1.0], ["loss is not finite"]),
    ],
)
def test_words_about_losses(losses: list[float], words: list[str]) -> None:
    health, curves = Health(stuck_within=0.01), {"loss": losses, "accuracy": [0.1] * len(losses)}
    assert health.loss_words(curves, RandomClassification(1, 1, 0, n_out=10)) == words


def test_the_loss_of_guessing_is_no_flaw_where_nothing_better_is_possible() -> None:
    health, chance = Health(stuck_within=0.01), math.log(2)
    task = RandomClassification(1, 1, 0, n_out=2)
    stuck = {"loss": [0.8, chance], "accuracy": [0.5, 0.51]}
    assert health.loss_words(stuck, task) == ["loss stuck at ln(2) = 0.6931"]
    assert health.loss_words(stuck, RandomSpikes(1, 1, 0, n_out=2)) == []
    # Right far more often than by chance, and unsure of it.
    assert health.loss_words({"loss": [chance], "accuracy": [0.8]}, task) == []


def test_numbers_are_stuck_at_the_best_constant() -> None:
    health, task = Health(stuck_within=0.01), Sine(20, 1, 0)
    guess = task.guess.loss
    assert 0.3 < guess < 0.7
    stuck = health.loss_words({"loss": [guess * 0.995], "r2": [0.005]}, task)
    assert stuck == [f"loss stuck at that of the best constant = {guess:.4f}"]
    assert health.loss_words({"loss": [0.8 * guess], "r2": [0.2]}, task) == []


def test_words_about_gradients() -> None:
    assert gradient_words(1.0) == []
    assert gradient_words(0.0) == ["gradient is zero"]
    assert gradient_words(math.nan) == gradient_words(None) == ["gradient is not finite"]


@pytest.mark.parametrize(
    ("peak", "account", "temp", "words"),
    [
        (5.0, 0.1, 0.0, ""),
        (120.0, 100.0, 90.0, ""),
        (150.0, 100.0, 90.0, "measured peak 150.0 MiB, XLA's account 100.0 MiB"),
        (70.0, 100.0, 60.0, "measured peak 70.0 MiB, XLA's account 100.0 MiB"),
        (0.5, 4.5, 4.2, "measured peak 0.5 MiB, below XLA's temporaries of 4.2 MiB"),
        (2.5, 4.5, 4.2, ""),
        (91.0, 101.0, 100.0, ""),
        (89.0, 101.0, 100.0, "measured peak 89.0 MiB, below XLA's temporaries of 100.0 MiB"),
        (None, 100.0, 90.0, ""),
    ],
)
def test_disagreement_of_memory_is_said(
    peak: float | None, account: float, temp: float, words: str
) -> None:
    memory = Memory(disagree_above=0.25, slack_mib=8.0)
    assert memory._disagreement(peak, account, temp) == words


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        ("memory timing work learning health", "timing work learning health memory"),
        ("timing learning work memory", "timing learning work memory"),
        ("work memory health", "work health memory"),
        ("", ""),
    ],
)
def test_memory_waits_until_all_else_is_measured(asked: str, runs: str) -> None:
    every: dict[str, Metric] = {
        "memory": Memory(),
        "timing": Timing(),
        "work": Work(),
        "learning": Learning(),
        "health": Health(),
    }
    assert list(in_order({name: every[name] for name in asked.split()})) == runs.split()


def test_predicted_memory_counts_what_a_scan_stacks() -> None:
    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return h + x, h

    def run(xs: jax.Array) -> jax.Array:
        return jax.lax.scan(step, jnp.zeros(100), xs)[1]

    small, large = (peak_bytes(jax.make_jaxpr(run)(jnp.ones((n, 100)))) for n in (10, 1000))
    # Arguments and stacked outputs, 400 bytes a step each.
    assert large - small == 990 * 2 * 400
    assert small >= 10 * 2 * 400


def test_predicted_memory_frees_what_is_used_up() -> None:
    def chain(x: jax.Array) -> jax.Array:
        for _ in range(10):
            x = jnp.cumsum(x)
        return x

    # The argument, the result, and in between one operand with what is made of it.
    assert peak_bytes(jax.make_jaxpr(chain)(jnp.ones(1000))) == 4 * 4000


def test_predicted_memory_keeps_nothing_element_wise_or_unread() -> None:
    def run(x: jax.Array) -> jax.Array:
        jnp.cumsum(jnp.zeros(10**6))
        return (jnp.sin(x)[:, None] * jnp.ones(10**6)).sum()

    # The argument and the sum.
    assert peak_bytes(jax.make_jaxpr(run)(jnp.ones(1000))) == 4000 + 4


@pytest.mark.parametrize("algo", ["bptt", "d_rtrl", "es_d_rtrl"])
@pytest.mark.parametrize("model", ["lif_net", "gru"])
def test_predicted_memory_is_near_the_compilers(model: str, algo: str) -> None:
    program, _ = built(
        f"algo={algo}", f"model={model}", "n_hidden=48", "n_steps=64", "batch_size=16"
    ).stepper.calls[0]
    assert 0.7 < peak_bytes(program.jaxpr) / 2**20 / program.memory_total() < 1.4


def test_fidelity_is_that_of_the_updates_a_sequence_gets() -> None:
    """BPTT sees no further back than its last update; traces go on."""
    (cell,) = cli.cells_of(
        None,
        ["task=random_spikes", "model=gru", "n_hidden=8", "n_steps=6", "batch_size=4"],
        multirun=False,
    )
    set_up(cell.config)
    task = task_of(cell.config)
    weights = {
        path: jax.tree.map(np.array, state.value)
        for path, state in model_of(cell.config, task).states(brainstate.ParamState).items()
    }
    exact, *others = float64_gradients(
        Rebuild(cell.config, task, weights),
        next(iter(task.batches(0))),
        EXACT,
        {**EXACT, "update_every": 2},
        {**EXACT, "update_every": 4},
        {},
        {"update_every": 1},
        max_samples=4,
    )
    every_2, every_4, traces, online = (cosine_and_error(other, exact)[1] for other in others)
    assert every_2 > every_4 > 0.01
    assert traces > 0.01
    assert online == pytest.approx(traces, rel=1e-9)


def test_a_weight_without_gradient_is_told_from_one_that_needs_none() -> None:
    truth = {"a": np.ones(3), "b": np.ones(2), "idle": np.zeros(2)}
    theirs = {"a": np.array([1.0, 0.5, 1.0]), "b": np.zeros(2), "idle": np.zeros(2)}
    found = {
        name: dict(
            zip(("cosine", "rel_error"), cosine_and_error(theirs, truth, [name]), strict=True)
        )
        for name in truth
    }
    assert without_gradient(found) == ["b"]
