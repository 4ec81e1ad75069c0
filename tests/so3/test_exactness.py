"""Tables and functions of high degrees, against exact values and laws."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import scipy.special
import torch
from e3any_backends import kernels
from sympy.physics import wigner

from e3any.conventions import degree_slice
from e3any.so3 import (
    clebsch_gordan,
    clebsch_gordan_for_degrees,
    random_rotation,
    solid_harmonics,
    spherical_harmonics,
    wigner_d,
)
from e3any.so3.clebsch_gordan import _complex_coefficients

BOTH_FORMS = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])


def vectors(rng: np.random.Generator) -> np.ndarray:
    """Return unit vectors; the first ones lie on axes or close to them."""
    r = rng.normal(size=(20, 3))
    r[:8] = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, -1, 0], [1e-9, 0, 1], [0, 1e-5, -1], [1e-2, 1e-2, -1], [1, 1e-7, 0]]
    return r / np.linalg.norm(r, axis=-1, keepdims=True)


def harmonics_by_scipy(r: np.ndarray, degree: int) -> np.ndarray:
    """Real harmonics of one degree from scipy's complex ones: m = -l..l, Racah's normalisation."""
    theta, phi = np.arctan2(np.hypot(r[:, 0], r[:, 1]), r[:, 2]), np.arctan2(r[:, 1], r[:, 0])
    m = np.arange(-degree, degree + 1)
    y = scipy.special.sph_harm_y(degree, abs(m), theta[:, None], phi[:, None])
    y *= (-1.0) ** m * math.sqrt(4 * math.pi / (2 * degree + 1))
    return np.where(m == 0, y.real, math.sqrt(2) * np.where(m < 0, y.imag, y.real))


@cache
def coefficient(l1: int, l2: int, l3: int, m1: int, m2: int) -> float:
    """Return a coefficient of complex harmonics from sympy, which computes about half of them, the rest by symmetry."""
    sign = (-1) ** (l1 + l2 + l3)
    if l1 > l2:
        return sign * coefficient(l2, l1, l3, m2, m1)
    if m1 + m2 < 0:
        return sign * coefficient(l1, l2, l3, -m1, -m2)
    return float(wigner.clebsch_gordan(l1, l2, l3, m1, m2, m1 + m2))


def real_harmonics(degree: int) -> np.ndarray:
    """Return the matrix (real m, complex m) with real = matrix @ complex harmonics, orders ascending."""
    u, root = np.zeros((2 * degree + 1, 2 * degree + 1), complex), math.sqrt(0.5)
    u[degree, degree] = 1
    for m in range(1, degree + 1):
        u[degree + m, [degree - m, degree + m]] = root, (-1) ** m * root
        u[degree - m, [degree - m, degree + m]] = 1j * root, -1j * (-1) ** m * root
    return u


def table_by_sympy(l1: int, l2: int, l3: int) -> np.ndarray:
    """Return the coefficients of real harmonics, multiplied with i**(l1+l2-l3), which makes them real."""
    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1, m2 in itertools.product(range(-l1, l1 + 1), range(-l2, l2 + 1)):
        if abs(m1 + m2) <= l3:
            table[l1 + m1, l2 + m2, l3 + m1 + m2] = coefficient(l1, l2, l3, m1, m2)
    u1, u2, u3 = (real_harmonics(l) for l in (l1, l2, l3))
    table = np.einsum("ai,bj,ck,ijk->abc", u1, u2, u3.conj(), table, optimize=True)
    return 1j ** (l1 + l2 - l3) * table


def test_all_coefficients_to_degree_6_are_those_of_sympy():
    table = clebsch_gordan(6, 6, 6, cartesian_order=False)
    for l1, l2, l3 in itertools.product(range(7), repeat=3):
        actual = table[degree_slice(l1), degree_slice(l2), degree_slice(l3)]
        expected = table_by_sympy(l1, l2, l3) if abs(l1 - l2) <= l3 <= l1 + l2 else np.zeros(actual.shape)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-15)


def test_samples_of_coefficients_to_degree_20_are_those_of_sympy(rng):
    for _ in range(60):
        l1, l2 = rng.integers(7, 21, size=2).tolist()
        l3 = int(rng.integers(abs(l1 - l2), min(l1 + l2, 20) + 1))
        m1 = int(rng.integers(-l1, l1 + 1))
        m2 = int(rng.integers(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1))
        actual = _complex_coefficients(l1, l2, l3)[l1 + m1, l2 + m2]
        assert actual == pytest.approx(coefficient(l1, l2, l3, m1, m2), rel=1e-14, abs=1e-300)


@pytest.mark.parametrize("degrees", [(60, 60, 0), (60, 59, 1), (60, 60, 60), (59, 60, 60), (60, 1, 60), (31, 47, 60)])
def test_coefficients_to_degree_60_are_orthonormal(degrees):
    matrix = clebsch_gordan_for_degrees(*degrees).reshape(-1, 2 * degrees[2] + 1)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), rtol=0, atol=1e-12)


@BOTH_FORMS
def test_harmonics_to_degree_100_are_those_of_scipy(rng, kernel):
    r = vectors(rng)
    with kernels.enabled(kernel):
        y = spherical_harmonics(r, 100, cartesian_order=False)
    for l in (*range(0, 60, 7), 60, 80, 99, 100):
        np.testing.assert_allclose(y[:, degree_slice(l)], harmonics_by_scipy(r, l), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_harmonics_of_16_bits_and_high_degree_are_rounded_once(rng, dtype):
    r = torch.from_numpy(vectors(rng)).to(dtype)
    expected = spherical_harmonics(r.double(), 60).numpy()
    actual = spherical_harmonics(r, 60)
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual.double().numpy(), expected, rtol=0, atol=torch.finfo(dtype).eps / 2 + 1e-4)


@BOTH_FORMS
def test_products_of_harmonics_to_degree_100_add_up_to_legendre_polynomials(rng, kernel):
    r, other = vectors(rng), vectors(rng)[::-1].copy()
    cosines = np.sum(r * other, axis=-1)
    with kernels.enabled(kernel):
        products = spherical_harmonics(r, 100) * spherical_harmonics(other, 100)
    for l in (1, 30, 60, 100):
        sums = products[:, degree_slice(l)].sum(axis=-1)
        np.testing.assert_allclose(sums, scipy.special.eval_legendre(l, cosines), rtol=0, atol=1e-12)


def test_harmonics_to_degree_30_are_orthogonal_on_the_sphere():
    degree = 30
    z, weights = np.polynomial.legendre.leggauss(degree + 1)
    phi = 2 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    rho = np.sqrt(1 - z**2)[:, None]
    r = np.stack(np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), axis=-1).reshape(-1, 3)
    y = spherical_harmonics(r, degree, normalization="4pi")
    gram = y.T @ (y * np.repeat(weights, len(phi))[:, None]) / (2 * len(phi))
    np.testing.assert_allclose(gram, np.eye(len(gram)), rtol=0, atol=1e-12)


@BOTH_FORMS
@pytest.mark.parametrize("degree", [30, 100])
def test_gradients_of_high_degrees_obey_the_laws_of_harmonics(rng, kernel, degree):
    r = torch.from_numpy(vectors(rng)).requires_grad_()
    slots = (2, degree_slice(degree).start, degree**2 + degree + 2, (degree + 1) ** 2 - 1)
    with kernels.enabled(kernel):
        solid = solid_harmonics(r, degree)
        slopes = [torch.autograd.grad(solid[:, i].sum(), r, retain_graph=True)[0] for i in slots]
        (pull,) = torch.autograd.grad(spherical_harmonics(r, degree)[:, degree_slice(degree)].square().sum(), r)
    # Euler's law of homogeneous functions; the norm of a degree is constant.
    for i, slope in zip(slots, slopes):
        l = math.isqrt(i)
        along = (slope * r).sum(dim=-1).detach().numpy()
        np.testing.assert_allclose(along, l * solid[:, i].detach().numpy(), rtol=0, atol=l * 1e-12)
    np.testing.assert_allclose(pull.numpy(), np.zeros(pull.shape), rtol=0, atol=degree * 1e-12)


@pytest.fixture(scope="module")
def rotations_of_degree_60():
    """Two rotations, and the Wigner-D matrices of both and of their product."""
    rng = np.random.default_rng(0)
    first, second = random_rotation(rng, num=2)
    return first, second, *wigner_d(np.stack([first, second, first @ second]), 60)


def test_wigner_d_to_degree_60_is_orthogonal_and_composes(rotations_of_degree_60):
    _, _, d, other, product = rotations_of_degree_60
    for l in (5, 20, 21, 30, 45, 60):
        a, b, c = (x[degree_slice(l), degree_slice(l)] for x in (d, other, product))
        np.testing.assert_allclose(a @ a.T, np.eye(2 * l + 1), rtol=0, atol=1e-12)
        np.testing.assert_allclose(a @ b, c, rtol=0, atol=1e-12)


def test_wigner_d_to_degree_60_rotates_the_harmonics_of_scipy(rotations_of_degree_60, rng):
    rot, *_ = rotations_of_degree_60
    d = wigner_d(rot, 60, cartesian_order=False)
    r = vectors(rng)
    for l in (1, 12, 20, 21, 40, 60):
        rotated = harmonics_by_scipy(r, l) @ d[degree_slice(l), degree_slice(l)]
        np.testing.assert_allclose(rotated, harmonics_by_scipy(r @ rot, l), rtol=0, atol=1e-12)


@pytest.mark.parametrize("degrees", [(10, 12, 15), (20, 15, 30), (30, 30, 29)])
def test_coefficients_couple_wigner_d_matrices_of_high_degrees(rotations_of_degree_60, degrees):
    *_, d, _, _ = rotations_of_degree_60
    d1, d2, d3 = (d[degree_slice(l), degree_slice(l)] for l in degrees)
    table = clebsch_gordan_for_degrees(*degrees)
    coupled = np.einsum("ai,bj,abk->ijk", d1, d2, table, optimize=True)
    np.testing.assert_allclose(coupled, table @ d3.T, rtol=0, atol=1e-12)


def test_quadrature_to_degree_40_gives_the_wigner_d_matrix(rotations_of_degree_60):
    rot, _, d, *_ = rotations_of_degree_60
    z, weights = np.polynomial.legendre.leggauss(41)
    phi = 2 * np.pi * np.arange(81) / 81
    rho = np.sqrt(1 - z**2)[:, None]
    r = np.stack(np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), axis=-1).reshape(-1, 3)
    weights = np.repeat(weights, len(phi)) / (2 * len(phi))
    for l in (21, 40):
        y, rotated = (spherical_harmonics(x, 40, normalization="4pi")[:, degree_slice(l)] for x in (r, r @ rot))
        overlap = y.T @ (weights[:, None] * rotated)
        np.testing.assert_allclose(overlap, d[degree_slice(l), degree_slice(l)], rtol=0, atol=1e-12)
