"""Bases and Jacobi rotations against NumPy's LAPACK."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.traces.factors import orthogonal_rows, orthonormal_basis
from core.traces.low_rank import truncate

RNG = np.random.default_rng(0)
MATRICES = {
    "wide": RNG.normal(size=(3, 6, 11)),
    "tall": RNG.normal(size=(3, 9, 4)),
    "odd": RNG.normal(size=(2, 7, 7)),
    "one row": RNG.normal(size=(2, 1, 5)),
    "repeated and zero rows": np.repeat(RNG.integers(0, 2, (4, 3, 10)), 3, axis=1) * 1.0,
    "zero": np.zeros((2, 4, 5)),
    "graded": RNG.normal(size=(2, 8, 12)) * 10.0 ** -np.arange(0, 16, 2)[:, None],
    "no lead": RNG.normal(size=(5, 8)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_basis_is_orthonormal_and_spans(name: str) -> None:
    a = MATRICES[name]
    q = np.asarray(jax.jit(orthonormal_basis)(a))
    rank = np.linalg.matrix_rank(a)
    gram = q @ np.swapaxes(q, -1, -2)
    # Rows of zeros aside, the unit matrix.
    np.testing.assert_allclose(gram, np.round(gram), atol=1e-14)
    assert np.array_equal(np.round(np.trace(gram, axis1=-2, axis2=-1)), rank)
    np.testing.assert_allclose(a @ np.swapaxes(q, -1, -2) @ q, a, atol=1e-13)


@pytest.mark.parametrize("name", MATRICES)
def test_rows_become_orthogonal_with_the_singular_values_as_norms(name: str) -> None:
    a = MATRICES[name]
    w = np.asarray(jax.jit(orthogonal_rows)(a))
    gram = w @ np.swapaxes(w, -1, -2)
    eye = np.eye(a.shape[-2])
    np.testing.assert_allclose(gram * (1 - eye), 0, atol=1e-13)
    # W = G a with G orthogonal.
    np.testing.assert_allclose(
        np.swapaxes(w, -1, -2) @ w, np.swapaxes(a, -1, -2) @ a, atol=1e-13, rtol=1e-12
    )
    found = -np.sort(-np.linalg.norm(w, axis=-1), axis=-1)
    truth = np.linalg.svd(a, compute_uv=False)
    m = truth.shape[-1]
    np.testing.assert_allclose(found[..., :m], truth, atol=1e-13, rtol=1e-12)
    assert np.all(found[..., m:] < 1e-13)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_truncation_is_the_best_approximation(rank: int) -> None:
    u, v = RNG.normal(size=(3, 12, 10)), RNG.normal(size=(3, 12, 20))
    u[:, 4:6] = 0
    v[:, 7] = v[:, 8]
    short_u, short_v = map(np.asarray, jax.jit(truncate, static_argnums=2)(u, v, rank))
    assert short_u.shape[-2] == short_v.shape[-2] == rank
    left, sigma, right = np.linalg.svd(np.swapaxes(u, -1, -2) @ v, full_matrices=False)
    best = (left[..., :rank] * sigma[..., None, :rank]) @ right[..., :rank, :]
    np.testing.assert_allclose(np.swapaxes(short_u, -1, -2) @ short_v, best, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_rows_alike_but_for_rounding_and_of_any_size(rank: int, dtype: type) -> None:
    """Nothing is lost where the rank allows it: also where squares would be below the least float.

    Most rows are combinations of others, so that some are all rounding once they are orthogonal.
    """
    rng = np.random.default_rng(rank)
    u = (rng.random((200, 12, 10)) < 0.4).astype(dtype)
    v = rng.normal(size=(200, 12, rank)) @ rng.normal(size=(200, rank, 20))
    for spread in (0.0, 1.0, 10.0, 30.0):
        v = (v * 10.0 ** -rng.uniform(0, spread, (200, 12, 1))).astype(dtype)
        product = np.swapaxes(u, -1, -2) @ v
        short_u, short_v = map(np.asarray, jax.jit(truncate, static_argnums=2)(u, v, 9))
        error = np.abs(np.swapaxes(short_u, -1, -2) @ short_v - product).max((-1, -2))
        assert np.all(error <= 100 * np.finfo(dtype).eps * np.abs(product).max((-1, -2)))


def test_the_same_under_vmap_and_in_single_precision() -> None:
    u, v = (RNG.normal(size=(5, 8, n)) for n in (6, 9))
    to_two = jax.jit(lambda a, b: truncate(a, b, 2))
    whole, mapped = to_two(u, v), jax.vmap(to_two)(u, v)
    single = to_two(*(jnp.asarray(a, jnp.float32) for a in (u, v)))
    product = [np.swapaxes(a, -1, -2) @ b for a, b in (whole, mapped, single)]
    np.testing.assert_allclose(product[1], product[0], atol=1e-12)
    np.testing.assert_allclose(product[2], product[0], atol=1e-4)
    assert single[0].dtype == jnp.float32


def test_many_at_once_end() -> None:
    """As many independent truncations as a network has traces: none waits for another."""
    pairs = [(RNG.normal(size=(64, 8, 192)), RNG.normal(size=(64, 8, 64))) for _ in range(6)]
    run = jax.jit(lambda pairs: [truncate(u, v, 4) for u, v in pairs])
    for _ in range(20):
        jax.block_until_ready(run(pairs))
    text = run.lower(pairs).as_text()
    assert "lapack" not in text
    assert "while" in text
