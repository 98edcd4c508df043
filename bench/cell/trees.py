"""Trees of arrays that may carry units, by readable names."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np


def flat(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree by a dotted path, copied to the host, units left out."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_has_unit)
    return {_name(path): np.array(u.get_magnitude(leaf)) for path, leaf in leaves}


def owned(tree: Any) -> Any:
    """A copy of a tree in buffers of the device's own.

    On a CPU an array made from NumPy may share NumPy's memory. Such a buffer cannot be donated: a
    program would copy it, and hold twice what it needs.
    """
    return jax.tree.map(lambda leaf: jnp.copy(jnp.asarray(leaf)), tree)


def norm(tree: Any) -> jax.Array:
    """Euclidean norm of all arrays of a tree together, units left out; can be traced."""
    leaves = [u.get_magnitude(leaf) for leaf in jax.tree.leaves(tree, is_leaf=_has_unit)]
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in leaves))


def _has_unit(leaf: Any) -> bool:
    return isinstance(leaf, u.Quantity)


def _name(path: tuple[Any, ...]) -> str:
    parts: list[str] = []
    for entry in path:
        key = getattr(entry, "key", getattr(entry, "idx", entry))
        parts += [str(k) for k in key] if isinstance(key, tuple) else [str(key)]
    return ".".join(parts)
