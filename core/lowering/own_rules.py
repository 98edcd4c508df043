"""Functions with a derivative rule of their own that hold a weight (a lookup with padding): their
value as it is, with the derivative that the rule says spelled out."""

from __future__ import annotations

from typing import Any

import jax
from jax import lax

from core.equations.differential import is_real, tangent
from core.equations.program import bind, evaluate, read
from core.lowering.lowered import lowered
from core.lowering.site import Rewritten, Site, is_product, rule


@rule("custom_jvp_call", "custom_vjp_call")
def spelled_out(site: Site) -> Rewritten | None:
    eqn = site.eqn
    moves = site.moves()
    if not any(site.is_weight(i) and len(site.shape(i)) > 1 for i in range(len(eqn.inputs))):
        return None
    program = tangent(eqn, site.avals)
    if program is None:  # not linear
        return None
    real = [i for i, a in enumerate(eqn.inputs) if isinstance(a, int) and is_real(site.avals[a])]
    flags = [*moves, *(moves[i] for i in real)]
    data = [v for v, moving in zip(program.inputs, flags, strict=True) if moving]
    written, reached = lowered(program, data)
    if not any(is_product(e, reached, written.avals) for e in written.equations):
        return None

    def spelled(*operands: Any) -> list[Any]:
        stopped = [lax.stop_gradient(a) for a in operands]
        moved = [operands[i] for i in real]
        env = {**program.constants, **dict(zip(program.inputs, [*stopped, *moved], strict=True))}
        evaluate(program.equations, env)
        along = iter([read(env, a) for a in program.outputs])
        found = []
        for value, v in zip(bind(eqn, stopped), eqn.outputs, strict=True):
            if is_real(site.avals[v]):
                linear = next(along)
                value = linear + lax.stop_gradient(value - linear)
            found.append(jax.numpy.asarray(value))
        return found

    return spelled
