"""A step written as products has the step's own values and derivatives, and products in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import brainevent
import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from core.equations.program import evaluate, flatten_jaxpr, read
from core.lowering import is_product, lowered


def draw(*shape: int) -> Any:
    return np.random.default_rng(shape).normal(size=shape)


X, W, TABLE = draw(2, 3), draw(3, 4), draw(5, 4)
IMAGE, KERNEL = draw(2, 5, 4, 2), draw(3, 2, 2, 3)
STORED = np.where(np.random.default_rng(3).random((3, 4)) < 0.6, 0.7, 0.0)
ENTRIES = draw(np.count_nonzero(STORED))
AT = np.array([0, 4, -1, 7])


def convolved(**options: Any) -> Any:
    strides = options.pop("strides", (1, 1))
    numbers = ("NHWC", "HWIO", "NHWC")
    return lambda x, w: lax.conv_general_dilated(
        x,
        w,
        strides,
        options.get("padding", "SAME"),
        dimension_numbers=numbers,
        **{k: v for k, v in options.items() if k != "padding"},
    )


@pytest.fixture(autouse=True)
def without_numba() -> Iterator[None]:
    """Which brainevent would compile with."""
    before = brainevent.config.get_backend("cpu")
    brainevent.config.set_backend("cpu", "jax_raw")
    yield
    brainevent.config.set_backend("cpu", before)


def stored(kind: Any) -> Any:
    def f(x: Any, w: Any) -> Any:
        with jax.ensure_compile_time_eval():
            matrix = kind.fromdense(jnp.asarray(STORED))
        return x @ matrix.with_data(w)

    return f


def infinite(x: Any, w: Any) -> Any:
    """The other branch has neither values nor derivatives at these numbers."""
    return lax.cond(
        x.sum() > -1e9, lambda x: jnp.tanh(x @ w), lambda x: jnp.log((x - 1e3) @ w) / 0.0, x
    )


def fixed_number(x: Any, w: Any) -> Any:
    at = np.array([[0, 1], [3, 3], [2, 0]])
    return brainevent.BinaryArray(x) @ brainevent.FixedNumPerPre((w, at), shape=(3, 4))


CASES: dict[str, tuple[Any, Any, Any]] = {
    "lookup": (lambda at, w: w[at], AT[:3], TABLE),
    "lookup, NaN outside": (lambda at, w: w.at[at].get(mode="fill"), AT, TABLE),
    "lookup, clipped": (lambda at, w: w.at[at].get(mode="clip"), AT, TABLE),
    "lookup of columns": (lambda at, w: jnp.take(w, at[:3], axis=1), AT, TABLE),
    "lookup of many": (lambda at, w: w[at.reshape(3, 1)], AT[:3], TABLE),
    "one row": (lambda at, w: w[at[1]], AT, TABLE),
    "one row, clamped": (lambda at, w: lax.dynamic_index_in_dim(w, at[3]), AT, TABLE),
    "embedding": (
        lambda at, w: brainstate.nn._embedding._embedding_lookup_fn(1, False)(w, at),
        np.array([0, 1, 1, 4]),
        TABLE,
    ),
    "convolution": (convolved(), IMAGE, KERNEL),
    "strides": (convolved(strides=(2, 3), padding="VALID"), IMAGE, KERNEL),
    "dilation": (
        convolved(rhs_dilation=(2, 1), lhs_dilation=(1, 2), padding=((1, 1), (0, 2))),
        IMAGE,
        KERNEL,
    ),
    "padding": (convolved(padding=((2, -1), (0, 3))), IMAGE, KERNEL),
    "channels in groups": (convolved(feature_group_count=2), IMAGE, draw(3, 2, 1, 4)),
    "channels first": (
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME"),
        draw(2, 2, 5, 4),
        draw(3, 2, 3, 2),
    ),
    "transposed": (lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME"), IMAGE, KERNEL),
    "weight first": (lambda x, w: jnp.einsum("ih,bi->hb", w, x), X, W),
    "transposed weight": (lambda x, w: jnp.einsum("bi,hi->bh", x, w), X, draw(4, 3)),
    "several axes": (
        lambda x, w: jnp.einsum("abij,jkil->abkl", x, w),
        draw(2, 3, 4, 5),
        draw(5, 2, 4, 3),
    ),
    "a weight that is a vector": (lambda x, w: x @ w, X, draw(3)),
    "outer product": (lambda x, w: lax.dot_general(x, w, (((), ()), ((), ()))), X, draw(4)),
    "heads": (lambda x, w: jnp.einsum("bgi,gio->bgo", x, w), draw(2, 3, 4), draw(3, 4, 2)),
    "heads, weight first": (
        lambda x, w: jnp.einsum("goi,bgi->gbo", w, x),
        draw(2, 3, 4),
        draw(3, 2, 4),
    ),
    "two axes of heads": (
        lambda x, w: jnp.einsum("bghi,hgio->bhgo", x, w),
        draw(2, 3, 2, 4),
        draw(2, 3, 4, 2),
    ),
    "loop": (lambda x, w: lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ w) + i, x), X, draw(3, 3)),
    "scan backwards": (
        lambda x, w: lax.scan(
            lambda h, a: (jnp.tanh(h + a @ w), h), x, draw(4, 2, 3) * x, reverse=True
        ),
        X,
        draw(3, 3),
    ),
    "branches": (
        lambda x, w: lax.cond(x.sum() > 0, lambda x: x @ w, lambda x: jnp.sin(x @ (2 * w)), x),
        X,
        W,
    ),
    "switch": (
        lambda x, w: (
            lax.switch(
                1, [lambda x: x @ w, lambda x: w[0] + (x @ w) @ w.T @ w, lambda x: 0 * (x @ w)], x
            )
            + 0 * x.sum()
        ),
        X,
        W,
    ),
    "a branch in a branch, by a counter": (
        lambda x, w: lax.fori_loop(
            0,
            3,
            lambda i, h: lax.cond(
                i % 2 == 0,
                lambda h: lax.cond(i > 1, lambda h: h + x @ w, lambda h: jnp.sin(h @ w), h),
                lambda h: jnp.tanh(h @ w),
                h,
            ),
            x,
        ),
        X,
        draw(3, 3),
    ),
    "branches, infinite": (infinite, X, W),
    "CSR": (stored(u.sparse.CSR), X, ENTRIES),
    "CSC": (stored(u.sparse.CSC), X, ENTRIES),
    "COO": (stored(u.sparse.COO), X, ENTRIES),
    "CSR of brainevent": (stored(brainevent.CSR), X, ENTRIES),
    "events": (lambda x, w: brainevent.BinaryArray(x) @ w, 1.0 * (X > 0), W),
    "events of a fixed number": (fixed_number, 1.0 * (X > 0), draw(3, 2)),
}

# brainunit 0.5.2 transposes these products wrongly: their entries come in another order.
OTHERS_ARE_WRONG = ("CSR", "CSC", "COO")


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_are_the_equations_own(name: str) -> None:
    f, x, w = CASES[name]
    x, w = jnp.asarray(x), jnp.asarray(w)
    original = flatten_jaxpr(jax.make_jaxpr(f)(x, w))
    program, data = lowered(original, original.inputs[:1])
    products = [e for e in program.equations if is_product(e, data, program.avals)]
    assert products, [e.name for e in program.equations]

    def g(x: Any, w: Any) -> Any:
        env = {**program.constants, **dict(zip(program.inputs, (x, w), strict=True))}
        env = evaluate(program.equations, env)
        return [read(env, a) for a in program.outputs]

    moved = (0, 1) if jnp.issubdtype(x.dtype, jnp.inexact) else 1

    def of(f: Any) -> tuple[Any, Any]:
        """Derivatives along one direction, and values."""

        def total(x: Any, w: Any) -> Any:
            outs = jax.tree.leaves(f(x, w))
            return sum((jnp.nan_to_num(a) * draw(*a.shape)).sum() for a in outs), outs

        slopes, outs = jax.jit(jax.grad(total, moved, has_aux=True))(x, w)
        return jax.tree.leaves(slopes), outs

    if name in OTHERS_ARE_WRONG:
        dense = lambda x, w: x @ jnp.zeros((3, 4)).at[np.nonzero(STORED)].set(w)  # noqa: E731
        f = dense if name != "CSC" else lambda x, w: dense(x, w[np.argsort(by_columns())])
    (slopes, outs), (wanted_slopes, wanted) = of(g), of(f)
    for a, b in zip(outs, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    for a, b in zip(slopes, wanted_slopes, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def by_columns() -> Any:
    """The entries of STORED, numbered row by row, in the order of its columns."""
    rows, columns = np.nonzero(STORED)
    return np.lexsort((rows, columns))


LEFT: dict[str, tuple[Any, Any, Any]] = {
    "long loop": (lambda x, w: lax.fori_loop(0, 65, lambda i, h: h @ w, x), X, draw(3, 3)),
    "loop that data ends": (
        lambda x, w: lax.while_loop(lambda h: h.sum() < 9, lambda h: h @ w, x),
        X,
        draw(3, 3),
    ),
    "root of a weight in a branch": (
        lambda x, w: lax.cond(x.sum() > 0, lambda x: x @ jnp.sqrt(w), lambda x: x @ w, x),
        X,
        W,
    ),
    "rows of data": (lambda x, w: (x @ w)[x.argmax(0)], X, W),
    "places in two axes": (lambda at, w: w[at, at], AT, TABLE),
    "a constant kernel": (lambda x, w: convolved()(x, KERNEL), IMAGE, W),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_sure_is_left_as_it_is(name: str) -> None:
    f, x, w = LEFT[name]
    original = flatten_jaxpr(jax.make_jaxpr(f)(x, w))
    program, _ = lowered(original, original.inputs[:1])
    kept = [e.name for e in original.equations if e.name != "dot_general"]
    assert [e.name for e in program.equations if e.name != "dot_general"] == kept
