"""Which neuron does each element of a variable feed? Proves that a path is element-wise.

D-RTRL needs dh_t/dy_t and dh_t/dh_{t-1} to be one number per neuron. Every element of a new state
is labelled with its own position and the labels are carried backwards through the equations, as
`core.equations.differential` writes them: element-wise operations pass them on, data movement
(slice, reshape, concatenate, ...) permutes them, sums hand them to every term, and an element that
would need two labels, or an operation that mixes elements, is refused. The result is exact and
independent of values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from core.equations.differential import RULES, is_real
from core.equations.links import ELEMENTWISE, MOVEMENT, NONE, SCATTERS, Links, carries_gradient
from core.equations.program import Equation
from core.errors import NotRepresentable

_REMEDY = (
    "Keep the path from a weight's output to the state, and from state to state, element-wise; "
    "to feed several neurons, repeat a weight's columns and not its output; "
    "put mixing inside the operand of a weight, where it costs nothing; "
    "give a parameter the shape of the state (jnp.broadcast_to) before a branch, a loop or a "
    "function with a derivative rule of its own reads it; "
    'let batching="vmap" give each sample its own of what a whole batch shares; '
    "or train this model with core.BPTT."
)

# Of what BPTT cannot differentiate either.
OF_NONE = (
    "Let a loop make a number of turns that is known beforehand (lax.scan, lax.fori_loop between"
    " Python's integers), and put lax.stop_gradient before what has no derivative; core.BPTT needs"
    " that as well."
)


@dataclass(frozen=True, eq=False)
class Paths:
    """The paths into a state.

    Attributes:
      equations: that the state needs, in order, and their `links`.
      state: its name, for messages.
      relevant: variables whose gradient matters (they depend on a state, an operation's output or
        an element-wise parameter).
      stretch: variables that may be broadcast: element-wise parameters, which have one trace per
        neuron and receive the label array of the shape they are broadcast to.
    """

    equations: Sequence[Equation]
    links: Links
    state: str
    relevant: Set[int]
    stretch: Set[int]

    def labels(self, ends: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Labels of all that the labelled `ends` depend on, by variable, int arrays of its shape.

        Raises:
          NotRepresentable: naming the primitive and the user's line.
        """
        labels, avals, between = dict(ends), self.links.avals, list[Equation]()
        for eqn in reversed(self.equations):
            operands = {v for v in eqn.variables if is_real(avals[v]) and v in self.relevant}
            fed = not labels.keys().isdisjoint(eqn.outputs)
            if not fed or not operands or not carries_gradient(eqn, avals):
                continue
            outs = [labels.get(v, np.broadcast_to(NONE, avals[v].shape)) for v in eqn.outputs]
            kinds = set(map(self._is_complex, (*operands, *eqn.outputs)))
            if len(kinds) > 1 or (eqn.name == "conj" and all(kinds)):
                between.append(eqn)
            for a, new in self._fed(eqn, outs, operands):
                old = labels.get(a, new)
                if old.shape != new.shape or _differ(old, new):
                    raise self._mixing(eqn)
                labels[a] = np.where(old == NONE, new, old)
        made = {v for eqn in self.equations for v in eqn.outputs} - set(ends)
        if between and any(map(self._is_complex, labels.keys() - made)):
            # Between real ends the derivative is a real number, whatever is complex on the way.
            raise NotRepresentable(
                f"one derivative per neuron of the state {self.state}, by a path of complex or of"
                " real numbers alone",
                f"the operation '{between[0].name}', from one kind to the other, at"
                f" {between[0].source}",
                "Keep the path in one kind, for example with complex weights and the real part in"
                " an output; or train this model with core.BPTT.",
            )
        return labels

    def _is_complex(self, v: int) -> bool:
        return jnp.issubdtype(self.links.avals[v].dtype, jnp.complexfloating)

    def _fed(
        self, eqn: Equation, outs: list[np.ndarray], operands: set[int]
    ) -> list[tuple[int, np.ndarray]]:
        """The labels of the operands, one by one: the same variable may be there twice."""
        if eqn.name in RULES:
            raise unlinear(eqn)
        found, held = [], []
        back = self.links.backwards(eqn, outs, np.maximum, NONE)
        for a, label in zip(eqn.inputs, back, strict=True):
            shape = self.links.shape(a)
            held.append(np.full((1,) * len(shape), NONE))
            if not isinstance(a, int) or a not in operands:
                continue
            if label is None:
                raise self._unknown(eqn)
            if eqn.name in ELEMENTWISE and a in self.stretch:
                found.append((a, outs[0]))
            else:
                held[-1] = np.broadcast_to(label, shape)
                found.append((a, held[-1]))
        # An element that feeds several neurons has the label of the largest.
        again = self.links.forwards(eqn, held, np.maximum, NONE) or []
        if any(itertools.starmap(_differ, zip(again, outs, strict=False))):
            raise self._mixing(eqn)
        return found

    def _mixing(self, eqn: Equation) -> NotRepresentable:
        return NotRepresentable(
            f"that each element feeds one neuron of the state {self.state}",
            f"an element that feeds several, at the operation '{eqn.name}', {eqn.source}",
            _REMEDY,
        )

    def _unknown(self, eqn: Equation) -> NotRepresentable:
        """The refusal of an operation that does not say which element feeds which."""
        if eqn.name not in MOVEMENT | SCATTERS:
            return NotRepresentable(
                f"an element-wise path into the state {self.state}",
                f"the operation '{eqn.name}' at {eqn.source}",
                OF_NONE if eqn.name == "while" else _REMEDY,
            )
        return NotRepresentable(
            f"fixed indices on the path into the state {self.state}",
            f"'{eqn.name}' with computed indices at {eqn.source}",
            "Index with Python integers, slices or NumPy arrays; look a parameter up by a product,"
            " jax.nn.one_hot(index, len(table)) @ table; or index inside the operand of a weight;"
            " or train this model with core.BPTT.",
        )


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether an element has two labels."""
    return bool(((one != other) & (one != NONE) & (other != NONE)).any())


def one_row(labels: Sequence[np.ndarray], rows: int, step: int) -> np.ndarray | None:
    """What labels of the same elements say of the first row, where they agree and every other row
    has the same, `step` further from row to row."""
    found = [label.reshape(rows, -1) for label in labels]
    merged = np.maximum.reduce(found)
    first = merged[0]
    expected = np.where(first == NONE, NONE, first + step * np.arange(rows)[:, None])
    alike = (merged == expected).all() and not any(_differ(label, merged) for label in found)
    return first if alike and first.max() < step else None


def unlinear(eqn: Equation, or_else: str = ", or train with core.BPTT") -> NotRepresentable:
    """The refusal of a rule that `core.equations.differential` could not write out."""
    return NotRepresentable(
        "derivative rules that are linear in the cotangent",
        f"the rule of '{eqn.params['call_jaxpr'].jaxpr.debug_info.func_name}' at {eqn.source},"
        " which clips it, branches or loops over it, or the like",
        f"Clip the whole gradient instead (clip_norm of core.train){or_else}.",
    )
