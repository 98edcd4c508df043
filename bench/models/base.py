"""What several models are made of."""

from __future__ import annotations

import brainstate
import braintools
import brainunit as u


def recurrent_linear(n_in: int, n_hidden: int, unit: u.Unit) -> brainstate.nn.Linear:
    """The layer from ``[x, own spikes]`` to the neurons, with weights in ``unit``.

    Each part is scaled by its own fan-in, as if it were a projection of its own.
    """
    init = braintools.init.KaimingNormal(unit=unit)
    weight = u.math.concatenate([init((n_in, n_hidden)), init((n_hidden, n_hidden))], axis=0)
    return brainstate.nn.Linear(n_in + n_hidden, n_hidden, w_init=weight,
                                b_init=braintools.init.ZeroInit(unit=unit))
