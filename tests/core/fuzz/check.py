"""Run a random model under an algorithm of the core and compare with the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import core
import core.algorithms.uoro
from core.execution.feedback import Feedback

from .description import Net
from .plan import RATE, Plan, data_of, dropout_of, program, resets
from .program import load
from .reference import Reference, Wanted, reference
from .rules import BY_KIND, refused, signs
from .step import feedback
from .structure import analyse

__all__ = ["Outcome", "check", "report"]

TOLERANCE = 1e-8


class Outcome(NamedTuple):
    """kind: ok; refused, with a reason in the model's structure; refused wrongly; off; crashed.

    words: which refusal, or what is off.
    """

    kind: str
    words: str = ""
    wanted: Wanted | None = None


def wanted(net: Net, plan: Plan) -> Wanted:
    xs, ys = data_of(net, plan)
    return reference(
        net,
        plan.rule,
        mask=plan.mask,
        mean=plan.mean,
        xs=xs,
        ys=ys,
        reset=resets(net, len(xs[0])) if plan.reset else None,
        update_every=plan.update_every if plan.driver == "train" else 0,
        rate=RATE,
        dropped=dropout_of(net, plan),
        of=BY_KIND.get(plan.rule.kind, Reference),
    )


@contextmanager
def given() -> Iterator[None]:
    """What rules draw at random is known: functions of what it is drawn for."""

    def of(self: Any, graph: Any, values: Any) -> Any:
        found = {op.w: feedback(values[op.w], jnp) for op in graph.operations}
        return {**values, **found} if self.random else values

    def drawn(seed: int, common: Any, steps: Any, seen: Any, like: Any) -> Any:
        count = [steps.reshape(*steps.shape, *(1,) * (h.ndim - steps.ndim)) for h in like]
        return tuple(signs(h, n, jnp) for h, n in zip(like, count, strict=True))

    with patch.object(Feedback, "of", of), patch.object(core.algorithms.uoro, "_signs", drawn):
        yield


def online(plan: Plan) -> bool:
    """Whether the algorithm has traces that are one number per neuron."""
    return plan.rule.kind in ("trace", "decay", "window", *BY_KIND)


def _reads_a_stored_state(net: Net, plan: Plan, refusal: core.CoreError) -> bool:
    """A loss of `algo(x)` may read the states that carry credit to an output, and no others."""
    of_states = any(kind != "weight" for kind, _, _ in net.loss.penalties)
    called = plan.driver in ("steps", "windows")
    return called and of_states and "states that its traces cover" in refusal.expected


def check(net: Net, plan: Plan) -> Outcome:
    """Whether the core's numbers are the reference's."""
    reason = refused(net, plan.rule)
    want = None if reason else wanted(net, plan)
    namespace = load(net, program(net, plan))
    run = namespace["run"]
    try:
        with given():
            grads, losses, outs = brainstate.transform.jit(run)()
        jax.block_until_ready((losses, outs))
    except core.CoreError as refusal:
        s = analyse(net)
        stored = _reads_a_stored_state(net, plan, refusal)
        reason = reason or (online(plan) and (s.mixes or s.looked_up or stored))
        return Outcome("refused" if reason else "refused wrongly", kind_of(refusal), want)
    except Exception as crash:
        return Outcome("crashed", f"{type(crash).__name__}: {str(crash)[:300]}", want)
    reason = reason or (online(plan) and analyse(net).mixes)
    if reason or want is None:
        return Outcome("off", f"not refused, although {reason}", want)
    pairs = {f"gradient of {k}": v for k, v in compared(net, grads, want.grads).items()}
    if plan.driver == "train":
        now = {k: s.value for k, s in namespace["net"].states(brainstate.ParamState).items()}
        pairs |= {f"trained {k}": v for k, v in compared(net, now, want.params).items()}
    told = np.ones(net.n_steps, bool)  # what the loss is of padding says nothing
    if plan.padding:
        told = (np.asarray(plan.mask).reshape(net.n_steps, -1) != 0).all(axis=1)
    pairs["losses"] = (np.asarray(losses)[told], want.losses[told])
    if outs is not None:
        pairs["outputs"] = (
            np.asarray(outs),
            want.outs[:, 0] if plan.batching == "single" else want.outs,
        )
    size = np.sqrt(sum((w**2).sum() for k, w in want.grads.items()))
    off = []
    for name, (got, w) in pairs.items():
        if got.shape != w.shape:
            off.append(f"{name} has shape {got.shape} instead of {w.shape}")
            continue
        scale = np.linalg.norm(w) + (1e-3 * size if name.startswith("gradient") else 1e-9)
        error = np.linalg.norm(got - w) / (scale or 1.0)
        if not error < TOLERANCE:
            off.append(f"{name} off by {error:.1e}")
    return Outcome("off", "; ".join(off), want) if off else Outcome("ok", "", want)


def compared(net: Net, got: Any, want: dict[str, Any]) -> dict[str, Any]:
    """Parameter -> (the core's array, the reference's)."""
    found = {}
    for path, value in got.items():
        value = value["weight"] if isinstance(value, dict) else value
        p = net.param(path[0])
        # The gradient of a weight in mV comes in 1/mV or in mV; its number is the same.
        found[p.name] = (np.asarray(u.get_magnitude(value)), np.asarray(want[p.name]))
    assert set(found) == set(want) - net.frozen
    return found


def kind_of(refusal: Any) -> str:
    """A refusal without the names of one model."""
    words = re.sub(r"\b[a-z]{1,2}h?\d+(\.weight(\.weight)?)?\b|\br\b|\d+", "_", refusal.expected)
    return f"{type(refusal).__name__}: {words}"


def report(net: Net, plan: Plan, outcome: Outcome) -> str:
    """A failure as a program that shows it."""
    return "\n".join(
        [
            f"# seed {net.seed}: {outcome.kind}, {outcome.words}",
            program(net, plan),
            "found = brainstate.transform.jit(run)()",
            "print(found[0])",
            f"# right: {outcome.wanted.grads if outcome.wanted else None}",
        ]
    )
