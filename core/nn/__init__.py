"""The layer and neuron names of the tutorials and of BrainTrace.

Nothing here is special to the core, which finds operations in any model by itself: `core.nn.Linear`
*is* `brainstate.nn.Linear`, and every other name of brainstate.nn is here as well. Recurrent cells
also take BrainTrace's `in_size=` and `out_size=`; what brainstate lacks is in `core.nn.layers`. A
part is imported when it is first asked for, because brainpy.state starts the JAX backend on import.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

_HOMES = {
    "core.nn.layers": """
        CFNCell FeedbackLinear GroupedLinear LRUCell LoRA MiniGRU MiniLSTM MinimalRNNCell
    """,
    "brainstate.nn": """
        Linear ScaledWSLinear SignedWLinear SparseLinear Embedding Conv1d Conv2d Conv3d
        ValinaRNNCell GRUCell MGUCell LSTMCell URLSTMCell
    """,
    "brainpy.state": """
        IF LIF ALIF LeakyRateReadout Expon DualExpon Alpha COBA CUBA STP STD
        DeltaProj CurrentProj AlignPostProj
    """,
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_CELLS = ("ValinaRNNCell", "GRUCell", "MGUCell", "LSTMCell", "URLSTMCell")


@functools.cache
def __getattr__(name: str) -> Any:
    part = getattr(importlib.import_module(_HOME_OF.get(name, "brainstate.nn")), name, None)
    if part is None or name.startswith("_"):
        raise AttributeError(
            f"module 'core.nn' has no attribute {name!r}; it has {', '.join(sorted(_HOME_OF))}. "
            "Any other module of brainstate or brainpy.state works as it is."
        )
    return _sized(part) if name in _CELLS else part


def _sized(cell: Any) -> Any:
    """The same cell, which takes in_size and out_size as well."""

    def init(
        self: Any, *args: Any, in_size: Any = None, out_size: Any = None, **options: Any
    ) -> None:
        sizes = {"num_in": in_size, "num_out": out_size}
        given = {k: s if isinstance(s, int) else s[-1] for k, s in sizes.items() if s is not None}
        cell.__init__(self, *args, **given, **options)

    return type(cell.__name__, (cell,), {"__init__": init, "__module__": __name__})


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
