"""Planted counts of operations: right through scans of any length, jit and branches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from bench.cell.operations import Work, work_of


def counted(fun: object, *arguments: jax.Array) -> Work:
    return work_of(jax.make_jaxpr(fun)(*arguments))


@pytest.mark.parametrize("n_steps", [1, 7, 1000])
def test_products_in_a_scan(n_steps: int) -> None:
    w = jnp.ones((5, 5))

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
        return h @ w + x, None

    work = counted(lambda xs: jax.lax.scan(step, jnp.zeros((3, 5)), xs), jnp.ones((n_steps, 3, 5)))
    assert work.product_flops == n_steps * 2 * 3 * 5 * 5
    assert work.flops == n_steps * (2 * 3 * 5 * 5 + 3 * 5)
    assert work.bytes == n_steps * 4 * (15 + 25 + 15)


def test_scans_in_scans_and_jit_and_checkpoint() -> None:
    inner = jax.jit(jax.checkpoint(lambda h: jnp.tanh(h * 2)))

    def outer(h: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jax.lax.scan(lambda g, _: (inner(g), None), h, None, length=3)[0], None

    work = counted(lambda h: jax.lax.scan(outer, h, None, length=4), jnp.ones(10))
    assert work.flops == 4 * 3 * (10 + 10)


def test_batched_products_and_reductions() -> None:
    work = counted(
        lambda a, b: jnp.einsum("bik,bkj->bij", a, b).sum(),
        jnp.ones((2, 3, 4)),
        jnp.ones((2, 4, 5)),
    )
    assert work.product_flops == 2 * (2 * 3 * 4 * 5)
    assert work.flops == work.product_flops + 2 * 3 * 5


def test_convolution() -> None:
    image, kernel = jnp.ones((1, 3, 8, 8)), jnp.ones((4, 3, 3, 3))
    work = counted(lambda a, k: jax.lax.conv(a, k, (1, 1), "VALID"), image, kernel)
    assert work.product_flops == 2 * (4 * 6 * 6) * (3 * 3 * 3)


def test_the_costlier_branch_counts() -> None:
    work = counted(
        lambda p, a: jax.lax.cond(p, lambda a: a @ a, lambda a: a + 1, a),
        jnp.array(True),
        jnp.ones((4, 4)),
    )
    assert work.product_flops == 2 * 4**3


def test_the_body_of_a_loop_of_unknown_length_counts_once() -> None:
    work = counted(
        lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), jnp.ones(3)
    )
    assert work.flops == 3 + 3


def test_the_gradient_of_a_product_is_two_more_products() -> None:
    loss = lambda w, x: jnp.sum(x @ w)  # noqa: E731
    work = counted(jax.grad(loss, argnums=(0, 1)), jnp.ones((6, 7)), jnp.ones((5, 6)))
    assert work.product_flops == 2 * (2 * 5 * 6 * 7)
