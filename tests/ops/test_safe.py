"""Safe norms."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any.ops import evaluate_derivatives, inverse_softplus, norm, normalize, normalize_and_return_norm

AXES = [(None, False), (-1, False), (-1, True), (0, False), ((0, 2), True), ((-1, -2), False)]
axes = pytest.mark.parametrize(("axis", "keepdims"), AXES)


@axes
def test_norms_equal_those_of_e3x_and_of_numpy(library, rng, axis, keepdims):
    x = rng.normal(size=(2, 4, 3))
    x[1] = 0
    actual = norm(library.array(x), axis, keepdims)
    assert library.owns(actual)
    expected = np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))
    np.testing.assert_allclose(library.numpy(actual), expected, rtol=1e-12)
    np.testing.assert_allclose(library.numpy(actual), e3x.ops.norm(x, axis, keepdims), rtol=1e-12)
    assert tuple(actual.shape) == expected.shape


@axes
def test_normalized_vectors_equal_those_of_e3x(library, rng, axis, keepdims):
    x = rng.normal(size=(2, 4, 3))
    y, n = normalize_and_return_norm(library.array(x), axis, keepdims)
    expected = e3x.ops.normalize_and_return_norm(jnp.asarray(x), axis, keepdims)
    np.testing.assert_allclose(library.numpy(y), expected[0], rtol=1e-12)
    np.testing.assert_allclose(library.numpy(n), expected[1], rtol=1e-12)
    np.testing.assert_array_equal(library.numpy(normalize(library.array(x), axis)), library.numpy(y))


def test_very_long_and_very_short_vectors_lie_side_by_side(library):
    scales = np.asarray([1e30, 1e-30, 1.0, 0.0])
    x = (scales[:, None] * np.asarray([3.0, 0.0, 4.0])).astype(np.float32)
    y, n = normalize_and_return_norm(library.array(x), axis=-1)
    np.testing.assert_allclose(library.numpy(n), 5 * scales, rtol=5e-7)
    np.testing.assert_allclose(library.numpy(y), np.outer(scales != 0, [0.6, 0, 0.8]), rtol=5e-7)
    # The largest entry of the whole array is the scale of e3x.
    assert float(e3x.ops.norm(jnp.asarray(x), -1)[1]) == 0


def test_gradients_equal_those_of_e3x(rng):
    x = jnp.asarray(np.concatenate([rng.normal(size=(5, 3)), np.zeros((1, 3))]))
    weights = rng.normal(size=(6, 3))
    for f, g in (
        (lambda x: norm(x, -1)[:, None], lambda x: e3x.ops.norm(x, -1)[:, None]),
        (lambda x: normalize(x, -1), lambda x: e3x.ops.normalize(x, -1)),
    ):
        actual, expected = (jax.jit(jax.grad(lambda x, h=h: jnp.sum(weights * h(x))))(x) for h in (f, g))
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_gradients_of_very_long_and_short_vectors_are_unit_vectors():
    x = jnp.asarray([[3e30, 0, 4e30], [3e-30, 0, 4e-30]], jnp.float32)
    gradient = jax.grad(lambda x: jnp.sum(norm(x, -1)))(x)
    np.testing.assert_allclose(gradient, [[0.6, 0, 0.8]] * 2, rtol=5e-7)


def test_derivatives_to_fourth_order_are_finite_at_zero():
    v = jnp.asarray([1.0, -2.0, 3.0])

    def forward(f):
        return lambda x: jax.jvp(f, (x,), (v,))[1]

    def reverse(f):
        return lambda x: jax.grad(lambda x: jnp.sum(f(x) * v))(x)

    def derivatives(x):
        values = []
        for mode in (forward, reverse):
            f, g = norm, normalize
            for _ in range(4):
                f, g = mode(f), mode(g)
                values.append((f(x), g(x)))
        return values

    values = jax.jit(derivatives)(jnp.zeros(3))
    for i, (of_norm, of_unit) in enumerate(values):
        np.testing.assert_array_equal(of_norm, np.zeros_like(of_norm))
        # Near zero, the normalised vector is the vector itself.
        expected = {0: v, 4: v}.get(i, np.zeros(3))
        np.testing.assert_array_equal(of_unit, expected)


def test_gradients_in_torch_are_finite_to_second_order():
    x = torch.asarray([[0.0, 0, 0], [3, 0, 4], [1e-20, 0, 0]], requires_grad=True)
    for f in (norm, normalize):
        (first,) = torch.autograd.grad(f(x, axis=-1).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first[:2].sum(), x)
        assert bool(torch.isfinite(first).all())
        assert bool(torch.isfinite(second).all())
    (first,) = torch.autograd.grad(norm(x, axis=-1).sum(), x)
    np.testing.assert_allclose(first.numpy(), [[0, 0, 0], [0.6, 0, 0.8], [1, 0, 0]], rtol=5e-7)


def test_second_derivatives_in_torch_are_right(rng):
    x = torch.from_numpy(rng.normal(size=(2, 3))).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: norm(x, axis=-1), (x,))
    assert torch.autograd.gradgradcheck(lambda x: normalize(x, axis=-1), (x,))


def test_empty_batches_stay_empty(library):
    for shape, axis, expected in (((0, 3), -1, (0,)), ((2, 0), -1, (2,)), ((2, 0, 3), (-1,), (2, 0))):
        y, n = normalize_and_return_norm(library.array(np.zeros(shape)), axis)
        assert tuple(y.shape) == shape
        assert tuple(n.shape) == expected
        np.testing.assert_array_equal(library.numpy(n), 0)


def test_dtype_is_kept(library):
    for dtype in ("float32", "float64"):
        x = library.array(np.ones((2, 3)), dtype)
        y, n = normalize_and_return_norm(x, -1)
        assert y.dtype == n.dtype == norm(x).dtype == x.dtype
    x = library.array(np.zeros((0, 3)), "float32")
    assert norm(x, -1).dtype == x.dtype


def test_bfloat16_is_kept():
    assert norm(jnp.ones((2, 3), jnp.bfloat16), -1).dtype == jnp.bfloat16
    assert norm(torch.ones((2, 3), dtype=torch.bfloat16), -1).dtype == torch.bfloat16


@pytest.mark.parametrize("function", [norm, normalize, normalize_and_return_norm])
def test_other_than_floating_point_numbers_raise(library, function):
    with pytest.raises(TypeError, match="expected x to be a floating-point array, got dtype"):
        function(library.array(np.ones(3, np.int64)))
    with pytest.raises(TypeError, match="list"):
        function([1.0, 2.0])


def test_inverse_softplus_inverts_softplus(library):
    x = np.asarray([1e-12, 1e-3, 1.0, 20.0, 800.0])
    y = library.numpy(inverse_softplus(library.array(x)))
    np.testing.assert_allclose(np.logaddexp(0, y), x, rtol=1e-12)
    np.testing.assert_allclose(y[:4], e3x.ops.inverse_softplus(jnp.asarray(x[:4])), rtol=1e-12)


def test_derivatives_to_fourth_order_are_finite_at_the_smallest_number():
    x = jnp.asarray([[0.0, 0.0], [jnp.finfo(jnp.float32).tiny, 0.0], [jnp.finfo(jnp.float32).eps, 0.0]], jnp.float32)
    for y in evaluate_derivatives(lambda x: norm(x, axis=-1), x, max_order=4):
        assert jnp.isfinite(y).all()
