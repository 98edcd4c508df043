"""Sources of traces: parametric operations y = x W (+ b), and element-wise parameters.

Axes: lead (batch, or none for a single sample), I inputs, H outputs; [...] are axes in front,
such as steps. A bias that joined its operation is one more row of W, on the constant input one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from core.equations.program import Equation, bind


@dataclass(frozen=True)
class Block:
    """A run of consecutive outputs of a source that feeds neurons of a group, usually consecutive
    ones.

    A GRU's fused gates y = [r, z] have one block: the second half feeds h, the first none.
    """

    group: int
    columns: slice  # within the last axis of y
    neurons: slice | tuple[int, ...]  # within the neurons of the group
    components: tuple[int, ...] = ()  # the group's states that the block's trace covers

    @property
    def width(self) -> int:
        return self.columns.stop - self.columns.start

    def within(self, columns: slice) -> tuple[slice, Any]:
        """Where some of the block's columns lie within it, and the neurons that they feed."""
        first, last = (c - self.columns.start for c in (columns.start, columns.stop))
        if isinstance(self.neurons, tuple):
            return slice(first, last), self.neurons[first:last]
        start = self.neurons.start
        return slice(first, last), slice(start + first, start + last)

    def of_neurons(self, a: Any) -> Any:
        """[..., n] at the neurons that are fed, [..., width]."""
        own = self.neurons
        return a[..., own if isinstance(own, slice) else np.array(own)]


def pieces(blocks: tuple[Block, ...], width: int) -> list[tuple[slice, tuple[int, ...]]]:
    """Cut range(width) where a block begins or ends: the columns, and which blocks hold them.

    Several do when an operation feeds states of several groups.
    """
    ends = {0, width}.union(*((b.columns.start, b.columns.stop) for b in blocks))

    def held(start: int, stop: int) -> tuple[int, ...]:
        runs = [block.columns for block in blocks]
        return tuple(b for b, c in enumerate(runs) if c.start <= start and stop <= c.stop)

    return [(slice(*run), held(*run)) for run in pairwise(sorted(ends))]


@dataclass(frozen=True, eq=False)
class Operation:
    """y = x W: a `dot_general` with one operand that depends on parameters and constants alone.

    `core.lowering` has made it x [lead, I], W [I, H], y [lead, H].
    """

    eqn: Equation
    x: int
    w: int
    name: str
    trainable: bool
    x_shape: tuple[int, ...]
    width: int  # H
    label: str = ""  # unique among the sources of a graph
    blocks: tuple[Block, ...] = ()
    bias: int | None = None  # the variable of b, [H] up to axes of length one

    @property
    def y(self) -> int:
        return self.eqn.outputs[0]

    @property
    def lead(self) -> tuple[int, ...]:
        return self.x_shape[:-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of y."""
        return (*self.lead, self.width)

    @property
    def n_in(self) -> int:
        return self.x_shape[-1]

    @property
    def rows(self) -> int:
        """I, and one more for a bias."""
        return self.n_in + (self.bias is not None)

    @property
    def weights(self) -> tuple[int, ...]:
        """The variables of W and b."""
        return (self.w,) if self.bias is None else (self.w, self.bias)

    @property
    def trace_axes(self) -> tuple[int, ...]:
        """Axes of a trace between lead and the columns."""
        return (self.rows,)

    def joined(self, xs: Sequence[Any], columns: Sequence[slice], w: Any) -> Any:
        """The equation where runs of columns have operands of their own."""
        if len(xs) == 1:
            return bind(self.eqn, [xs[0], w])[0]
        runs = zip(xs, columns, strict=True)
        return jnp.concatenate([bind(self.eqn, [x, w[:, run]])[0] for x, run in runs], axis=-1)

    def with_one(self, x: Any) -> Any:
        """[..., lead, I] -> [..., lead, rows]."""
        if self.bias is None:
            return x
        return jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1), x.dtype)], axis=-1)

    def moved(self, d_weights: Mapping[int, Any]) -> Any:
        """The change of W and b as one matrix [rows, H]; None where neither moves."""
        if self.bias is None:
            return d_weights.get(self.w)
        dw, db = d_weights.get(self.w), d_weights.get(self.bias)
        if dw is None and db is None:
            return None
        dtype = jnp.result_type(*(d for d in (dw, db) if d is not None))
        dw = jnp.zeros((self.n_in, self.width), dtype) if dw is None else dw
        db = jnp.zeros(self.width, dtype) if db is None else db
        return jnp.concatenate([dw, db.reshape(1, self.width)])

    def drive(self, x: Any, dw: Any, n_steps: int, columns: slice = slice(None)) -> Any:
        """dy = x dW of some columns, [K, lead, width]; zero when the weight does not move.

        Args:
          x: [K, lead, rows].
          dw: of `moved`, those columns.
        """
        width = len(range(self.width)[columns])
        if dw is None:
            return jnp.zeros((n_steps, *self.lead, width), x.dtype)
        # Two-dimensional, so that the transpose, dW = x^T dy, is one plain GEMM as well. One row
        # alone would be no product to XLA: it writes the outer one into each place that reads dW,
        # and there computes dy again for every element.
        x = x.reshape(-1, self.rows)
        dy = (jnp.pad(x, ((0, 1), (0, 0))) @ dw)[:1] if len(x) == 1 else x @ dw
        return dy.reshape(n_steps, *self.lead, width)

    def cut(self, dw: Any, runs: Sequence[slice]) -> list[Any]:
        """`moved` in consecutive runs of columns. (A slice for each would be transposed to so many
        arrays of the size of W.)"""
        if dw is None or len(runs) == 1:
            return [dw] * len(runs)
        return list(lax.split(dw, [run.stop - run.start for run in runs], axis=1))


@dataclass(frozen=True, eq=False)
class Parameter:
    """A bias, gain or time constant that reaches a state element by element."""

    w: int
    name: str
    shape: tuple[int, ...]  # as broadcast against the data
    lead: tuple[int, ...]
    dtype: Any
    additive: bool  # only ever added: a weight on the constant input one
    blocks: tuple[Block, ...]
    label: str = ""

    @property
    def y(self) -> int:
        """What feeds the state: theta itself."""
        return self.w

    @property
    def width(self) -> int:
        return math.prod(self.shape) // math.prod(self.lead)

    @property
    def weights(self) -> tuple[int, ...]:
        """The variable of theta."""
        return (self.w,)

    @property
    def trace_axes(self) -> tuple[int, ...]:
        return ()

    def moved(self, d_weights: Mapping[int, Any]) -> Any:
        """The change of theta; None where it does not move."""
        return d_weights.get(self.w)

    def drive(self, x: None, dw: Any, n_steps: int, columns: slice = slice(None)) -> Any:
        """d theta of some columns, [K, lead, width]; zero when the parameter does not move."""
        full = jnp.zeros(self.shape, self.dtype) if dw is None else jnp.broadcast_to(dw, self.shape)
        full = full.reshape(*self.lead, self.width)[..., columns]
        return jnp.broadcast_to(full, (n_steps, *full.shape))

    def cut(self, dw: Any, runs: Sequence[slice]) -> list[Any]:
        """As of an operation; `drive` takes the columns itself."""
        return [dw] * len(runs)
