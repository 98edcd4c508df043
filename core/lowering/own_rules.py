"""Functions with a derivative rule of their own that hold a weight (a lookup with padding): their
value as it is, with the derivative that the rule says spelled out."""

from __future__ import annotations

from typing import Any

import jax
from jax import lax

from core.equations.differential import is_real, tangent
from core.equations.program import bind, traced
from core.lowering.lowered import lowered
from core.lowering.site import Rewritten, Site, is_product, rule


@rule("custom_jvp_call", "custom_vjp_call")
def spelled_out(site: Site) -> Rewritten | None:
    eqn = site.eqn
    if not any(site.is_weight(i) and len(site.shape(i)) > 1 for i in range(len(eqn.inputs))):
        return None
    along = tangent(eqn, site.avals)
    if along is None:  # not linear
        return None
    program = traced(along, eqn, site.avals)
    variables = zip(program.inputs, dict.fromkeys(eqn.variables), strict=True)
    written, reached = lowered(program, [own for own, v in variables if v in site.data])
    if not any(is_product(e, reached, written.avals) for e in written.equations):
        return None

    def spelled(*operands: Any) -> list[Any]:
        linear = iter(along(*operands))
        found = []
        values = bind(eqn, [lax.stop_gradient(a) for a in operands])
        for value, v in zip(values, eqn.outputs, strict=True):
            if is_real(site.avals[v]):
                moved = next(linear)
                value = moved + lax.stop_gradient(value - moved)
            found.append(jax.numpy.asarray(value))
        return found

    return spelled
