"""Chebyshev polynomials, Gaussians, trigonometric functions and windows."""

from __future__ import annotations

import functools

import e3x
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from layer_cases import jit

from e3any import nn
from e3any.testing import assert_parity

BASIC = ["sinc", "basic_chebyshev", "basic_fourier", "basic_gaussian"]
WINDOWS = ["rectangular_window", "triangular_window", "smooth_window"]
FAMILIES = ["chebyshev", "fourier", "gaussian"]
MAPPED = [f"exponential_{f}" for f in ("bernstein", *FAMILIES)]
CASES = [(name, options) for name in BASIC + WINDOWS for options in ({}, {"limit": 2.5})]
CASES += [(f"reciprocal_{f}", {"kind": kind}) for f in FAMILIES for kind in ("shifted", "damped", "cuspless")]
CASES += [(f"reciprocal_{f}", {"use_reciprocal_weighting": True}) for f in FAMILIES]
CASES += [(f"exponential_{f}", {"gamma": 0.5, "cuspless": cuspless}) for f in FAMILIES for cuspless in (False, True)]
CASES += [(f"exponential_{f}", {"use_exponential_weighting": True}) for f in FAMILIES]
SMOOTH = [case for case in CASES if not case[0].endswith("r_window")]
ids = {"ids": lambda x: x if isinstance(x, str) else "-".join(map(str, x.values()))}
cases = pytest.mark.parametrize(("name", "options"), CASES, **ids)
smooth = pytest.mark.parametrize(("name", "options"), SMOOTH, **ids)

X = np.concatenate([np.linspace(0.0, 4.0, 38), [1e-3, 0.999, 25.0]])
POINTS = np.asarray([0.0, 1e-30, 1e-9, 1e-4, 0.5, 1.0 - 1e-7, 1.0, 2.5, 3.0, 80.0, 1e4, 1e30])


def call(name, num, options):
    return lambda x: getattr(nn, name)(x, num, **options)


@functools.cache
def of_e3x(case: int, num: int):
    """Return values and directional derivatives by x of e3x."""
    name, options = CASES[case]
    x = jnp.asarray(X)
    return jit(lambda x: jax.jvp(lambda x: getattr(e3x.nn, name)(x, num, **options), (x,), (jnp.ones_like(x),)))(x)


@pytest.mark.parametrize("num", [1, 9])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_values_equal_those_of_e3x(library, case, num):
    name, options = CASES[case]
    y = call(name, num, options)(library.array(X))
    assert library.owns(y)
    np.testing.assert_allclose(library.numpy(y), of_e3x(case, num)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("num", [1, 9])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_derivatives_equal_those_of_e3x(case, num):
    name, options = CASES[case]
    x, expected = torch.tensor(X, requires_grad=True), np.asarray(of_e3x(case, num)[1])
    y = call(name, num, options)(x)
    columns = [
        torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] if y.requires_grad else 0 * x for k in range(num)
    ]
    actual = torch.stack(columns, -1).detach().numpy()
    # At the edges of windows and intervals one-sided derivatives differ; of the limit itself e3x has none.
    inside = np.abs(X[:, None] * num / options.get("limit", 1.0) % 1.0) > 1e-9 if name in CASES_WITH_EDGES else True
    scale = np.abs(expected).max()
    np.testing.assert_allclose(np.where(inside, actual, 0), np.where(inside, expected, 0), rtol=0, atol=1e-11 * scale)


CASES_WITH_EDGES = {*BASIC, *WINDOWS}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 4e-15), ("float32", 1e-6)])
@pytest.mark.parametrize("num", [2, 16, 200])
def test_chebyshev_polynomials_are_precise(library, rng, num, dtype, tolerance):
    x = np.concatenate([rng.uniform(size=20), [0.0, 1e-6, 0.5, 1.0 - 1e-6, 1.0]]).astype(dtype)
    with mpmath.workdps(40):
        exact = [[float(mpmath.cos(k * mpmath.acos(2 * mpmath.mpf(float(t)) - 1))) for k in range(num)] for t in x]
    y = library.numpy(nn.basic_chebyshev(library.array(x), num))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, exact, rtol=0, atol=tolerance)


@cases
def test_single_precision_is_kept_and_near_double(library, name, options):
    x = (X + 1e-3).astype(np.float32)  # not at the edges of windows, which rounding moves
    y = library.numpy(call(name, 8, options)(library.array(x)))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, call(name, 8, options)(x.astype(np.float64)), rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", ["reciprocal_chebyshev", "exponential_chebyshev"])
