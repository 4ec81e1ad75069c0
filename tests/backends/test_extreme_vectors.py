"""Harmonics of the largest, the smallest and no vectors at all: kernels agree with the reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from e3any_backends import kernels

from e3any import ops, so3

DIRECTIONS = [(1, 0, 0), (0, 1, 0), (0, 0, -1), (1, -1, 1), (0.3, -0.8, 1), (1, 1e-3, 0), (1e-5, 1, 1e-10)]


def vectors(dtype: str, *, finite: bool = False) -> np.ndarray:
    """Return enough vectors for kernels: near both ends of the dtype, near the limits of kernels, and no numbers."""
    info = np.finfo(dtype)
    large, small = float(info.max), float(info.smallest_normal)
    above = float(np.nextafter(info.smallest_normal, info.dtype.type(1)))
    sizes = [large, 0.7 * large, 0.59 * large, 0.3 * large, above, small, small / 2, 5 * float(info.smallest_subnormal)]
    sizes += [2 * small, 1.0, 0.0]
    far = 2.0 ** (info.maxexp // 2)
    sizes += [a * b for a in (far, far / 16, 1 / far, 16 / far) for b in (0.9, 1.1)]
    found = [np.asarray(d, dtype) * np.asarray(size, dtype) for d in DIRECTIONS for size in sizes]
    for bad in () if finite else (np.inf, -np.inf, np.nan):
        found += [np.asarray(r) for r in itertools.product([0.0, 1.0, bad], repeat=3) if not np.isfinite(r).all()]
    return np.stack(found * 2).astype(dtype)


def assert_rows_agree(result: Any, expected: Any, dtype: str) -> None:
    """Compare rows relative to their largest number; infinite and NaN are one, as sums are not of one order."""
    result, expected = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (result, expected))
    is_finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(result) | ~is_finite, True)
    np.testing.assert_array_equal(~np.isfinite(result) | is_finite | (abs(result) > 0.1 * np.finfo(dtype).max), True)
    size = np.max(np.where(is_finite, abs(expected), 0.0), axis=1, keepdims=True)
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    with np.errstate(invalid="ignore"):
        wrong = is_finite & (abs(result - expected) > tolerance * size + 16 * float(np.finfo(dtype).smallest_normal))
    assert not wrong.any(), (result[wrong.any(1)][:3], expected[wrong.any(1)][:3])


def spherical(r: Any) -> Any:
    return so3.spherical_harmonics(r, 4)


def weighted(xp: Any, function: Callable[[Any], Any], r: Any) -> Any:
    y = function(r)
    return xp.sum(y * xp.linspace(0.1, 1.0, y.shape[-1], dtype=y.dtype))


def with_torch(function: Callable[[Any], Any], r: np.ndarray) -> list[Any]:
    """Return values, gradients and gradients of these along a vector."""
    x = torch.from_numpy(r).requires_grad_()
    (g,) = torch.autograd.grad(weighted(torch, function, x), x, create_graph=True)
    (h,) = torch.autograd.grad((g * torch.tensor([0.3, -0.2, 0.5], dtype=x.dtype)).sum(), x)
    return [function(x).detach(), g.detach(), h]


def with_jax(function: Callable[[Any], Any], r: np.ndarray) -> list[Any]:
    """Return what :func:`with_torch` does, and derivatives of values along a vector."""
    c = jnp.broadcast_to(jnp.asarray([0.3, -0.2, 0.5], r.dtype), r.shape)
    gradient = jax.grad(lambda r: weighted(jnp, function, r))

    def all_of(r: Any) -> list[Any]:
        along = jax.jvp(function, (r,), (c,))[1]
        return [function(r), gradient(r), jax.jvp(gradient, (r,), (c,))[1], along]

    return list(jax.jit(all_of)(r))


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value|divide by zero|underflow):RuntimeWarning")
def test_kernels_of_numpy_agree_with_the_reference(dtype):
    r = vectors(dtype)
    with kernels.enabled(False):
        expected = spherical(r)
    assert_rows_agree(spherical(r), expected, dtype)
    invalid = ~np.isfinite(r).all(1)
    assert np.isnan(spherical(r)[invalid, 1:]).all()
    assert np.isfinite(spherical(r)[~invalid]).all()


@pytest.mark.parametrize("derivatives", [with_torch, with_jax])
def test_derivatives_by_kernels_agree_with_the_reference(dtype, derivatives):
    r = vectors(dtype)
    with kernels.enabled(False):
        expected = derivatives(spherical, r)
    for result, reference in zip(derivatives(spherical, r), expected, strict=True):
        assert_rows_agree(result, reference, dtype)


def normalized(r: Any) -> Any:
    return ops.normalize(r, axis=-1)


@pytest.mark.filterwarnings("ignore:.*overflow:RuntimeWarning")  # the norm of the largest vectors
@pytest.mark.parametrize("use_kernels", [True, False])
@pytest.mark.parametrize("function", [spherical, normalized])
def test_directions_alone_matter(dtype, library, function, use_kernels):
    """Components of the smallest vectors are subnormal numbers, which XLA counts as zero."""
    info = np.finfo(dtype)
    directions = np.repeat(np.asarray(DIRECTIONS[:6]), 50, axis=0)
    expected = function(directions)
    above = float(np.nextafter(info.smallest_normal, info.dtype.type(1)))
    for size in (info.max, 0.6 * float(info.max), 1.0, 1e5 * float(info.smallest_normal), 1.5 * above, above):
        r = library.array((directions * float(size)).astype(dtype))
        with kernels.enabled(use_kernels):
            result = library.numpy(function(r))
        np.testing.assert_allclose(result, expected, rtol=0.0, atol=2e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("use_kernels", [True, False])
@pytest.mark.parametrize("derivatives", [with_torch, with_jax])
@pytest.mark.parametrize("function", [spherical, normalized])
def test_gradients_of_directions_are_inverse_to_lengths(dtype, function, derivatives, use_kernels):
    info = np.finfo(dtype)
    directions = np.repeat(np.asarray(DIRECTIONS[:6]), 50, axis=0)
    scaled = lambda r: 0.01 * function(r)  # gradients at the smallest vectors are in range
    value, gradient = with_torch(scaled, directions)[:2]
    tolerance = {"float32": 1e-6, "float64": 1e-13}[dtype]
    for size in (1e-6 * float(info.max), 2.0 * float(info.smallest_normal), 1.5 * float(info.smallest_normal)):
        with kernels.enabled(use_kernels):
            results = derivatives(scaled, (directions * size).astype(dtype))
        np.testing.assert_allclose(results[0], value, rtol=0.0, atol=tolerance)
        np.testing.assert_allclose(np.asarray(results[1], np.float64) * size, gradient, rtol=0.0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value):RuntimeWarning")
def test_solid_harmonics_of_low_degree_are_finite_where_higher_ones_are_not(dtype, library):
    size = 0.5 * float(np.finfo(dtype).max)
    r = np.repeat(np.asarray([(0.0, 0.0, size), (0.0, size, 0.0), (size, 0.0, 0.0)]), 100, axis=0).astype(dtype)
    result = library.numpy(so3.solid_harmonics(library.array(r), 3))
    np.testing.assert_array_equal(result[:, 0], 1.0)
    np.testing.assert_array_equal(result[:, 1:4], r)
