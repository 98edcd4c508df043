"""How many time steps an input holds: one, or a sequence along the leading axis.

Both wrappers are pytrees, so `jit`, `vmap` and `brainstate.nn.Vmap` see through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from core.errors import InvalidArgument

__all__ = ["MultiStepData", "SingleStepData", "split_steps"]


class _Data:
    """Data with its number of time steps declared by the class of the wrapper."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data!r})"


@jax.tree_util.register_pytree_node_class
class SingleStepData(_Data):
    """One time step, any pytree of arrays: `[I]` or `[B, I]`. A bare array means the same."""

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self.data,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> SingleStepData:
        return cls(*children)


@jax.tree_util.register_pytree_node_class
class MultiStepData(_Data):
    """A window of time steps, any pytree of arrays with time leading: `[T, I]` or `[T, B, I]`."""

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self.data,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Any]) -> MultiStepData:
        return cls(*children)


def split_steps(args: Sequence[Any]) -> tuple[tuple[Any, ...], int | None]:
    """Unwrap a call's arguments.

    Returns the bare arguments and the number of steps, `None` for a single step. An argument
    without a wrapper beside `MultiStepData` is held constant over the window.

    Raises:
      InvalidArgument: two `MultiStepData` of different lengths, or one of no step.
    """
    lengths = {
        leaf.shape[0]
        for a in args
        if isinstance(a, MultiStepData)
        for leaf in jax.tree.leaves(a.data)
    }
    if not lengths:
        return tuple(a.data if isinstance(a, SingleStepData) else a for a in args), None
    if len(lengths) > 1 or 0 in lengths:
        raise InvalidArgument(
            "MultiStepData of one common length of at least one step",
            f"lengths {sorted(lengths)}",
            "Cut or pad the sequences so that their leading axes agree.",
        )
    (n_steps,) = lengths

    def expand(a: Any) -> Any:
        if isinstance(a, MultiStepData):
            return a.data
        a = a.data if isinstance(a, SingleStepData) else a
        return jax.tree.map(
            lambda leaf: jax.numpy.broadcast_to(leaf, (n_steps, *jax.numpy.shape(leaf))), a
        )

    return tuple(expand(a) for a in args), n_steps
