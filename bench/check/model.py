"""``python -m bench check model=NAME``: what the core makes of a model.

The graph with its traces, or what cannot be represented and where; then the gradient of every
algorithm beside BPTT's, in float64 on a small batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import brainstate
import jax
import numpy as np

import core
from bench.cell.batches import batches
from bench.cell.build import Rebuild, model_of, set_up
from bench.cell.gradients import EXACT, cosine_and_error, float64_gradients
from bench.errors import quoted, words_of
from bench.instantiate import task_of
from bench.sweep.cell import Cell

SAMPLES = 4  # sequences of the batch


def run(cell: Cell, others: Sequence[Cell]) -> int:
    """Prints what there is to know; returns 0 when some trace can train the model, 1 otherwise.

    The other cells are the same with every algorithm.
    """
    name = cell.choices["model"]
    config = replace(cell.config, **{**EXACT, "algo": cell.config.algo}, batch_size=SAMPLES)
    set_up(config)
    with quoted("model"):
        task = task_of(config)
        model = model_of(config, task)
    xs, ys = next(batches(task, 0, config))
    weights = {
        path: jax.tree.map(np.array, state.value)
        for path, state in model.states(brainstate.ParamState).items()
    }
    build = Rebuild(replace(config, algo=EXACT["algo"]), task, weights)
    with quoted("model"):
        # Where the graph is refused, the model is left as it was, without states.
        brainstate.nn.init_all_states(model, batch_size=SAMPLES)
        past = bool(model.states(brainstate.HiddenState))
        represented = _graph(model, xs)
        (exact,) = float64_gradients(build, (xs, ys), {}, max_samples=SAMPLES)
    print(f"\nGradients beside BPTT's, {SAMPLES} sequences of {type(task).__name__}, float64:")
    for algo, change in [(c.choices["algo"], {"algo": c.config.algo}) for c in others]:
        try:
            (found,) = float64_gradients(build, (xs, ys), change, max_samples=SAMPLES)
        except Exception as error:
            # Somebody else's model or algorithm may raise anything; the others still say theirs.
            print(f"  {algo:20}refused: {words_of(error)}")
            continue
        near, far = cosine_and_error(found, exact)
        silent = [n for n in sorted(exact) if exact[n].any() and not found[n].any()]
        said = "no gradient" if near is None else f"cosine {near:.4f}"
        off = "" if far is None else f", relative error {far:.1e}"
        none = f", none for {', '.join(silent)}" if silent else ""
        print(f"  {algo:20}{said}{off}{none}", flush=True)
    if not past:
        print(f"{name}: it has no HiddenState, so there is no past to keep a trace of")
        return 1
    print(f"{name}: {'traces can train it' if represented else 'only BPTT and immediate train it'}")
    return 0 if represented else 1


def _graph(model: Any, xs: np.ndarray) -> bool:
    """Prints the graph or why there is none; whether there is one."""
    try:
        algo = core.D_RTRL(model)
        core.initialise(algo, xs[0])
    except core.CoreError as error:
        print(f"Not representable: {error}")
        return False
    print(algo.graph)
    return True
