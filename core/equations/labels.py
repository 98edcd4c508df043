"""Which neuron does each element of a variable feed? Proves that a path is element-wise.

D-RTRL needs dh_t/dy_t and dh_t/dh_{t-1} to be one number per neuron. Every element of a new state
is labelled with its own position and the labels are carried backwards through the equations, as
`core.equations.differential` writes them: element-wise operations pass them on, data movement
(slice, reshape, concatenate, ...) permutes them, sums hand them to every term, and an element that
would need two labels, or an operation that mixes elements, is refused. The result is exact and
independent of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from core.equations.differential import RULES, is_real
from core.equations.links import ELEMENTWISE, MOVEMENT, NONE, SCATTERS, Links, carries_gradient
from core.equations.program import Equation
from core.errors import NotRepresentable

__all__ = ["propagate", "unlinear"]

_REMEDY = (
    "Keep the path from a weight's output to the state, and from state to state, element-wise; "
    "to feed several neurons, repeat a weight's columns and not its output; "
    "or put the mixing inside the operand of a weight, where it costs nothing; "
    "or train this model with core.BPTT."
)

_BROADCAST = (
    "Give the parameter the shape of the state (jnp.broadcast_to) before a function with a"
    " derivative rule of its own, a branch or a loop reads it; or train this model with core.BPTT."
)


@dataclass(frozen=True, eq=False)
class _Paths:
    """What the rules of the operations look up."""

    links: Links
    state: str
    stretch: Callable[[int], bool]
    inside: frozenset[int]  # parameters as a rule, a branch or a loop reads them

    def mixing(self, eqn: Equation) -> NotRepresentable:
        return NotRepresentable(
            f"that each element feeds one neuron of the state {self.state}",
            f"an element that feeds several, at the operation '{eqn.name}', {eqn.source}",
            _REMEDY if self.inside.isdisjoint(eqn.variables) else _BROADCAST,
        )

    def unknown(self, eqn: Equation) -> NotRepresentable:
        """The refusal of an operation that does not say which element feeds which."""
        if eqn.name not in MOVEMENT | SCATTERS:
            return NotRepresentable(
                f"an element-wise path into the state {self.state}",
                f"the operation '{eqn.name}' at {eqn.source}",
                _REMEDY,
            )
        table = isinstance(eqn.inputs[0], int) and self.stretch(eqn.inputs[0])
        return NotRepresentable(
            f"fixed indices on the path into the state {self.state}",
            f"'{eqn.name}' with computed indices at {eqn.source}",
            "Look a parameter up by a product: jax.nn.one_hot(index, len(table)) @ table."
            if table
            else "Index with Python integers, slices or NumPy arrays; or index inside the operand"
            " of a weight; or train this model with core.BPTT.",
        )

    def merge(self, old: np.ndarray | None, new: np.ndarray, eqn: Equation) -> np.ndarray:
        """The labels of one variable by two ways."""
        if old is None:
            return new
        if old.shape != new.shape or ((old != new) & (old != NONE) & (new != NONE)).any():
            raise self.mixing(eqn)
        return np.where(old == NONE, new, old)


def propagate(
    equations: Iterable[Equation],
    links: Links,
    labels: dict[int, np.ndarray],
    state: str,
    *,
    relevant: Callable[[int], bool],
    stretch: Callable[[int], bool],
) -> dict[int, np.ndarray]:
    """Carry `labels` (variable -> int array of its shape) backwards; returns the same dict, filled.

    Args:
      equations: in execution order, as `core.equations.differential` writes them.
      links: of these equations.
      labels: the labelled new states to start from.
      state: the state's name, for messages.
      relevant: whether a variable's gradient matters (it depends on a state, an operation's output
        or an element-wise parameter).
      stretch: whether a variable may be broadcast: true of element-wise parameters, which have one
        trace per neuron and receive the label array of the shape they are broadcast to.

    Raises:
      NotRepresentable: naming the primitive and the user's line.
    """
    equations, avals = list(equations), links.avals
    inside: set[int] = set()
    for eqn in equations:
        own = [v for v in eqn.variables if relevant(v)]
        copied = eqn.name == "copy" and any(map(stretch, own))
        if copied or (own and inside.issuperset(own)):
            inside.update(eqn.outputs)
    paths = _Paths(links, state, stretch, frozenset(inside))
    for eqn in reversed(equations):
        outs = [labels.get(v) for v in eqn.outputs]
        if all(o is None for o in outs) or not carries_gradient(eqn, avals):
            continue
        operands = [
            a for a in eqn.inputs if isinstance(a, int) and is_real(avals[a]) and relevant(a)
        ]
        if not operands:
            continue
        _one_kind(eqn, operands, paths)
        filled = [
            np.full(avals[v].shape, NONE) if o is None else o
            for v, o in zip(eqn.outputs, outs, strict=True)
        ]
        for a, label in _fed(eqn, filled, operands, paths):
            labels[a] = paths.merge(labels.get(a), label, eqn)
    return labels


def _one_kind(eqn: Equation, operands: list[int], paths: _Paths) -> None:
    found = (paths.links.avals[v].dtype for v in (*operands, *eqn.outputs))
    if len({jnp.issubdtype(dtype, jnp.complexfloating) for dtype in found}) > 1:
        raise NotRepresentable(
            f"one derivative per neuron of the state {paths.state}, by a path of complex or of real"
            " numbers alone",
            f"the operation '{eqn.name}', from one kind to the other, at {eqn.source}",
            "Keep the path in one kind, for example with complex weights and the real part in"
            " an output; or train this model with core.BPTT.",
        )


def _fed(
    eqn: Equation, outs: list[np.ndarray], operands: list[int], paths: _Paths
) -> list[tuple[int, np.ndarray]]:
    """The labels of the operands, one by one: the same variable may be there twice."""
    if eqn.name in RULES:
        raise unlinear(eqn)
    links = paths.links
    found, held = [], []
    for a, label in zip(eqn.inputs, links.backwards(eqn, outs, np.maximum, NONE), strict=True):
        shape = links.shape(a)
        held.append(np.full((1,) * len(shape), NONE))
        if a not in operands or not isinstance(a, int):
            continue
        if label is None:
            raise paths.unknown(eqn)
        if eqn.name in ELEMENTWISE and paths.stretch(a):
            found.append((a, outs[0]))
        else:
            held[-1] = np.broadcast_to(label, shape)
            found.append((a, held[-1]))
    # An element that feeds several neurons has the label of the largest.
    again = links.forwards(eqn, held, np.maximum, NONE) or []
    for back, out in zip(again, outs, strict=False):
        if ((back != out) & (back != NONE) & (out != NONE)).any():
            raise paths.mixing(eqn)
    return found


def unlinear(
    eqn: Equation,
    remedy: str = "Clip the whole gradient instead (clip_norm of core.train), or train with"
    " core.BPTT.",
) -> NotRepresentable:
    """The refusal of a rule that `core.equations.differential` could not write out."""
    return NotRepresentable(
        "derivative rules that are linear in the cotangent",
        f"the rule of '{eqn.params['call_jaxpr'].jaxpr.debug_info.func_name}' at {eqn.source},"
        " which clips it or the like",
        remedy,
    )
