"""Spherical and solid harmonics."""

from __future__ import annotations

import itertools
import math

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import torch
from backends_matrix import Library
from e3any_backends import kernels

from e3any.config import Config
from e3any.conventions import cartesian_permutation, degree_slice
from e3any.so3 import solid_harmonics, spherical_harmonics
from e3any.testing import assert_parity

NORMALIZATIONS = ("racah", "schmidt", "4pi", "orthonormal")
SPECIAL_POINTS = np.asarray(
    [[0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -2], [1e-3, 0, 0], [0, 1, 1], [-1, -1, -1]],
    dtype=float,
)


def harmonics_by_scipy(r: np.ndarray, max_degree: int) -> np.ndarray:
    """Real harmonics in the order m = -l..l, Racah normalised, by the convention on scipy's complex ones."""
    theta = np.arccos(np.clip(r[:, 2] / np.linalg.norm(r, axis=-1), -1, 1))
    phi = np.arctan2(r[:, 1], r[:, 0])
    columns = []
    for l in range(max_degree + 1):
        for m in range(-l, l + 1):
            y = scipy.special.sph_harm_y(l, abs(m), theta, phi) * (-1) ** m * math.sqrt(4 * math.pi / (2 * l + 1))
            columns.append(y.real if m == 0 else math.sqrt(2) * (y.imag if m < 0 else y.real))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize(
    ("max_degree", "cartesian_order", "normalization"),
    [(l, True, "racah") for l in (0, 1, 2)] + list(itertools.product([4], [True, False], NORMALIZATIONS)),
)
def test_harmonics_equal_those_of_e3x(rng, max_degree, cartesian_order, normalization):
    r = np.concatenate([rng.normal(size=(10, 3)), SPECIAL_POINTS])
    options = {"cartesian_order": cartesian_order, "normalization": normalization}
    expected = jax.jit(lambda r: e3x.so3.spherical_harmonics(r, max_degree, **options))(r)
    np.testing.assert_allclose(spherical_harmonics(r, max_degree, **options), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_solid_harmonics_equal_those_of_e3x(rng, cartesian_order):
    r = np.concatenate([rng.normal(size=(10, 3)), SPECIAL_POINTS])
    expected = jax.jit(lambda r: e3x.so3.solid_harmonics(r, 4, cartesian_order=cartesian_order))(r)
    np.testing.assert_allclose(solid_harmonics(r, 4, cartesian_order), expected, rtol=1e-12, atol=1e-12)


def test_gradients_equal_those_of_e3x_also_at_zero_and_on_axes(rng):
    r = jnp.asarray(np.concatenate([rng.normal(size=(5, 3)), SPECIAL_POINTS]))
    ours = jax.jit(jax.vmap(jax.jacrev(lambda r: spherical_harmonics(r, 3))))(r)
    theirs = jax.jit(jax.vmap(jax.jacrev(lambda r: e3x.so3.spherical_harmonics(r, 3))))(r)
    assert_parity(ours, theirs)


def test_harmonics_follow_the_convention_on_complex_ones_to_degree_50(rng):
    r = rng.normal(size=(20, 3))
    actual = spherical_harmonics(r, 50, cartesian_order=False)
    np.testing.assert_allclose(actual, harmonics_by_scipy(r, 50), rtol=0, atol=1e-12)


def test_cartesian_order_permutes_each_degree(rng):
    r = rng.normal(size=(4, 3))
    cartesian, ascending = spherical_harmonics(r, 6), spherical_harmonics(r, 6, cartesian_order=False)
    for l in range(7):
        block = ascending[:, degree_slice(l)]
        np.testing.assert_array_equal(cartesian[:, degree_slice(l)], block[:, cartesian_permutation(l)])


def test_harmonics_are_the_same_in_all_libraries(library, compiled, rng):
    r = np.concatenate([rng.normal(size=(2, 5, 3)), SPECIAL_POINTS[:5][None]])
    for function in (spherical_harmonics, solid_harmonics):
        actual = compiled(lambda r, function=function: function(r, 5))(library.array(r))
        assert library.owns(actual)
        np.testing.assert_allclose(library.numpy(actual), function(r, 5), rtol=0, atol=1e-12)


@pytest.mark.parametrize("max_degree", [0, 2])
@pytest.mark.parametrize("shape", [(3,), (2, 0, 3), (2, 1, 4, 3)])
def test_shape_dtype_and_library_are_kept(library, compiled, max_degree, shape):
    for dtype in ("float32", "float64"):
        r = library.array(np.ones(shape), dtype)
        for function in (spherical_harmonics, solid_harmonics):
            y = compiled(lambda r, function=function: function(r, max_degree))(r)
            assert library.owns(y)
            assert y.dtype == r.dtype
            assert tuple(y.shape) == (*shape[:-1], (max_degree + 1) ** 2)


def test_bfloat16_stays_bfloat16():
    assert jax.eval_shape(lambda r: spherical_harmonics(r, 3), jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.bfloat16
    assert spherical_harmonics(torch.ones((2, 3), dtype=torch.bfloat16), 3).dtype == torch.bfloat16
    assert solid_harmonics(torch.ones((2, 3), dtype=torch.bfloat16), 3).dtype == torch.bfloat16


@pytest.mark.parametrize(("max_degree", "error"), [(2, 3e-7), (10, 4e-6), (20, 2e-5)])
def test_single_precision_error_is_small(rng, max_degree, error):
    r = rng.normal(size=(500, 3)).astype(np.float32)
    exact = spherical_harmonics(r.astype(np.float64), max_degree)
    np.testing.assert_allclose(spherical_harmonics(r, max_degree), exact, rtol=0, atol=2 * error)


def test_very_long_and_very_short_vectors_of_one_batch_are_normalised(library, compiled, rng):
    direction = rng.normal(size=(3,))
    r = np.stack([direction * scale for scale in (1e-30, 1.0, 1e30)])
    y = library.numpy(compiled(lambda r: spherical_harmonics(r, 4))(library.array(r, "float32")))
    np.testing.assert_allclose(y, np.broadcast_to(spherical_harmonics(direction, 4), y.shape), rtol=0, atol=2e-6)


def test_harmonics_of_a_degree_have_norm_one(rng):
    y = spherical_harmonics(rng.normal(size=(10, 3)), 12)
    for l in range(13):
        np.testing.assert_allclose(np.linalg.norm(y[:, degree_slice(l)], axis=-1), 1, rtol=0, atol=1e-13)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_harmonics_are_orthogonal_on_the_sphere(normalization):
    degree = 6
    z, weights = np.polynomial.legendre.leggauss(degree + 1)
    phi = 2 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    rho = np.sqrt(1 - z**2)[:, None]
    r = np.stack(np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), axis=-1)
    y = spherical_harmonics(r, degree, normalization=normalization)
    gram = np.einsum("zpm,zpn,z->mn", y, y, weights) * 2 * np.pi / len(phi)
    l = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
    norms = {"4pi": 4 * np.pi + 0 * l, "orthonormal": 1.0 + 0 * l}.get(normalization, 4 * np.pi / (2 * l + 1))
    np.testing.assert_allclose(gram, np.diag(norms), rtol=0, atol=1e-13)


def test_solid_harmonics_are_homogeneous(rng):
    r = rng.normal(size=(5, 3))
    powers = np.repeat(2.0 ** np.arange(6), 2 * np.arange(6) + 1)
    np.testing.assert_allclose(solid_harmonics(2 * r, 5), powers * solid_harmonics(r, 5), rtol=1e-12, atol=1e-12)
    norm = np.linalg.norm(r, axis=-1, keepdims=True)
    powers = norm ** np.repeat(np.arange(6), 2 * np.arange(6) + 1)
    np.testing.assert_allclose(solid_harmonics(r, 5), powers * spherical_harmonics(r, 5), rtol=1e-12, atol=1e-12)


def test_r_is_normalized_skips_the_normalisation(rng):
    r = rng.normal(size=(5, 3))
    np.testing.assert_array_equal(spherical_harmonics(r, 4, r_is_normalized=True), solid_harmonics(r, 4))


def test_derivatives_to_fourth_order_are_finite_at_zero_and_on_axes():
    close = np.asarray([[1e-10, 0, 0], [0, 0, 1e-10], [1e-8, -1e-8, 0]])
    points = jnp.asarray(np.concatenate([SPECIAL_POINTS, close]))
    directions = jnp.asarray([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, -2, 3]])

    def derivatives(r, v):
        values, f = [], lambda t: spherical_harmonics(r + t * v, 2)
        for _ in range(5):
            values.append(f(0.0))
            f = jax.jacfwd(f)
        return values

    for value in jax.jit(jax.vmap(jax.vmap(derivatives, (None, 0)), (0, None)))(points, directions):
        assert bool(jnp.all(jnp.isfinite(value)))


