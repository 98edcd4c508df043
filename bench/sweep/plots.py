"""Plots that a sweep asks its report for: modules by name, in the project or in a user's folder."""

from __future__ import annotations

import importlib.util
from typing import Any

from bench.config import Config
from bench.errors import BadInput


def checked(value: Any) -> dict[str, dict[str, str]]:
    """The rule of ``plot``: every entry names a module that can be found.

    It is not imported here: drawing needs libraries that no cell does.

    Raises:
        BadInput: for the first that is not a module.
    """
    if value in (None, []):
        return {}
    if not isinstance(value, dict):
        # Without any folder plot Hydra takes the names for a value.
        raise BadInput(
            "plot",
            "names of YAML files in a folder plot of your own",
            ", ".join(map(str, value)) if isinstance(value, list) else str(value),
            "Give the folder around it as --config-dir. What the report draws by "
            "itself need not be asked for.",
        )
    for name, node in value.items():
        target = node.get("_target_") if isinstance(node, dict) else None
        if not isinstance(target, str) or set(node) != {"_target_"} or not _found(target):
            raise BadInput(
                f"plot.{name}",
                "_target_: MODULE, one that can be found",
                str(target or node),
                "Is its folder on PYTHONPATH?",
            )
    return value


def modules(config: Config) -> list[str]:
    """The modules that draw the plots of a sweep with this configuration."""
    return [node["_target_"] for node in config.plot.values()]


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
