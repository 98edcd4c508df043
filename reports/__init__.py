"""Tables, plots and verdicts from record files; reads nothing else."""

import importlib.util
import warnings
from pathlib import Path

from reports.errors import InputError
from reports.records.table import load

__all__ = ["InputError", "load"]

_CORE = importlib.util.find_spec("core")  # looks, and runs nothing
_BESIDE = Path(__file__).resolve().parents[1]
if _CORE is not None and _CORE.origin and Path(_CORE.origin).resolve().parents[1] != _BESIDE:
    # Reports need no core; who imports both in a notebook should know which one it is.
    warnings.warn(
        f"`import core` means {_CORE.origin} here, not etrace-bench's, in {_BESIDE}.", stacklevel=2
    )
