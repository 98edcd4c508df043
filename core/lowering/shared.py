"""What all samples of a batch share, written once for each of them.

A row of a table that the clock chooses, or a product of the clock, has no axis of samples; all of
them read it, and each needs a trace of its own. Where it meets an array of samples, what was made
of weights and shared data on the way there is written once more, with their axes in front.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import primitives

from core.equations.differential import is_real
from core.equations.links import ELEMENTWISE
from core.equations.program import Atom, Equation, Writer, aval_of, bind, traced


class OverSamples(Writer):
    """Writes equations, and spreads what is shared over the samples that it meets.

    Attributes:
      data: variables that differ from step to step.
    """

    def __init__(self, avals: Mapping[int, Any], data: Iterable[int]) -> None:
        super().__init__(avals)
        self.data = set(data)
        self._shared = {v for v in self.data if self.avals[v].ndim < 2}
        self._made = dict[int, Equation]()  # of weights and of shared data alone, by variable
        self._spread = dict[tuple[int, tuple[int, ...]], int]()

    def append(self, eqn: Equation) -> None:
        """Write an equation as it is."""
        self.written.append(eqn)
        reads = self.data.intersection(eqn.variables)
        if not reads:
            return
        self.data.update(eqn.outputs)
        rows = eqn.name == "dot_general" and any(self.avals[v].ndim > 1 for v in reads)
        if reads <= self._shared and not rows:
            self._shared.update(eqn.outputs)
            weights = (v for v in eqn.variables if v not in reads and is_real(self.avals[v]))
            if not reads.isdisjoint(self._made) or any(weights):
                self._made.update(dict.fromkeys(eqn.outputs, eqn))

    def joined(self, eqn: Equation) -> Equation:
        """The equation; where it joins what is shared with samples, of that spread over them."""
        shape, reads = self.avals[eqn.outputs[0]].shape, self.data.intersection(eqn.variables)
        if self._made.keys().isdisjoint(reads):
            return eqn
        if eqn.name == "dot_general" and not reads <= self._shared:
            return self._product(eqn)
        axes, params = [*range(len(shape))], eqn.params
        if eqn.name == "broadcast_in_dim" and shape[0] > 1:
            params = {**params, "broadcast_dimensions": tuple(axes)}
            axes = [*eqn.params["broadcast_dimensions"]]
        elif eqn.name not in ELEMENTWISE or reads <= self._shared:
            return eqn

        def met(a: Atom) -> Atom:
            if not isinstance(a, int) or a not in self._made:
                return a
            own = self.avals[a].shape
            if len(own) != len(axes):
                return a
            front = tuple(own[axes.index(i)] if i in axes else 1 for i in range(len(shape)))
            sizes = shape[: len([*itertools.takewhile(lambda n: n == 1, front[:-1])])]
            if not sizes:
                return a
            each = replace(eqn, inputs=(self._over(a, sizes),))
            return self._put(lambda a: [a.reshape(*sizes, *front[len(sizes) :])], each)[0]

        return replace(eqn, inputs=tuple(map(met, eqn.inputs)), params=params)

    def _product(self, eqn: Equation) -> Equation:
        """Rows of samples, each times a matrix of its own that is one and the same."""
        x, w = eqn.inputs
        (of_x, of_w), batched = eqn.params["dimension_numbers"]
        sizes = self.avals[x].shape[:-1] if isinstance(x, int) else ()
        if w not in self._made or batched != ((), ()) or of_x != (len(sizes),):
            return eqn
        params = {**eqn.params, "dimension_numbers": (((0,), of_w), batched)}
        one = partial(bind, replace(eqn, params=params))
        for _ in sizes:
            one = jax.vmap(one)
        each = replace(eqn, inputs=(x, self._over(w, sizes)))
        (y,) = self._put(lambda *operands: one(operands), each)
        return replace(eqn, primitive=primitives.copy_p, inputs=(y,), params={})

    def _over(self, v: int, sizes: tuple[int, ...]) -> int:
        """`v` once for each sample, [*sizes, ...]."""
        if (v, sizes) not in self._spread:
            eqn = self._made[v]
            first = self._made.keys().isdisjoint(eqn.variables)
            at = [a in (self.data if first else self._made) for a in eqn.inputs]

            def of_each(*operands: Any) -> list[Any]:
                def every(a: Any) -> Any:
                    return jnp.broadcast_to(a, (*sizes, *a.shape))

                f: Any = partial(bind, eqn)
                for _ in sizes:
                    f = jax.vmap(f, (tuple(0 if own else None for own in at),))
                pairs = zip(operands, at, strict=True)
                return f(tuple(every(a) if first and own else a for a, own in pairs))

            known = () if first else self._made
            inputs = (
                self._over(a, sizes) if isinstance(a, int) and a in known else a for a in eqn.inputs
            )
            outputs = self._put(of_each, replace(eqn, inputs=tuple(inputs)))
            self._spread.update(zip(((o, sizes) for o in eqn.outputs), outputs, strict=True))
        return self._spread[v, sizes]

    def _put(self, f: Any, eqn: Equation) -> list[int]:
        """Write what a function of the equation's operands computes; its results."""
        new = traced(f, eqn, self.avals)
        results = [self.fresh(aval_of(new.avals, a)) for a in new.outputs]
        self.graft(new, tuple(dict.fromkeys(eqn.variables)), results, eqn.source_info)
        self._shared.difference_update(results)
        for v in results:
            self._made.pop(v, None)
        return results
