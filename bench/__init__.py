"""Runs benchmark cells, each in a fresh process, and records what was measured."""

import importlib.util
from pathlib import Path

_CORE = importlib.util.find_spec("core")  # looks, and runs nothing
_BESIDE = Path(__file__).resolve().parents[1]
if _CORE is not None and _CORE.origin and Path(_CORE.origin).resolve().parents[1] != _BESIDE:
    raise ImportError(
        f"expected the package core of etrace-bench, in {_BESIDE}, got {_CORE.origin}, which comes "
        "first on the path. Start from another folder, or take that one out of PYTHONPATH."
    )
