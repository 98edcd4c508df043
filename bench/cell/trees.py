"""Trees of arrays that may carry units, by readable names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np


def flat(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by a dotted path, copied to the host, units left out."""
    leaves = jax.tree_util.tree_leaves_with_path(
        tree, is_leaf=lambda leaf: isinstance(leaf, u.Quantity)
    )
    return {_name(path): np.array(u.get_magnitude(leaf)) for path, leaf in leaves}


def filled(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The tree with the values of ``arrays``, which are named as ``flat`` names them; units stay.

    Raises:
        ValueError: when names or shapes differ.
    """
    shapes = {name: value.shape for name, value in flat(tree).items()}
    came = {name: value.shape for name, value in arrays.items()}
    if came != shapes:
        raise ValueError(f"weights: expected the shapes {shapes}, got {came}.")
    leaves, structure = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda leaf: isinstance(leaf, u.Quantity)
    )
    # A quantity is a tree of one array.
    new = [
        jax.tree.unflatten(jax.tree.structure(leaf), [jnp.asarray(arrays[_name(path)])])
        for path, leaf in leaves
    ]
    return jax.tree.unflatten(structure, new)


def owned(tree: Any) -> Any:
    """A copy of a tree in buffers of the device's own.

    On a CPU an array made from NumPy may share NumPy's memory. Such a buffer cannot be donated: a
    program would copy it, and hold twice what it needs.
    """
    return jax.tree.map(lambda leaf: jnp.copy(jnp.asarray(leaf)), tree)


def norm(tree: Any) -> jax.Array:
    """Euclidean norm of all arrays of a tree together, units left out; can be traced."""
    leaves = [
        u.get_magnitude(leaf)
        for leaf in jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, u.Quantity))
    ]
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in leaves))


def _name(path: tuple[Any, ...]) -> str:
    parts: list[str] = []
    for entry in path:
        key = getattr(entry, "key", getattr(entry, "idx", entry))
        parts += [str(k) for k in key] if isinstance(key, tuple) else [str(key)]
    return ".".join(parts)
