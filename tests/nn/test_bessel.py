"""Spherical Bessel functions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch

from e3any import nn
from e3any.testing import assert_parity

X = np.concatenate([[0.0, 1e-30, 1e-9, 1e-4, 0.03], np.linspace(0.1, 7.0, 24)])


@pytest.mark.parametrize("limit", [1.0, 2.5])
def test_values_equal_those_of_e3nn_jax(library, limit):
    e3nn = pytest.importorskip("e3nn_jax")
    y = nn.bessel(library.array(X), 8, limit)
    assert library.owns(y)
    assert_parity(y, np.asarray(e3nn.bessel(X, 8, limit)))


def test_values_inside_equal_those_of_e3nn(library):
    e3nn = pytest.importorskip("e3nn.math")
    x = np.linspace(0.1, 2.4, 24)
    expected = e3nn.soft_one_hot_linspace(torch.from_numpy(x), 0.0, 2.5, 5, "bessel", cutoff=False)
    # Theirs has weights of equal size on an interval, without the norm of the sphere.
    assert_parity(nn.bessel(library.array(x), 5, 2.5), expected / expected[0, 0] * nn.bessel(x, 5, 2.5)[0, 0])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_values_are_precise(library, dtype, tolerance):
    x = X.astype(dtype)
    with mpmath.workdps(40):
        a = [mpmath.pi * k / mpmath.mpf(1.5) for k in range(1, 17)]
        points = [mpmath.mpf(float(t)) for t in x]
        exact = [[float(mpmath.sqrt(2 / mpmath.mpf(1.5)) * f * mpmath.sinc(f * t)) for f in a] for t in points]
    y = library.numpy(nn.bessel(library.array(x), 16, 1.5))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, exact, rtol=0, atol=tolerance * np.max(exact))


def test_functions_are_orthonormal_on_a_sphere():
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = 1.7 * 0.5 * (nodes + 1)
    y = nn.bessel(x, 9, 1.7)
    np.testing.assert_allclose(np.einsum("xi,xj,x->ij", y, y, 0.85 * weights * x**2), np.eye(9), atol=1e-13)


def test_derivatives_at_zero_are_those_of_the_series():
    def along(function):
        return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    derivatives = [lambda x: nn.bessel(x, 3, 2.0)]
    for _ in range(4):
        derivatives.append(along(derivatives[-1]))
    values = jax.jit(lambda x: [f(x) for f in derivatives])(jnp.asarray(0.0))
    a = math.pi * np.arange(1, 4) / 2.0
    zero = np.zeros(3)
    assert_parity(values, [a, zero, -(a**3) / 3, zero, a**5 / 5])


def test_gradients_of_torch_equal_those_of_jax():
    x, limit = torch.tensor(X, requires_grad=True), torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    actual = torch.autograd.grad(nn.bessel(x, 5, limit).sin().sum(), (x, limit))
    loss = jax.jit(jax.grad(lambda x, limit: jnp.sin(nn.bessel(x, 5, limit)).sum(), (0, 1)))
    assert_parity(actual, loss(jnp.asarray(X), 1.5))


@pytest.mark.parametrize("shape", [(0,), (), (2, 3)])
def test_leading_axes_and_bfloat16_are_kept(shape):
    y = nn.bessel(torch.ones(shape, dtype=torch.bfloat16), 3, torch.tensor(2.0))
    assert (y.dtype, tuple(y.shape)) == (torch.bfloat16, (*shape, 3))
