"""Radial basis functions."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import nn as radial
from e3any.nn import basic_bernstein, exponential_mapping, reciprocal_mapping
from e3any.testing import assert_parity

KINDS = ("shifted", "damped", "cuspless")
RATES = ((1.0, False), (0.5, True))
CASES = [("basic_bernstein", {}), ("basic_bernstein", {"limit": 2.5})]
CASES += [("reciprocal_bernstein", {"kind": kind}) for kind in KINDS]
CASES += [("reciprocal_bernstein", {"use_reciprocal_weighting": True})]
CASES += [("exponential_bernstein", {"gamma": gamma, "cuspless": c}) for gamma, c in ((1.0, False), (0.5, True))]
CASES += [("exponential_bernstein", {"use_exponential_weighting": True})]
MAPPINGS = [("reciprocal_mapping", {"kind": kind}) for kind in KINDS]
MAPPINGS += [("exponential_mapping", {"gamma": g, "cuspless": c}) for g, c in RATES]
cases = pytest.mark.parametrize(("name", "options"), CASES)
mappings = pytest.mark.parametrize(("name", "options"), MAPPINGS)
FUNCTIONS = ("basic_bernstein", "reciprocal_bernstein", "exponential_bernstein")

POINTS = np.asarray([0.0, 1e-30, 1e-9, 1e-7, 1e-4, 0.5, 1.0 - 1e-7, 1.0, 2.5, 3.0, 80.0, 1e4, 1e30])
X = np.concatenate([np.linspace(0.0, 4.0, 41), [1e-3, 0.999, 25.0]])


@functools.cache
def e3x_values(case: int, num: int) -> np.ndarray:
    name, options = CASES[case]
    return np.asarray(getattr(e3x.nn, name)(jnp.asarray(X), num, **options))


def call(name, num, options):
    return lambda x: getattr(radial, name)(x, num, **options)


def exact_bernstein(x: np.ndarray, num: int) -> np.ndarray:
    n = num - 1
    rows = [[math.comb(n, k) * Fraction(u) ** k * (1 - Fraction(u)) ** (n - k) for k in range(num)] for u in x]
    return np.asarray(rows, dtype=float)


# From 8 functions on, the binomials of e3x are off by 1e-6 (its logarithm of the beta function is).
@pytest.mark.parametrize(("num", "tolerance"), [(1, 1e-15), (7, 1e-12), (40, 2e-6)])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_values_equal_those_of_e3x(library, case, num, tolerance):
    y = call(CASES[case][0], num, CASES[case][1])(library.array(X))
    assert library.owns(y)
    np.testing.assert_allclose(library.numpy(y), e3x_values(case, num), rtol=0, atol=tolerance)


@pytest.mark.parametrize("num", [2, 3, 9, 10, 11, 32, 100, 200])
def test_bernstein_polynomials_equal_exact_ones(rng, num):
    x = np.concatenate([rng.uniform(size=12), [0.0, 1e-3, 0.999, 1.0]])
    np.testing.assert_allclose(basic_bernstein(x, num), exact_bernstein(x, num), rtol=2e-13, atol=1e-290)


@pytest.mark.parametrize(("num", "tolerance"), [(2, 1e-7), (9, 3e-7), (32, 5e-7), (200, 1e-6)])
def test_single_precision_is_kept_and_near_exact(rng, library, num, tolerance):
    x = np.concatenate([rng.uniform(size=30), [0.0, 1e-3, 0.999, 1.0]]).astype(np.float32)
    y = library.numpy(basic_bernstein(library.array(x), num))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, exact_bernstein(x.astype(float), num), rtol=0, atol=tolerance)


@cases
def test_single_precision_is_near_double(library, name, options):
    x = X.astype(np.float32)
    y = library.numpy(call(name, 8, options)(library.array(x)))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, call(name, 8, options)(x.astype(float)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("num", [1, 7])
@cases
def test_gradients_equal_those_of_e3x(name, options, num):
    x = jnp.asarray(X)
    if name == "basic_bernstein":  # beyond the limit, that gradient is not the one of a constant
        x = x[x <= options.get("limit", 1.0)]
    f = call(name, num, options)
    tangent = jnp.ones_like(x)
    actual = jax.jit(lambda x: jax.jvp(f, (x,), (tangent,))[1])(x)
    expected = jax.jit(lambda x: jax.jvp(lambda x: getattr(e3x.nn, name)(x, num, **options), (x,), (tangent,))[1])(x)
    assert_parity(actual, expected)


def test_functions_are_constant_outside_of_the_interval():
    x = jnp.asarray([-1e30, -0.5, 1.5, 1e30])
    values, derivatives = jax.jvp(lambda x: basic_bernstein(x, 4), (x,), (jnp.ones_like(x),))
    np.testing.assert_array_equal(values, np.eye(4)[[0, 0, 3, 3]])
    np.testing.assert_array_equal(derivatives, 0.0)


@pytest.mark.parametrize("num", [1, 6, 40, 200])
def test_polynomials_sum_to_one_and_are_not_negative(num):
    y = basic_bernstein(np.linspace(0, 1, 101), num)
    np.testing.assert_allclose(np.sum(y, axis=-1), 1.0, rtol=1e-13)
    assert np.all(y >= 0)


@pytest.mark.parametrize(
    ("name", "num", "dtype"),
    [("basic_bernstein", 5, "float32"), ("basic_bernstein", 12, "float32"), ("basic_bernstein", 12, "float64")]
    + [("reciprocal_bernstein", 5, "float32"), ("exponential_bernstein", 12, "float32")],
)
def test_derivatives_to_fourth_order_are_finite(name, num, dtype):
    weights = jnp.asarray(np.cos(np.arange(num)), dtype)

    def f(x):
        return jnp.sum(weights * getattr(radial, name)(x, num))

    derivative = f
    for _ in range(4):
        derivative = jax.grad(derivative)
    values = jax.jit(jax.vmap(lambda x: [f(x), derivative(x)]))(jnp.asarray(POINTS.astype(dtype)))
    assert np.all(np.isfinite(np.asarray(values)))


@pytest.mark.parametrize("num", [5, 20, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@cases
def test_derivatives_of_torch_to_fourth_order_are_finite(name, options, dtype, num):
    t = torch.asarray(POINTS, dtype=dtype).requires_grad_()
    y = call(name, num, options)(t) @ torch.cos(torch.arange(num, dtype=dtype))
    for _ in range(4):
        (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        assert bool(torch.isfinite(y).all())


@pytest.mark.parametrize("num", [6, 20])
def test_derivatives_to_fourth_order_are_those_of_polynomials(num):
    points = np.asarray([0.0, 1e-9, 0.02, 0.3, 0.5, 0.9, 1.0])
    t = torch.from_numpy(points).requires_grad_()
    weights = np.cos(np.arange(num))
    y = basic_bernstein(t, num) @ torch.from_numpy(weights)
    for order in range(1, 5):
        (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        # Derivatives of Bernstein polynomials are differences of their coefficients.
        weights = np.diff(weights) * (num - order)
        expected = exact_bernstein(points, num - order) @ weights
        size = np.max(np.abs(weights))
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-9, atol=1e-9 * size)


@cases
def test_derivatives_of_torch_equal_those_of_jax(name, options):
    t = torch.asarray(POINTS, dtype=torch.float64).requires_grad_()
    weights = np.cos(np.arange(12))

    def f(x):
        return jnp.sum(call(name, 12, options)(x) @ weights)

    (y,) = torch.autograd.grad((call(name, 12, options)(t) @ torch.from_numpy(weights)).sum(), t)
    np.testing.assert_allclose(y.numpy(), jax.jit(jax.grad(f))(jnp.asarray(POINTS)), rtol=1e-11, atol=1e-11)


@mappings
def test_mappings_equal_those_of_e3x(library, name, options):
    y = getattr(radial, name)(library.array(X), **options)
    expected = getattr(e3x.nn, name)(jnp.asarray(X), **options)
    np.testing.assert_allclose(library.numpy(y), expected, rtol=1e-12)
    y = getattr(radial, name)(library.array(X.astype(np.float32)), **options)
    assert library.numpy(y).dtype == np.float32
    np.testing.assert_allclose(library.numpy(y), expected, rtol=5e-6)


@mappings
def test_gradients_of_mappings_equal_those_of_e3x(name, options):
    x = jnp.asarray(X)
    f, g = (jax.jit(jax.vmap(jax.grad(lambda x, m=m: getattr(m, name)(x, **options)))) for m in (radial, e3x.nn))
    np.testing.assert_allclose(f(x), g(x), rtol=1e-10, atol=1e-12)


def test_derivatives_of_the_damped_mapping_are_precise_near_zero():
    def f(x):
        return reciprocal_mapping(x, "damped")

    for order in range(5):
        expected = (-1) ** order / (order + 1)  # by the power series
        assert float(f(jnp.asarray(1e-9))) == pytest.approx(expected, rel=1e-7)
        f = jax.grad(f)


def test_mappings_never_exceed_one():
    x = np.geomspace(1e-20, 1e3, 500)
    assert np.all(reciprocal_mapping(x, "damped") <= 1)
    assert np.all(exponential_mapping(x) <= 1)


def test_rate_and_limit_may_be_traced_and_learned():
    x = jnp.asarray(X)
    for f in (
        lambda a: radial.exponential_bernstein(x, 6, gamma=a),
        lambda a: basic_bernstein(x, 6, limit=a),
    ):
        np.testing.assert_allclose(jax.jit(f)(1.37), f(1.37), atol=1e-14)
        step = 1e-6
        numeric = (f(1.37 + step) - f(1.37 - step)) / (2 * step)
        np.testing.assert_allclose(jax.jit(jax.jacfwd(f))(1.37), numeric, rtol=1e-6, atol=1e-8)


def test_leading_axes_are_kept(library):
    for shape in ((), (0,), (3, 0), (2, 3)):
        for num in (1, 5, 70):
            assert tuple(basic_bernstein(library.array(np.zeros(shape)), num).shape) == (*shape, num)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bfloat16_is_kept(name):
    for num in (1, 8, 70):
        assert getattr(radial, name)(jnp.ones(3, jnp.bfloat16), num).dtype == jnp.bfloat16
        assert getattr(radial, name)(torch.ones(3, dtype=torch.bfloat16), num).dtype == torch.bfloat16
    y = radial.exponential_bernstein(jnp.ones(3, jnp.bfloat16), 4, gamma=jnp.ones((), jnp.float32))
    assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("num", [0, -1, 2.0, True])
def test_other_numbers_of_functions_raise(library, name, num):
    with pytest.raises(ValueError, match=r"expected num .*, got"):
        getattr(radial, name)(library.array(X), num)


def test_unknown_kinds_and_limits_raise(library):
    x = library.array(X)
    with pytest.raises(ValueError, match=r"expected kind .*, got 'other'"):
        reciprocal_mapping(x, "other")
    with pytest.raises(ValueError, match=r"expected kind .*, got 'other'"):
        radial.reciprocal_bernstein(x, 3, kind="other")
    with pytest.raises(ValueError, match=r"expected limit > 0, got 0"):
        basic_bernstein(x, 3, limit=0.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_integers_raise(library, name):
    with pytest.raises(TypeError, match="floating-point"):
        getattr(radial, name)(library.array(np.ones(3, np.int64)), 3)


@pytest.mark.parametrize("function", [radial.rectangular_window, radial.triangular_window, radial.smooth_window])
def test_windows_take_a_limit_for_every_distance(library, rng, function):
    # As many limits as there are bounds of windows.
    x, limits = rng.uniform(0.0, 3.0, 4), np.asarray([0.5, 1.0, 2.0, 3.0])
    expected = [function(x[i], 3, float(limits[i])) for i in range(4)]
    assert_parity(function(library.array(x), 3, library.array(limits)), np.stack(expected), "float64")
