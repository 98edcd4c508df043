"""What a step reads from `brainstate.environ`: the clock, and settings.

The *clock* is `i`, the number of the step, and `t`, its time. Both are inputs of a step: they
advance with the steps, by one and by `dt`, from what the environment says, or else from zero.
All else that a step reads (`fit`, `dt`, ...) is a *setting* and belongs to what was compiled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from core.errors import InvalidArgument

CLOCK = ("i", "t")
MISSING = object()


class _Noting(defaultdict[Any, list[Any]]):
    """The environment's contexts; `note` is told every key that is asked for."""

    def __init__(self, contexts: Mapping[Any, list[Any]], note: Callable[[Any], None]) -> None:
        super().__init__(list, contexts)
        self.note = note

    def __contains__(self, key: object) -> bool:
        self.note(key)
        return super().__contains__(key)

    def items(self) -> Any:
        # All is read, by `environ.all` or by a context that says what holds now.
        for key in (*super().keys(), *brainstate.environ._ENV_STATE.settings):
            self.note(key)
        return super().items()


@contextmanager
def reading() -> Iterator[dict[Any, Any]]:
    """What is read from outside of the block: values by key, `MISSING` where there is none.

    brainstate has no public way to ask; its contexts belong to the thread.
    """
    environment = brainstate.environ._ENV_STATE
    outside = environment.contexts
    thread = getattr(environment, "_local", environment)  # what holds them: brainstate 0.6, before
    depth = {key: len(values) for key, values in outside.items()}
    found: dict[Any, Any] = {}

    def note(key: Any) -> None:
        if len(noting[key] if key in noting.keys() else ()) <= depth.get(key, 0):  # noqa: SIM118
            held = outside[key][-1:] if depth.get(key) else ()
            found[key] = held[0] if held else environment.settings.get(key, MISSING)

    noting = _Noting(outside, note)
    thread.contexts = noting
    try:
        yield found
    finally:
        thread.contexts = outside


def settings_now(keys: Iterable[Any]) -> dict[Any, Any]:
    """What the environment says to each key."""
    return {key: brainstate.environ.get(key, MISSING) for key in keys}


def same(a: Any, b: Any) -> bool:
    """Whether two values of a key are one; what is being traced is only itself."""
    if a is b:
        return True
    if a is MISSING or b is MISSING:
        return False
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((a, b))):
        return False
    try:
        return bool(np.all(a == b))
    except Exception:  # of whatever kind: they cannot even be compared
        return False


def given_clock() -> dict[str, Any]:
    """`i` and `t` as the environment has them, if it does."""
    return {k: v for k, v in settings_now(CLOCK).items() if v is not MISSING}


def clock_now() -> dict[str, Any]:
    """The environment's `i` and `t`; zero where it has none. Without `dt`, no time."""
    given, dt = given_clock(), brainstate.environ.get("dt", MISSING)
    zero = {"i": 0} if dt is MISSING else {"i": 0, "t": 0.0 * dt}
    return {**zero, **given}


def clock_over(start: Mapping[str, Any], n_steps: int) -> dict[str, Any]:
    """`i` and `t` of the steps 0 to `n_steps`, [n_steps + 1, ...]: the last is the next call's."""
    rate = {"i": 1}
    if "t" in start:
        rate["t"] = brainstate.environ.get("dt", MISSING)
        if rate["t"] is MISSING:
            raise InvalidArgument(
                "brainstate.environ to hold dt, as the model reads the time t",
                "none",
                "Set it, for example brainstate.environ.set(dt=1.0 * brainunit.ms).",
            )

    def steps(value: Any) -> Any:
        return jnp.arange(n_steps + 1).reshape(-1, *(1 for _ in jnp.shape(value)))

    return {k: v + steps(jax.tree.leaves(v)[0]) * rate[k] for k, v in start.items()}
