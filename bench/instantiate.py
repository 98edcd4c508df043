"""Builds the object that a ``_target_`` names, without Hydra, inside a cell's process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any


def instantiate(node: Mapping[str, Any], *args: Any, **given: Any) -> Any:
    """Calls the target of a configuration node with its scalars.

    Args:
        node: ``{"_target_": "package.module.Name", ...}``; the other entries are keyword arguments.
        args: positional arguments.
        given: further keyword arguments.
    """
    # A pair of numbers in YAML is a list; constructors take tuples.
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in node.items() if k != "_target_"}
    return target_of(node)(*args, **plain, **given)


def target_of(node: Mapping[str, Any]) -> Any:
    """What the ``_target_`` of a configuration node names."""
    module, _, name = str(node["_target_"]).rpartition(".")
    return getattr(importlib.import_module(module), name)
