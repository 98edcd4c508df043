"""Random models against their dense reference; and that reference, checked by itself."""

from __future__ import annotations

from dataclasses import replace

import brainstate
import brainunit as u
import jax
import numpy as np
import pytest

from .fuzz.check import check, report
from .fuzz.description import Net, State
from .fuzz.generate import random_net
from .fuzz.plan import Plan, plans, program, rule_plans
from .fuzz.program import load
from .fuzz.reference import Rule, reference
from .fuzz.rules import Integrators, SnAp
from .fuzz.structure import analyse

N_RULES = 8  # `--rules`
N_MODELS = 9  # a few seconds each; `python -m tests.core.fuzz` runs thousands
TRACE, FULL = Rule("trace"), Rule("full")


@pytest.mark.parametrize("seed", range(N_MODELS))
def test_a_random_model_has_the_gradients_of_the_definition(seed: int) -> None:
    net = random_net(seed)
    for plan in plans(net, seed):
        outcome = check(net, plan)
        assert outcome.kind in ("ok", "refused"), report(net, plan, outcome)


@pytest.mark.parametrize("seed", range(N_RULES))
def test_a_random_model_has_the_gradient_of_each_rule(seed: int) -> None:
    net = random_net(seed, seed % 2 == 1)
    for plan in rule_plans(net, seed, 1):
        outcome = check(net, plan)
        assert outcome.kind in ("ok", "refused"), report(net, plan, outcome)


def worst(got: dict, want: dict) -> float:
    """The largest relative error of a gradient."""
    size = np.sqrt(sum((w**2).sum() for w in want.values())) or 1.0
    return max(float(np.linalg.norm(got[k] - want[k])) / size for k in want)


def feeds_itself(net: Net) -> bool:
    """Whether an operation that feeds a state reads a previous one."""
    lines = {line.name: line for line in net.lines}

    def past(name: str) -> bool:
        return name != "x" and (lines[name].kind == "prev" or any(map(past, lines[name].args)))

    s = analyse(net)
    return any(past(op.args[0]) for op in s.layout.ops if s.fed[op.name].any())


@pytest.mark.parametrize("seed", range(3))
def test_the_full_derivative_is_that_of_the_models_own_loop(seed: int) -> None:
    net = replace(random_net(seed), vectorised=False)
    program_text = program(net, Plan("core.BPTT(net)", FULL))
    names = load(net, program_text)
    model, loss, xs, ys = (names[k] for k in ("net", "loss", "xs", "ys"))

    def total() -> jax.Array:
        brainstate.nn.init_all_states(model, batch_size=net.batch)
        value = 0.0
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            with brainstate.environ.context(i=i, t=i * u.ms, fit=False):
                value = value + loss(model(x), y)
        return value

    weights = model.states(brainstate.ParamState)
    grads = brainstate.transform.jit(brainstate.transform.grad(total, weights))()
    got = {
        k[0]: np.asarray(u.get_magnitude(v["weight"] if isinstance(v, dict) else v))
        for k, v in grads.items()
    }
    want = reference(net, FULL).grads
    assert worst(got, {k: want[k] for k in got}) < 1e-12


def test_without_a_matrix_on_a_previous_state_d_rtrl_is_bptt() -> None:
    chosen = [net for net in map(random_net, range(150)) if not feeds_itself(net)]
    chosen = [net for net in chosen if sum(s.new != "" for s in net.states)]
    assert len(chosen) > 20
    single = [net for net in chosen if one_layer(net)]
    assert len(single) > 5
    for net in single:
        full = reference(net, FULL)
        assert worst(reference(net, TRACE).grads, full.grads) < 1e-12
        assert worst(reference(net, Rule("influence")).grads, full.grads) < 1e-12


def test_rules_are_exact_where_nothing_is_left_out() -> None:
    """SnAp where all neurons are in reach is RTRL, and e-prop below no leaky layer is D-RTRL."""
    chosen = [net for net in map(random_net, range(40)) if not analyse(net).mixes]
    all_in_reach = no_filter = 0
    for net in chosen:
        snap, e_prop = SnAp(net, Rule("snap", n=9)), Integrators(net, Rule("e_prop"))
        if len(snap.groups) == 1 and one_layer(net) and all(n.all() for n in snap.near.values()):
            all_in_reach += 1
            assert (
                worst(reference(net, snap.rule, of=SnAp).grads, reference(net, FULL).grads) < 1e-12
            )
        if not e_prop.readers:
            no_filter += 1
            found = reference(net, e_prop.rule, of=Integrators).grads
            assert worst(found, reference(net, TRACE).grads) < 1e-12
    assert all_in_reach > 2
    assert no_filter > 10


def one_layer(net: Net) -> bool:
    """Whether no weight reaches a state through another operation."""
    s = analyse(net)
    lines = {line.name: line for line in net.lines}

    def products(name: str) -> int:
        return name != "x" and (lines[name].kind == "op") + sum(map(products, lines[name].args))

    return all(products(line.args[0]) == 0 for line in s.layout.ops if s.fed[line.name].any())


def test_keeping_a_value_in_a_state_that_nothing_reads_changes_nothing() -> None:
    kept = 0
    for net in map(random_net, range(60)):
        lines = [line for line in net.lines if line.kind == "fn" and line.value != "stop"]
        if not lines:
            continue
        more = State("kept", net.widths[lines[0].name], lines[0].name)
        stored = replace(net, states=(*net.states, more))
        for rule in (TRACE, Rule("decay", 0, (0.5, 0.8)), Rule("window", 2)):
            assert worst(reference(stored, rule).grads, reference(net, rule).grads) == 0.0
            kept += 1
    assert kept > 100
