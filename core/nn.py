"""The layer and neuron names of the tutorials: brainstate's and brainpy.state's own parts.

Nothing here is special to the core, which finds operations in any model by itself: `core.nn.Linear`
*is* `brainstate.nn.Linear`. A part is imported when it is first asked for, because brainpy.state
starts the JAX backend on import.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "brainstate.nn": """
        Linear ScaledWSLinear SignedWLinear SparseLinear LoRA
        ValinaRNNCell GRUCell MGUCell LSTMCell URLSTMCell
    """,
    "brainpy.state": """
        IF LIF ALIF LeakyRateReadout Expon DualExpon Alpha COBA CUBA
        DeltaProj CurrentProj AlignPostProj
    """,
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(
            f"module 'core.nn' has no attribute {name!r}; it has {', '.join(sorted(_HOME_OF))}. "
            "Any other module of brainstate or brainpy.state works as it is."
        )
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
