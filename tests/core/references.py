"""Gradients by other means than the core's: brainstate's loop, and JAX on models by hand.

A hand-written model is a function

    step(p, h, x, rec, below) -> (h_new, out)

of parameters `p` (name -> array), hidden states `h` (name -> [B, H]) and input x [B, I]. It marks
the places where D-RTRL cuts: `rec` goes around the *previous* states of an operation's own group,
and of groups downstream of it, where they enter its operand; `below` goes around the whole operand
of every operation that feeds a state. With both the identity the model is the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.flatten_util
import numpy as np
from jax import lax

Step = Callable[..., Any]


def live(value: Any) -> Any:
    """Differentiable: no cut."""
    return value


def squared_error(out: Any, target: Any) -> Any:
    """A smooth loss of one step, summed over samples and outputs."""
    return ((out - target) ** 2).sum()


def bptt(
    step: Step, p: Mapping[str, Any], h: Any, xs: Any, ys: Any, loss: Any = squared_error
) -> Any:
    """Gradient and losses [T] of the plain unrolled sequence."""

    def total(p: Any) -> Any:
        def tick(h: Any, inputs: Any) -> Any:
            h, out = step(p, h, inputs[0], live, live)
            return h, loss(out, inputs[1])

        _, losses = lax.scan(tick, h, (xs, ys))
        return losses.sum(), losses

    return jax.grad(total, has_aux=True)(dict(p))


def cut_bptt(
    step: Step, p: Mapping[str, Any], h: Any, xs: Any, ys: Any, loss: Any = squared_error
) -> Any:
    """D-RTRL's gradient: the same scan with its two cuts.

    Outputs see the own group's previous states as constants inside operands; the state that goes
    on to the next step sees every operand as a constant.
    """

    def total(p: Any) -> Any:
        def tick(h: Any, inputs: Any) -> Any:
            _, out = step(p, h, inputs[0], lax.stop_gradient, live)
            h, _ = step(p, h, inputs[0], lax.stop_gradient, lax.stop_gradient)
            return h, loss(out, inputs[1])

        _, losses = lax.scan(tick, h, (xs, ys))
        return losses.sum(), losses

    return jax.grad(total, has_aux=True)(dict(p))


def credit_in_windows(
    step: Step, p: Mapping[str, Any], h: Any, xs: Any, ys: Any, k: int
) -> tuple[Any, Any]:
    """BPTT inside windows of k steps, from dh_0 = M dp with D-RTRL's M, of all states; and without.

    M_t = D_t M_{t-1} + f_t x_t, dense: the derivative of a step whose operands are constants.
    """
    flat, unravel = jax.flatten_util.ravel_pytree(dict(p))
    h, unravel_h = jax.flatten_util.ravel_pytree(h)

    def window(flat: Any, h: Any, xs: Any, ys: Any) -> Any:
        def tick(h: Any, inputs: Any) -> Any:
            h, out = step(unravel(flat), h, inputs[0], live, live)
            return h, squared_error(out, inputs[1])

        return lax.scan(tick, unravel_h(h), (xs, ys))[1].sum()

    def carried(flat: Any, h: Any, x: Any) -> Any:
        new = step(unravel(flat), unravel_h(h), x, lax.stop_gradient, lax.stop_gradient)[0]
        new = jax.flatten_util.ravel_pytree(new)[0]
        return new, new

    of_window = jax.jit(jax.grad(window, (0, 1)))
    of_step = jax.jit(jax.jacfwd(carried, (1, 0), has_aux=True))
    influence, inside, carried_in = np.zeros((h.size, flat.size)), 0.0, 0.0
    for start in range(0, len(xs), k):
        d_flat, d_h = of_window(flat, h, xs[start : start + k], ys[start : start + k])
        inside, carried_in = inside + d_flat, carried_in + d_h @ influence
        for x in xs[start : start + k]:
            (moved, entered), h = of_step(flat, h, x)
            influence = moved @ influence + entered
    return unravel(inside + carried_in), unravel(inside)


def within_step(step: Step, p: Mapping[str, Any], h: Any, xs: Any, ys: Any) -> Any:
    """The gradient when nothing at all passes from step to step."""

    def total(p: Any) -> Any:
        def tick(h: Any, inputs: Any) -> Any:
            h, out = step(p, lax.stop_gradient(h), inputs[0], live, live)
            return h, squared_error(out, inputs[1])

        return lax.scan(tick, h, (xs, ys))[1].sum()

    return jax.grad(total)(dict(p))


def own_loop(model: Any, loss: Callable[..., Any], data: Any, weight: Any = 1.0) -> Any:
    """Gradients by name and losses [T] of brainstate's own loop over data.xs and data.ys."""

    def step(i: Any, x: Any, y: Any) -> Any:
        with brainstate.environ.context(i=i, t=i * brainstate.environ.get_dt()):
            return loss(model(x), y)

    def total() -> Any:
        brainstate.nn.init_all_states(model, batch_size=data.xs.shape[1])
        losses = brainstate.transform.for_loop(step, np.arange(len(data.xs)), *data)
        return (weight * losses).sum(), losses

    weights = model.states(brainstate.ParamState)
    grad = brainstate.transform.grad(total, weights, has_aux=True, check_states=False)
    grads, losses = grad()
    return named(grads), losses


def central_differences(
    f: Callable[[Mapping[str, Any]], Any], p: Mapping[str, Any], step: float = 1e-5
) -> dict[str, np.ndarray]:
    """df/dp by central differences, one number of `p` at a time."""
    evaluate = jax.jit(jax.vmap(f))
    shapes = {k: np.shape(v) for k, v in p.items()}
    flat = np.concatenate([np.ravel(v) for v in p.values()])

    def unravel(points: np.ndarray) -> dict[str, np.ndarray]:
        found, start = {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            found[name] = points[:, start : start + size].reshape(-1, *shape)
            start += size
        return found

    moves = step * np.eye(flat.size)
    slopes = (evaluate(unravel(flat + moves)) - evaluate(unravel(flat - moves))) / (2 * step)
    return {name: v[0] for name, v in unravel(np.asarray(slopes)[None]).items()}


def named(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """`model.states(ParamState)`, its values or its gradients -> {"cell.W.weight.bias": array}."""
    found = {}
    for path, value in tree.items():
        value = getattr(value, "value", value)
        leaves = jax.tree.leaves_with_path(value, is_leaf=lambda v: isinstance(v, u.Quantity))
        for key, leaf in leaves:
            found[".".join([*map(str, path), *(str(k.key) for k in key)])] = u.get_magnitude(leaf)
    return found


def relative_error(got: Any, wanted: Any) -> float:
    """Norm of the difference over the norm of what is wanted (absolute where that is zero)."""
    got, wanted = (np.asarray(v, float).ravel() for v in (got, wanted))
    assert got.shape == wanted.shape
    return float(np.linalg.norm(got - wanted) / (np.linalg.norm(wanted) or 1.0))


def errors(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, float]:
    """Relative error of every array; both have the same names."""
    assert got.keys() == wanted.keys()
    assert got
    return {name: relative_error(got[name], wanted[name]) for name in wanted}


def assert_close(
    got: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float = 1e-12
) -> None:
    """Every array agrees, and none of those wanted is zero (a test of nothing)."""
    assert all(np.abs(np.asarray(v)).max() > 0 for v in wanted.values())
    wrong = {n: e for n, e in errors(got, wanted).items() if not e <= tolerance}
    assert not wrong, f"relative errors above {tolerance}: {wrong}"