def test_second_derivatives_in_reverse_mode_are_finite_at_zero_and_on_axes():
    points = jnp.asarray(SPECIAL_POINTS, jnp.float32)
    hessian = jax.jit(jax.vmap(jax.jacrev(jax.jacrev(lambda r: spherical_harmonics(r, 2)))))(points)
    assert bool(jnp.all(jnp.isfinite(hessian)))


def test_gradients_in_torch_are_those_in_jax(rng):
    r = np.concatenate([rng.normal(size=(5, 3)), SPECIAL_POINTS])
    weights = rng.normal(size=(len(r), 25))
    t = torch.from_numpy(r).requires_grad_()
    (torch.from_numpy(weights) * spherical_harmonics(t, 4)).sum().backward()
    expected = jax.jit(jax.grad(lambda r: jnp.sum(weights * spherical_harmonics(r, 4))))(jnp.asarray(r))
    np.testing.assert_allclose(t.grad.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_harmonics_are_the_same_under_vmap_of_torch(rng):
    r = torch.from_numpy(rng.normal(size=(4, 3)))
    with kernels.enabled(False):  # under vmap the plain form is taken
        expected = spherical_harmonics(r, 3)
    np.testing.assert_array_equal(torch.func.vmap(lambda r: spherical_harmonics(r, 3))(r), expected)


def test_second_derivatives_in_torch_are_right(rng):
    r = torch.from_numpy(rng.normal(size=(3, 3))).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda r: spherical_harmonics(r, 3), (r,))