def test_many_polynomials_of_a_mapping_are_precise_in_single_precision(name):
    x = (X + 1e-3).astype(np.float32)
    y = getattr(nn, name)(x, 32)
    np.testing.assert_allclose(y, getattr(nn, name)(x.astype(np.float64), 32), rtol=0, atol=4e-6)


@smooth
def test_derivatives_to_third_order_are_finite(name, options):
    def along(function):
        return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    first = along(call(name, 4, options))
    second = along(first)
    run = jit(lambda x: (first(x), second(x), along(second)(x)))
    assert all(np.isfinite(y).all() for y in run(jnp.asarray(POINTS, jnp.float32)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [0.3, 5.0])
@pytest.mark.parametrize("name", [*BASIC, *WINDOWS, "basic_bernstein", "bessel", *MAPPED])
def test_derivatives_by_distance_and_parameter_are_finite_for_every_distance(name, value, dtype):
    far = torch.finfo(dtype).max
    points = [*POINTS[:-1], value, far] if name in MAPPED else [*POINTS[:-1], value, far, -far]
    x = torch.tensor(points, dtype=dtype, requires_grad=True)
    parameter = torch.tensor(value, dtype=dtype, requires_grad=True)
    y = getattr(nn, name)(x, 12, parameter)
    assert torch.isfinite(y).all()
    y = y @ torch.cos(torch.arange(12.0)).to(dtype)
    for _ in range(4):
        if not y.requires_grad:
            break
        y, by_parameter = torch.autograd.grad(y.sum(), (x, parameter), create_graph=True, materialize_grads=True)
        assert torch.isfinite(y).all()
        assert torch.isfinite(by_parameter)


@smooth
def test_derivatives_of_torch_equal_those_of_jax(name, options):
    x = torch.tensor(X + 1e-3, requires_grad=True)
    (first,) = torch.autograd.grad(call(name, 5, options)(x).sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    loss = jax.grad(lambda x: jnp.sin(call(name, 5, options)(x)).sum())
    expected = jit(lambda x: (loss(x), jax.grad(lambda x: loss(x).sum())(x)))(jnp.asarray(X + 1e-3))
    assert_parity([first.detach(), second], list(expected))


@pytest.mark.parametrize("name", [*BASIC, *WINDOWS, "bessel"])
def test_limits_may_be_traced_and_learned(name):
    x = jnp.asarray(X)
    traced = jit(lambda limit: getattr(nn, name)(x, 6, limit))(2.5)
    assert_parity(traced, getattr(nn, name)(X, 6, 2.5))
    assert np.isfinite(jax.grad(lambda limit: getattr(nn, name)(x, 6, limit).sum())(2.5))


@pytest.mark.parametrize("name", [f"exponential_{f}" for f in FAMILIES])
def test_rates_may_be_traced_and_learned(name):
    derivative = jax.grad(lambda gamma: getattr(nn, name)(jnp.asarray(X), 6, gamma).sum())(0.5)
    h = 1e-6
    ends = [getattr(nn, name)(X, 6, 0.5 + sign * h).sum() for sign in (1, -1)]
    np.testing.assert_allclose(derivative, (ends[0] - ends[1]) / (2 * h), rtol=1e-7)


@pytest.mark.parametrize("name", ["triangular_window", "smooth_window"])
def test_windows_sum_to_one_between_the_first_and_the_last(library, name):
    x = library.array(np.linspace(0.0, 0.8, 17))
    np.testing.assert_allclose(library.numpy(getattr(nn, name)(x, 5)).sum(axis=-1), 1.0, rtol=1e-14)


@cases
def test_bfloat16_and_leading_axes_are_kept(name, options):
    y = call(name, 3, options)(torch.ones((2, 4), dtype=torch.bfloat16))
    assert (y.dtype, tuple(y.shape)) == (torch.bfloat16, (2, 4, 3))


@cases
def test_bad_arguments_are_refused(library, name, options):
    x = library.array(X)
    for num in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=rf"expected num to be an integer >= 1, got {num}"):
            call(name, num, options)(x)
    with pytest.raises(TypeError, match="expected x to be a floating-point array"):
        call(name, 3, options)(library.array(np.arange(3)))
    if "limit" in options:
        with pytest.raises(ValueError, match="expected limit > 0, got 0"):
            call(name, 3, {"limit": 0.0})(x)
