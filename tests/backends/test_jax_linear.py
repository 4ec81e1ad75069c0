"""The primitive of linear maps in JAX, beside products of matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import backend_of, kernels
from e3any_backends.generic import Backend
from e3any_backends.jax.linear import multiply

from e3any.testing import assert_parity

WHICH = jnp.asarray([0, 1, 1, 0])


@pytest.fixture(params=[True, False], ids=["kernel", "reference"])
def by_kernel(request):
    """Lower the primitive to kernels, or to products of matrices."""
    with kernels.enabled(request.param):
        jax.clear_caches()
        yield request.param


@pytest.fixture
def arrays(rng):
    """Return rows, matrices and a bias."""
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in ((7, 4, 16), (2, 16, 8), (8,)))


def native(x, w, bias):
    return multiply(x, w, WHICH, bias)


def reference(x, w, bias):
    return Backend.linear(backend_of(x), x, w, WHICH, bias)


@pytest.mark.parametrize("has_bias", [False, True])
def test_values_and_derivatives_of_two_orders_are_those_of_the_reference(rng, arrays, by_kernel, has_bias):
    c = jnp.asarray(rng.normal(size=(7, 4, 8)))

    def derivatives(function):
        def evaluate(x, w, bias):
            return function(x, w, bias if has_bias else None)

        def gradients(*a):
            return jax.grad(lambda *a: jnp.sum(c * jnp.sin(evaluate(*a))), (0, 1, 2))(*a)

        second = jax.grad(lambda *a: sum(jnp.sum(jnp.cos(d)) for d in gradients(*a)), (0, 1, 2))
        return jax.jit(lambda *a: (evaluate(*a), gradients(*a), second(*a)))(*arrays)

    assert_parity(derivatives(native), derivatives(reference))
    text = jax.jit(native).lower(*arrays).as_text()
    assert ("custom_call @e3any_linear" in text) == by_kernel


def test_forward_mode_is_that_of_the_reference(rng, arrays, by_kernel):
    tangents = tuple(jnp.asarray(rng.normal(size=a.shape)) for a in arrays)

    def along(function):
        return jax.jit(lambda a, t: jax.jvp(function, a, t))(arrays, tangents)

    assert_parity(along(native), along(reference))
    assert_parity(*(jax.jvp(lambda b, f=f: f(*arrays[:2], b), arrays[2:], tangents[2:]) for f in (native, reference)))


@pytest.mark.parametrize("axes", [(0, None, None), (1, None, None), (None, 0, None), (0, 0, 0), (None, None, 0)])
def test_batches_are_stacks_of_calls(arrays, by_kernel, axes):
    stacked = [a if axis is None else jnp.stack([a, -a, 2 * a], axis) for a, axis in zip(arrays, axes)]
    rows = [[a if axis is None else jnp.take(a, i, axis) for a, axis in zip(stacked, axes)] for i in range(3)]
    assert_parity(jax.jit(jax.vmap(native, axes))(*stacked), jnp.stack([reference(*row) for row in rows]))


def test_batches_of_cotangents(arrays, by_kernel):
    def jacobians(function):
        return jax.jit(jax.jacrev(lambda *a: jnp.sum(function(*a) ** 3, axis=(1, 2)), (0, 1, 2)))(*arrays)

    assert_parity(jacobians(native), jacobians(reference))


def test_layers_call_kernels_where_vectors_are_filled(rng):
    backend = backend_of(jnp.zeros(1))
    assert backend.supports("linear", jnp.zeros((1, 16), "float32"), jnp.zeros((16, 32)))
    assert not backend.supports("linear", jnp.zeros((1, 8), "float32"), jnp.zeros((8, 16)))
    assert not backend.supports("linear", jnp.zeros((1, 16), "bfloat16"), jnp.zeros((16, 32)))
    with jax.default_matmul_precision("bfloat16"):
        assert not backend.supports("linear", jnp.zeros((1, 16), "float32"), jnp.zeros((16, 32)))
    x, w, bias = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 3, 4, 8), (2, 8, 8), (8,)))
    assert_parity(backend.linear(x, w, WHICH, bias), Backend.linear(backend, x, w, WHICH, bias))
    np.testing.assert_array_equal(backend.linear(x[:0], w, WHICH, bias).shape, (0, 3, 4, 8))
