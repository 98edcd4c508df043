"""What a step may read from `brainstate.environ`: the clock, and settings.

The *clock* is `i`, the number of the step, and `t`, its time. Both are inputs of a step: they
advance with the steps, by one and by `dt`, from what the environment says, or else from zero.
All else that it holds (`fit`, `dt`, ...) is a *setting* and belongs to what was compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from core.errors import InvalidArgument

CLOCK = ("i", "t")


def settings_now() -> dict[Any, Any]:
    """What the environment holds beside the clock."""
    return {key: value for key, value in brainstate.environ.all().items() if key not in CLOCK}


def settings_are(then: Mapping[Any, Any]) -> bool:
    """Whether the settings are still these."""
    now = settings_now()
    return now.keys() == then.keys() and all(_same(then[key], now[key]) for key in then)


def _same(a: Any, b: Any) -> bool:
    """Whether two values of a key are one; what is being traced is only itself."""
    if a is b:
        return True
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((a, b))):
        return False
    try:
        return bool(np.all(a == b))
    except Exception:  # of whatever kind: they cannot even be compared
        return False


def given_clock() -> dict[str, Any]:
    """`i` and `t` as the environment has them, if it does."""
    held = brainstate.environ.all()
    return {key: held[key] for key in CLOCK if key in held}


def clock_now() -> dict[str, Any]:
    """The environment's `i` and `t`; zero where it has none. Without `dt`, no time."""
    dt = brainstate.environ.get("dt", None)
    zero = {"i": 0} if dt is None else {"i": 0, "t": 0.0 * dt}
    return {**zero, **given_clock()}


def clock_over(start: Mapping[str, Any], n_steps: int) -> dict[str, Any]:
    """`i` and `t` of the steps 0 to `n_steps`, [n_steps + 1, ...]: the last is the next call's."""
    rate = {"i": 1}
    if "t" in start:
        rate["t"] = brainstate.environ.get("dt", None)
        if rate["t"] is None:
            raise InvalidArgument(
                "brainstate.environ to hold dt, as the model reads the time t",
                "none",
                "Set it, for example brainstate.environ.set(dt=1.0 * brainunit.ms).",
            )

    def steps(value: Any) -> Any:
        return jnp.arange(n_steps + 1).reshape(-1, *(1 for _ in jnp.shape(value)))

    return {k: v + steps(jax.tree.leaves(v)[0]) * rate[k] for k, v in start.items()}
