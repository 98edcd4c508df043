"""Hold an entry against the reference; the page of all entries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import brainstate
import brainunit as u
import jax
import numpy as np

import core

from . import layers, neurons, states, structures
from .entries import Entry, O, T, draw
from .reference import gradient

__all__ = ["ENTRIES", "PAGE", "page", "refusal", "verdict"]

ENTRIES = (*neurons.ENTRIES, *layers.ENTRIES, *structures.ENTRIES, *states.ENTRIES)
PAGE = Path(__file__).parents[3] / "docs" / "models.md"
TOLERANCE = 1e-12


def made(entry: Entry) -> Any:
    """D-RTRL of the entry's model, and its inputs [T, B, ...]."""
    brainstate.random.seed(0)
    model, xs = entry.make(), entry.xs()
    for state in model.states(brainstate.ParamState).values():
        state.value = jax.tree.map(_not_zero, state.value, is_leaf=u.math.is_quantity)
    return core.D_RTRL(model, window=2), xs


def refusal(entry: Entry) -> str:
    """The sentence, without the place in the code; none where the model is taken.

    By tracing alone, which needs no numbers.
    """
    algo, xs = made(entry)

    def compiled() -> None:
        core.initialise(algo, xs[0], entry.batching)

    try:
        brainstate.transform.StatefulFunction(compiled, return_only_write=False).make_jaxpr()
    except core.NotRepresentable as error:
        return _without_places(error)
    return ""


def _without_places(error: core.NotRepresentable) -> str:
    said = f"expected {error.expected}; got {error.came}"
    return re.sub(r",? (at )?/\S+:\d+ \([^ ]*\)", "", said)


def verdict(entry: Entry) -> tuple[str, str]:
    """("right", ""), ("refused", the sentence) or ("WRONG", what is off)."""
    algo, xs = made(entry)
    try:
        core.initialise(algo, xs[0], entry.batching)
    except core.NotRepresentable as error:
        return "refused", _without_places(error)
    lead = (1,) if entry.batching == "single" else xs.shape[1:2]
    ys = draw(T, *lead, O, seed=9)

    def loss(out: Any, y: Any) -> Any:
        return ((u.get_magnitude(out) - y) ** 2).sum()

    got = core.gradient(algo, loss, xs, ys, per_step_targets=True).grads
    off, moved = [], 0
    for path, wanted in gradient(algo.model, xs, ys, entry.batching).items():
        for mine, its in zip(jax.tree.leaves(got[path]), jax.tree.leaves(wanted), strict=True):
            mine, its = (np.asarray(u.get_magnitude(v)) for v in (mine, its))
            apart = np.linalg.norm(mine - its) / (np.linalg.norm(its) or 1.0)
            if not apart <= TOLERANCE:
                off.append(f"{'.'.join(map(str, path))} by {apart:.1e}")
            moved += bool(np.any(its))
    if moved < 2:
        off.append("nothing but the readout has a gradient")
    return ("WRONG", "; ".join(off)) if off else ("right", "")


def _not_zero(a: Any) -> Any:
    """A bias of zero tells little."""
    if np.any(u.get_magnitude(a)):
        return a
    return a + u.maybe_decimal(u.Quantity(draw(*a.shape), unit=u.get_unit(a)))


def page(refusals: Mapping[Entry, str]) -> str:
    """docs/models.md."""
    right = [e for e, sentence in refusals.items() if not sentence]
    lines = [
        "# Models that have been tried",
        "",
        f"Of {len(refusals)} small models {len(right)} are taken and {len(refusals) - len(right)}"
        " refused. The gradient of those that",
        "are taken is D-RTRL's to 1e-12 (float64) by a reference that shares no code with the"
        " core: brainstate's own",
        "modules, differentiated by jax over all steps, with the cuts of the definition"
        " (`tests/core/catalogue/reference.py`).",
        "`python -m tests.core.catalogue --write` holds all of them against it and makes this page;"
        " every run of the tests",
        "holds some.",
        "",
        "| family | right |",
        "|---|---|",
    ]
    for family in dict.fromkeys(e.family for e in right):
        names = [e.name for e in right if e.family == family]
        lines.append(f"| {family} ({len(names)}) | {'; '.join(names)} |")
    lines += ["", "| refused | as it says |", "|---|---|"]
    lines += [f"| {e.family}: {e.name} | {s} |" for e, s in refusals.items() if s]
    return "\n".join([*lines, ""])