def test_defaults_are_those_set_at_the_time_of_the_call(rng):
    r = rng.normal(size=(2, 3))
    expected = spherical_harmonics(r, 2, cartesian_order=False, normalization="4pi")
    assert not np.allclose(spherical_harmonics(r, 2), expected)
    with Config.use(cartesian_order=False, normalization="4pi"):
        np.testing.assert_array_equal(spherical_harmonics(r, 2), expected)
        solid = solid_harmonics(r, 2)
    np.testing.assert_array_equal(solid, solid_harmonics(r, 2, cartesian_order=False))


@pytest.mark.parametrize("function", [spherical_harmonics, solid_harmonics])
class TestBadInput:
    def test_last_axis_is_not_three(self, library: Library, function):
        with pytest.raises(ValueError, match=r"expected r of shape \(..., 3\), got \(5, 2\)"):
            function(library.array(np.ones((5, 2))), 1)

    def test_scalar(self, library: Library, function):
        with pytest.raises(ValueError, match=r"expected r of shape \(..., 3\), got \(\)"):
            function(library.array(np.ones(())), 1)

    @pytest.mark.parametrize("degree", [-1, 1.0, "2", True, None])
    def test_degree_is_no_integer_or_negative(self, function, degree):
        with pytest.raises(ValueError, match="expected max_degree to be an integer >= 0, got"):
            function(np.ones((5, 3)), degree)

    def test_list(self, function):
        with pytest.raises(TypeError, match="list"):
            function([1.0, 2.0, 3.0], 1)

    def test_integers(self, library: Library, function):
        with pytest.raises(TypeError, match="floating-point"):
            function(library.array(np.ones((5, 3)), "int32"), 1)


def test_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match=r"expected a normalization of .*, got 'component'"):
        spherical_harmonics(np.ones((5, 3)), 1, normalization="component")


@pytest.mark.parametrize("kernel", [True, False])
def test_harmonics_near_the_poles_are_precise(library, kernel):
    """Where z is near 1, errors of r^2 are amplified by about l^2 / 4 unless recursions leave it out."""
    rng = np.random.default_rng(0)
    tilted = np.concatenate([rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) * (0.05, 0.05, 1.0)])
    r = (tilted / np.linalg.norm(tilted, axis=1, keepdims=True)).astype(np.float32)
    exact = spherical_harmonics(r.astype(np.float64), 12, r_is_normalized=True, normalization="4pi")
    with kernels.enabled(kernel):
        y = library.numpy(spherical_harmonics(library.array(r), 12, r_is_normalized=True, normalization="4pi"))
    np.testing.assert_allclose(y, exact, rtol=0.0, atol=6e-6)
