"""Wigner-D matrices."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library

from e3any.config import Config
from e3any.conventions import degree_slice
from e3any.so3 import (
    compose_quaternions,
    random_rotation,
    rotation_euler,
    rotation_from_quaternion,
    spherical_harmonics,
    wigner_d,
    wigner_d_blocks,
    wigner_d_from_euler,
    wigner_d_from_quaternion,
)
from e3any.testing import assert_parity


@pytest.fixture
def rotations(rng):
    return random_rotation(rng, num=4)


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_matrices_equal_those_of_e3x(rotations, cartesian_order):
    expected = jax.jit(lambda rot: e3x.so3.wigner_d(rot, 3, cartesian_order=cartesian_order))(rotations)
    np.testing.assert_allclose(wigner_d(rotations, 3, cartesian_order), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_blocks_are_those_of_the_matrix(rotations, cartesian_order):
    matrix = wigner_d(rotations, 4, cartesian_order)
    for degree, block in enumerate(wigner_d_blocks(rotations, 4, cartesian_order)):
        np.testing.assert_array_equal(block, matrix[:, degree_slice(degree), degree_slice(degree)])


@pytest.mark.parametrize("cartesian_order", [True, False])
@pytest.mark.parametrize("max_degree", [1, 3])
def test_rotating_the_vector_rotates_its_harmonics(library, compiled, rng, rotations, max_degree, cartesian_order):
    r = rng.normal(size=(10, 3))
    matrices = compiled(lambda rot: wigner_d(rot, max_degree, cartesian_order))
    d = library.numpy(matrices(library.array(rotations)))
    rotated = spherical_harmonics(r @ rotations, max_degree, cartesian_order=cartesian_order)
    y = spherical_harmonics(r, max_degree, cartesian_order=cartesian_order)
    np.testing.assert_allclose(y @ d, rotated, rtol=0, atol=1e-12)


@pytest.mark.parametrize("max_degree", [10, 30])
def test_matrices_of_high_degrees_rotate_harmonics_and_compose(rng, rotations, max_degree):
    r, other = rng.normal(size=(5, 3)), random_rotation(rng)
    d = wigner_d(rotations, max_degree)
    rotated = spherical_harmonics(r @ rotations, max_degree)
    np.testing.assert_allclose(spherical_harmonics(r, max_degree) @ d, rotated, rtol=0, atol=1e-12)
    product = wigner_d(rotations @ other, max_degree)
    np.testing.assert_allclose(d @ wigner_d(other, max_degree), product, rtol=0, atol=1e-12)


def test_matrix_of_a_product_is_the_product_of_matrices(library, compiled, rng, rotations):
    other = random_rotation(rng, num=4)
    matrices = compiled(lambda rot: wigner_d(rot, 3))
    d1, d2, d12 = (library.numpy(matrices(library.array(x))) for x in (rotations, other, rotations @ other))
    np.testing.assert_allclose(d1 @ d2, d12, rtol=0, atol=1e-12)


def test_matrices_are_orthogonal(rotations):
    d = wigner_d(rotations, 12)
    np.testing.assert_allclose(d @ np.swapaxes(d, -1, -2), np.broadcast_to(np.eye(169), d.shape), rtol=0, atol=1e-13)


def test_identity_has_the_identity(library, compiled):
    np.testing.assert_allclose(
        library.numpy(compiled(lambda rot: wigner_d(rot, 3))(library.array(np.eye(3)))),
        np.eye(16),
        rtol=0,
        atol=1e-14,
    )


def test_block_of_degree_one_is_the_rotation_itself(rotations):
    np.testing.assert_array_equal(wigner_d(rotations, 3)[:, 1:4, 1:4], rotations)


def test_matrices_are_block_diagonal(rotations):
    d = wigner_d(rotations, 4)
    for l in range(5):
        d[:, degree_slice(l), degree_slice(l)] = 0
    assert not d.any()


@pytest.mark.parametrize("shape", [(), (2, 0), (2, 3)])
@pytest.mark.parametrize("max_degree", [0, 1, 2])
def test_shape_dtype_and_library_are_kept(library, compiled, shape, max_degree):
    for dtype in ("float32", "float64"):
        rot = library.array(np.broadcast_to(np.eye(3), (*shape, 3, 3)), dtype)
        for cartesian_order in (True, False):
            d = compiled(lambda rot, order=cartesian_order: wigner_d(rot, max_degree, order))(rot)
            assert library.owns(d)
            assert d.dtype == rot.dtype
            assert tuple(d.shape) == (*shape, (max_degree + 1) ** 2, (max_degree + 1) ** 2)


def test_bfloat16_stays_bfloat16():
    assert jax.eval_shape(lambda rot: wigner_d(rot, 3), jnp.eye(3, dtype=jnp.bfloat16)).dtype == jnp.bfloat16
    assert wigner_d(torch.eye(3, dtype=torch.bfloat16), 3).dtype == torch.bfloat16


def test_matrices_are_the_same_under_jit_and_vmap(rotations):
    d = jax.jit(jax.vmap(lambda rot: wigner_d(rot, 3)))(jnp.asarray(rotations))
    np.testing.assert_allclose(d, wigner_d(rotations, 3), rtol=0, atol=1e-13)


def test_matrices_are_the_same_under_vmap_of_torch(rotations):
    d = torch.func.vmap(lambda rot: wigner_d(rot, 3))(torch.from_numpy(rotations))
    np.testing.assert_array_equal(d, wigner_d(torch.from_numpy(rotations), 3))


def test_gradients_in_torch_and_jax_are_those_of_e3x(rng, rotations):
    weights = rng.normal(size=(4, 16, 16))
    rot = torch.from_numpy(rotations).requires_grad_()
    (torch.from_numpy(weights) * wigner_d(rot, 3)).sum().backward()
    ours = jax.jit(jax.grad(lambda rot: jnp.sum(weights * wigner_d(rot, 3))))(jnp.asarray(rotations))
    np.testing.assert_allclose(rot.grad.numpy(), ours, rtol=0, atol=1e-12)
    gradient = jax.jit(jax.grad(lambda rot: jnp.sum(weights * e3x.so3.wigner_d(rot, 3))))
    theirs = gradient(jnp.asarray(rotations))
    # Off the group the two polynomials differ: compare along it, by the generators of rotations.
    levi_civita = np.zeros((3, 3, 3))
    levi_civita[[0, 1, 2], [1, 2, 0], [2, 0, 1]], levi_civita[[1, 2, 0], [0, 1, 2], [2, 0, 1]] = 1, -1
    tangents = np.einsum("nij,kjl->nkil", rotations, levi_civita)
    ours, theirs = (np.einsum("nkil,nil->nk", tangents, gradient) for gradient in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_defaults_are_those_set_at_the_time_of_the_call(rotations):
    expected = wigner_d(rotations, 2, cartesian_order=False)
    assert not np.allclose(wigner_d(rotations, 2), expected)
    with Config.use(cartesian_order=False):
        np.testing.assert_array_equal(wigner_d(rotations, 2), expected)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (5, 2, 3), ()])
def test_shape_that_is_no_rotation_is_refused(library: Library, shape):
    with pytest.raises(ValueError, match=r"expected rot of shape \(..., 3, 3\), got \("):
        wigner_d(library.array(np.ones(shape)), 1)


@pytest.mark.parametrize("degree", [-1, 1.0, True])
def test_degree_that_is_no_integer_or_negative_is_refused(degree):
    with pytest.raises(ValueError, match="expected max_degree to be an integer >= 0, got"):
        wigner_d(np.eye(3), degree)


def test_wrong_kinds_are_refused(library: Library):
    with pytest.raises(TypeError, match="list"):
        wigner_d([[1.0, 0.0, 0.0]], 1)
    with pytest.raises(TypeError, match="floating-point"):
        wigner_d(library.array(np.eye(3), "int64"), 1)


def test_matrices_of_quaternions_and_euler_angles_are_those_of_their_rotations(library, compiled, rng):
    q, angles = rng.normal(size=(3, 4)), rng.normal(size=(3, 5))
    d = compiled(lambda q: wigner_d_from_quaternion(q, 3, cartesian_order=False))(library.array(q))
    assert_parity(library.numpy(d), wigner_d(rotation_from_quaternion(q), 3, cartesian_order=False))
    d = compiled(lambda *angles: wigner_d_from_euler(*angles, 3))(*map(library.array, angles))
    assert_parity(library.numpy(d), wigner_d(rotation_euler(*angles), 3))
    assert_parity(wigner_d_from_euler(0.1, 0.2, 0.3, 20), wigner_d(rotation_euler(0.1, 0.2, 0.3), 20))


def test_matrix_of_composed_quaternions_is_the_product_of_matrices(rng):
    p, q = rng.normal(size=(2, 4))
    d = wigner_d_from_quaternion(p, 6) @ wigner_d_from_quaternion(q, 6)
    assert_parity(wigner_d_from_quaternion(compose_quaternions(p, q), 6), d)


def test_quaternions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected q of shape \(\.\.\., 4\), got \(3,\)"):
        wigner_d_from_quaternion(np.ones(3), 2)
    with pytest.raises(ValueError, match="expected max_degree to be an integer >= 0, got -1"):
        wigner_d_from_euler(0.1, 0.2, 0.3, -1)
