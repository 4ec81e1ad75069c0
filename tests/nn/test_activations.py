"""Gated activations."""

from __future__ import annotations

import math

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import torch

from e3any.nn import activations
from e3any.testing import assert_parity

CASES = [(name, {}) for name in activations.__all__]
CASES += [
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {"alpha": 0.7}),
    ("celu", {"alpha": 2.5}),
    ("celu", {"alpha": 0.1}),
    ("gelu", {"approximate": False}),
    ("mish", {"fast": False}),
]
cases = pytest.mark.parametrize(("name", "options"), CASES)
# No kink except zero, where the derivative is the one that e3x takes.
SCALARS = np.asarray([-20.0, -7.5, -2.5, -1.2, -0.9, -0.3, -0.05, 0.0, 0.02, 0.2, 0.5, 1.5, 2.9, 4.0, 7.0, 30.0])


def extreme(dtype: str) -> np.ndarray:
    """Numbers of all sizes, where powers, exponentials and reciprocals leave the range of the dtype.

    For the first and the last number the second derivative may be too large.
    """
    info = jnp.finfo(dtype)
    largest, smallest = float(info.max), float(info.smallest_normal)
    sizes = [smallest, 1e-30, 1e-9, 1.0, 3.0, 6.0, 80.0, 90.0, 700.0, 720.0, 1e4, 1e30]
    sizes += [2.0 * largest ** (1 / 3), 2.0 * largest**0.5, largest / 8.0, largest / 3.0]
    return np.asarray([-s for s in sizes[::-1]] + [0.0] + sizes)


def features(rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(size=(2, 2, 4, len(SCALARS)))
    x[:, 0, 0, :] = SCALARS
    return x


def gradient(function, x):
    return jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(function(x) + 0.3))))(x)


@cases
def test_values_equal_those_of_e3x(rng, library, name, options):
    x = features(rng)
    y = getattr(activations, name)(library.array(x), **options)
    assert library.owns(y)
    expected = getattr(e3x.nn, name)(jnp.asarray(x), **options)
    np.testing.assert_allclose(library.numpy(y), expected, rtol=1e-12, atol=1e-12)


@cases
def test_single_precision_is_kept_and_near_double(rng, library, name, options):
    x = features(rng).astype(np.float32)
    y = library.numpy(getattr(activations, name)(library.array(x), **options))
    expected = getattr(activations, name)(x.astype(np.float64), **options)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@cases
def test_gradients_equal_those_of_e3x(rng, name, options):
    x = jnp.asarray(features(rng))
    actual = gradient(lambda x: getattr(activations, name)(x, **options), x)
    expected = gradient(lambda x: getattr(e3x.nn, name)(x, **options), x)
    assert_parity(actual, expected)


@cases
def test_torch_gradients_equal_those_of_jax(rng, name, options):
    x = features(rng)
    t = torch.from_numpy(x.copy()).requires_grad_()
    (actual,) = torch.autograd.grad(torch.sin(getattr(activations, name)(t, **options) + 0.3).sum(), t)
    expected = gradient(lambda x: getattr(activations, name)(x, **options), jnp.asarray(x))
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12, atol=1e-12)


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_to_second_order_are_finite(name, options, dtype):
    def f(t):
        return getattr(activations, name)(jnp.reshape(t, (1, 1, 1)), **options)[0, 0, 0]

    orders = jax.jit(jax.vmap(lambda t: [f(t), jax.grad(f)(t), jax.grad(jax.grad(f))(t)]))
    value, first, second = orders(jnp.asarray(extreme(dtype), dtype))
    assert np.isfinite(value).all()
    assert np.isfinite(first).all()
    assert np.isfinite(second[1:-1]).all()


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_derivatives_of_torch_to_third_order_are_finite(name, options, dtype):
    t = torch.tensor(extreme(dtype), dtype=getattr(torch, dtype)).requires_grad_()
    y = getattr(activations, name)(t[None, None, :], **options)
    for _ in range(4):
        assert bool(torch.isfinite(y).all())
        if y.requires_grad:
            (y,) = torch.autograd.grad(y.sum(), t, create_graph=True, materialize_grads=True)


@cases
def test_gradients_of_large_components_are_finite(name, options):
    t, x = extreme("float32"), np.full(len(extreme("float32")), np.finfo(np.float32).max / 20.0)
    features = torch.tensor(np.stack([t, x, x, x])[None], dtype=torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(getattr(activations, name)(features, **options).sum(), features)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("fast", [True, False])
def test_mish_has_a_value_far_below_zero(library, fast):
    x = np.asarray([-100.0, -700.0, 800.0]).reshape(1, 1, 3)
    y = library.numpy(activations.mish(library.array(x), fast=fast))[0, 0]
    np.testing.assert_allclose(y, [-100.0 * math.exp(-100.0), -700.0 * math.exp(-700.0), 800.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "curvature"), [("elu", 1.0), ("celu", 1.0), ("shifted_softplus", 0.25), ("bent_identity", 0.5)]
)
def test_curvature_is_precise_next_to_the_removed_singularity(name, curvature):
    def f(t):
        return getattr(activations, name)(jnp.reshape(t, (1, 1, 1)))[0, 0, 0]

    assert float(jax.jit(jax.grad(jax.grad(f)))(-1e-9)) == pytest.approx(curvature, rel=1e-8)


def test_pseudotensors_and_vectors_are_scaled_by_the_gate_of_the_scalar(rng):
    x = rng.normal(size=(3, 2, 9, 5))
    gate = scipy.special.expit(x[:, :1, :1])
    np.testing.assert_allclose(activations.silu(x), gate * x, rtol=1e-14)


@pytest.mark.parametrize(("name", "argument"), [("leaky_relu", "negative_slope"), ("elu", "alpha"), ("celu", "alpha")])
def test_parameters_may_be_traced(rng, name, argument):
    x = jnp.asarray(features(rng))
    act = getattr(activations, name)
    actual = jax.jit(lambda a: act(x, **{argument: a}))(0.7)
    np.testing.assert_allclose(actual, act(x, **{argument: 0.7}), rtol=1e-14, atol=1e-14)


@cases
def test_bfloat16_is_kept(name, options):
    x = jax.ShapeDtypeStruct((1, 1, 2), jnp.bfloat16)
    assert jax.eval_shape(lambda x: getattr(activations, name)(x, **options), x).dtype == jnp.bfloat16
    assert getattr(activations, name)(torch.ones(1, 1, 2).bfloat16(), **options).dtype == torch.bfloat16


@pytest.mark.parametrize("name", activations.__all__)
@pytest.mark.parametrize("shape", [(4, 2), (3, 1, 2), (1, 3, 2)])
def test_other_shapes_raise(library, name, shape):
    with pytest.raises(ValueError, match="expected x of shape"):
        getattr(activations, name)(library.array(np.ones(shape)))


@pytest.mark.parametrize("name", activations.__all__)
def test_integers_raise(library, name):
    with pytest.raises(TypeError, match="floating-point"):
        getattr(activations, name)(library.array(np.ones((1, 1, 2), np.int64)))
