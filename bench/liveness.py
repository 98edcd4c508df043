"""Memory of a program predicted from shapes: the most bytes that are alive at once in its jaxpr."""

from __future__ import annotations

import math
from typing import Any

import jax.extend.core as jex


def peak_bytes(jaxpr: Any) -> int:
    """Bytes of arguments and of the values alive at the worst moment of one execution.

    Values die after their last use. Fusion, which keeps element-wise intermediates out of memory,
    and reuse of buffers in place are not seen: the prediction errs to the large side.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    arguments = sum(_bytes(v) for v in [*inner.invars, *inner.constvars])
    return arguments + _peak(inner)


def _peak(jaxpr: Any) -> int:
    """The most bytes alive at once beside arguments and constants."""
    last_use = {v: i for i, equation in enumerate(jaxpr.eqns) for v in equation.invars
                if not isinstance(v, jex.Literal)}
    kept = {v for v in jaxpr.outvars if not isinstance(v, jex.Literal)}
    owned: dict[Any, int] = {}
    alive = worst = 0
    for i, equation in enumerate(jaxpr.eqns):
        made = {v: _bytes(v) for v in equation.outvars}
        alive += sum(made.values())
        owned |= made
        worst = max(worst, alive + _inside(equation))
        for v in {v for v in equation.invars if not isinstance(v, jex.Literal)}:
            if v in owned and last_use[v] == i and v not in kept:
                alive -= owned.pop(v)
    return worst


def _inside(equation: Any) -> int:
    """Bytes that an equation's own body needs beside its operands and results."""
    bodies = [item for value in equation.params.values()
              for item in (value if isinstance(value, tuple | list) else (value,))
              if isinstance(item, jex.ClosedJaxpr | jex.Jaxpr)]
    return max((_peak(getattr(body, "jaxpr", body)) for body in bodies), default=0)


def _bytes(variable: Any) -> int:
    aval = variable.aval
    return math.prod(getattr(aval, "shape", ())) * getattr(
        getattr(aval, "dtype", None), "itemsize", 0)
