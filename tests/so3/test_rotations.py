"""Rotation matrices."""

from __future__ import annotations

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from e3any_backends import backend_of

from e3any.so3 import (
    alignment_rotation,
    euler_angles_from_rotation,
    random_rotation,
    rotation,
    rotation_euler,
)

AXES = np.eye(3)
PAIRS = [("parallel", 1.0), ("antiparallel", -1.0)]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def assert_rotation(rot: np.ndarray, atol: float = 1e-13) -> None:
    np.testing.assert_allclose(rot @ np.swapaxes(rot, -1, -2), np.broadcast_to(np.eye(3), rot.shape), rtol=0, atol=atol)
    np.testing.assert_allclose(np.linalg.det(rot), 1, rtol=0, atol=atol)


class TestRotation:
    def test_equals_that_of_e3x(self, library: Library, rng):
        axis, angle = rng.normal(size=(10, 3)), rng.normal(size=10)
        expected = jax.jit(e3x.so3.rotation)(axis, angle)
        actual = rotation(library.array(axis), library.array(angle))
        assert library.owns(actual)
        np.testing.assert_allclose(library.numpy(actual), expected, rtol=0, atol=1e-13)

    def test_turns_row_vectors_counter_clockwise(self):
        quarter = [rotation(axis, np.pi / 2) for axis in AXES]
        for i in range(3):
            np.testing.assert_allclose(AXES[(i + 1) % 3] @ quarter[i], AXES[(i + 2) % 3], rtol=0, atol=1e-15)

    def test_angle_and_axis_broadcast(self, library, compiled, rng):
        axis, angle = library.array(rng.normal(size=(4, 1, 3))), library.array(rng.normal(size=5))
        assert tuple(compiled(rotation)(axis, angle).shape) == (4, 5, 3, 3)
        assert tuple(rotation(axis[0, 0, ...], 1).shape) == (3, 3)

    def test_zero_axis_is_the_identity_with_finite_derivatives(self):
        np.testing.assert_array_equal(rotation(np.zeros(3), 0.7), np.eye(3))
        for order in (jax.jacfwd, lambda f: jax.jacfwd(jax.jacrev(f))):
            assert np.isfinite(jax.jit(order(lambda axis: rotation(axis, 0.7)))(jnp.zeros(3))).all()

    def test_dtype_is_kept(self, library: Library):
        assert rotation(library.array(np.ones(3), "float32"), 0.5).dtype == library.array(0.0, "float32").dtype

    def test_bad_input_is_refused(self, library: Library):
        with pytest.raises(ValueError, match=r"expected axis of shape \(..., 3\), got \(4, 2\)"):
            rotation(library.array(np.ones((4, 2))), 0.1)
        with pytest.raises(TypeError, match="expected axis to be a floating-point array"):
            rotation(library.array(np.ones(3), "int32"), 0.1)
        with pytest.raises(TypeError, match="list"):
            rotation([1.0, 0.0, 0.0], 0.1)


class TestAlignmentRotation:
    def test_equals_that_of_e3x(self, library, compiled, rng):
        u, v = rng.normal(size=(2, 20, 3))
        expected = jax.jit(e3x.so3.alignment_rotation)(u, v)
        actual = library.numpy(compiled(alignment_rotation)(library.array(u), library.array(v)))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    @pytest.mark.parametrize("distance", [0.0, 1e-20, 1e-16, 1e-15, 1e-12, 1e-8, 1e-4, 1.0])
    def test_turns_u_to_v_orthogonally_however_close_they_are(self, library, compiled, rng, sign, distance):
        u = np.concatenate([rng.normal(size=(20, 3)), AXES, np.ones((1, 3)), -np.ones((1, 3))])
        v = sign * u + distance * rng.normal(size=u.shape)
        rot = library.numpy(compiled(alignment_rotation)(library.array(u), library.array(v)))
        assert_rotation(rot)
        np.testing.assert_allclose((unit(u)[:, None] @ rot)[:, 0], unit(v), rtol=0, atol=1e-14)

    def test_rotations_of_a_batch_do_not_depend_on_each_other(self, rng):
        u = rng.normal(size=(20, 3))
        v = -u * np.where(np.arange(20) % 3, 1.0, -1.0)[:, None]
        alone = [alignment_rotation(*pair) for pair in zip(u, v)]
        np.testing.assert_allclose(alignment_rotation(u, v), alone, rtol=0, atol=1e-15)

    def test_angle_is_the_smallest(self, rng):
        u, v = rng.normal(size=(2, 20, 3))
        trace = np.trace(alignment_rotation(u, v), axis1=-2, axis2=-1)
        np.testing.assert_allclose((trace - 1) / 2, np.sum(unit(u) * unit(v), axis=-1), rtol=0, atol=1e-13)

    def test_derivatives_are_finite_for_all_vectors(self):
        u = jnp.asarray([1.0, 0.0, 0.0])
        v = jnp.asarray([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        first = jax.jacrev(alignment_rotation, argnums=(0, 1))
        second = jax.jacfwd(jax.jacfwd(alignment_rotation, argnums=1), argnums=1)
        derivatives = jax.jit(jax.vmap(lambda v: (first(u, v), second(u, v))))(v)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(derivatives))

    def test_single_vectors_give_a_single_matrix(self, library, compiled):
        u, v = library.array(AXES[0]), library.array(AXES[1])
        assert tuple(compiled(alignment_rotation)(u, v).shape) == (3, 3)

    def test_vectors_broadcast_and_dtype_is_kept(self, library, compiled):
        u, v = library.array(np.ones(3), "float32"), library.array(np.ones((4, 3)), "float32")
        rot = compiled(alignment_rotation)(u, v)
        assert tuple(rot.shape) == (4, 3, 3)
        assert rot.dtype == u.dtype

    def test_bad_input_is_refused(self):
        with pytest.raises(ValueError, match=r"expected v of shape \(..., 3\), got \(2,\)"):
            alignment_rotation(np.ones(3), np.ones(2))
        with pytest.raises(TypeError, match="expected u to be a floating-point array"):
            alignment_rotation(np.ones(3, dtype=int), np.ones(3))


class TestEulerAngles:
    def test_rotation_equals_that_of_e3x(self, library: Library, rng):
        angles = rng.normal(size=(3, 10))
        expected = e3x.so3.rotation_euler(*jnp.asarray(angles))
        actual = rotation_euler(*(library.array(angle) for angle in angles))
        assert library.owns(actual)
        np.testing.assert_allclose(library.numpy(actual), expected, rtol=0, atol=1e-13)

    def test_rotation_is_a_product_of_turns_about_x_y_and_z(self):
        product = rotation(AXES[0], 0.1) @ rotation(AXES[1], 0.2) @ rotation(AXES[2], 0.3)
        np.testing.assert_allclose(rotation_euler(0.1, 0.2, 0.3), product, rtol=0, atol=1e-15)

    def test_arrays_and_numbers_mix(self, library: Library):
        rot = rotation_euler(0, library.array(np.ones((2, 1)), "float32"), library.array(np.ones(3), "float32"))
        assert tuple(rot.shape) == (2, 3, 3, 3)
        assert rot.dtype == library.array(0.0, "float32").dtype

    def test_angles_equal_those_of_e3x(self, library: Library, rng):
        rot = random_rotation(rng, num=10)
        expected = e3x.so3.euler_angles_from_rotation(jnp.asarray(rot))
        for actual, angle in zip(euler_angles_from_rotation(library.array(rot)), expected):
            np.testing.assert_allclose(library.numpy(actual), angle, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    @pytest.mark.parametrize("distance", [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
    def test_angles_give_the_rotation_again_also_close_to_the_poles(self, rng, sign, distance):
        a, c = rng.normal(size=(2, 10))
        rot = rotation_euler(a, sign * (np.pi / 2 - distance), c)
        np.testing.assert_allclose(rotation_euler(*euler_angles_from_rotation(rot)), rot, rtol=0, atol=1e-14)

    def test_third_angle_is_zero_at_the_poles(self, library: Library, rng):
        a, c = rng.normal(size=(2, 10))
        for b in (np.pi / 2, -np.pi / 2):
            angles = euler_angles_from_rotation(library.array(rotation_euler(a, b, c)))
            np.testing.assert_array_equal(library.numpy(angles[2]), 0.0)
            np.testing.assert_allclose(library.numpy(angles[1]), b, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("b", [0.0, 0.3, np.pi / 2, -np.pi / 2])
    def test_derivatives_are_finite(self, b):
        jacobian = jax.jit(jax.jacrev(euler_angles_from_rotation))(jnp.asarray(rotation_euler(0.2, b, 0.4)))
        assert all(np.isfinite(j).all() for j in jacobian)

    def test_bad_input_is_refused(self, library: Library):
        with pytest.raises(ValueError, match=r"expected rot of shape \(..., 3, 3\), got \(3,\)"):
            euler_angles_from_rotation(library.array(np.ones(3)))
        with pytest.raises(TypeError, match="floating-point"):
            rotation_euler(library.array(np.ones(3), "int32"), 0.0, 0.0)


class TestRandomRotation:
    @pytest.fixture(params=["numpy", "jax", "torch"])
    def generator(self, request):
        make = {"numpy": np.random.default_rng, "jax": jax.random.key, "torch": torch.Generator().manual_seed}
        return make[request.param](0)

    def test_matrices_are_rotations_of_the_shape_asked_for(self, generator):
        for num, shape in ((1, (3, 3)), (5, (5, 3, 3))):
            rot = random_rotation(generator, num=num)
            assert tuple(rot.shape) == shape
            assert_rotation(np.asarray(rot), 1e-5)

    @pytest.mark.parametrize("perturbation", [1.0, 0.3, 0.0])
    def test_same_key_draws_the_rotations_of_e3x(self, perturbation):
        key = jax.random.PRNGKey(3)
        expected = e3x.so3.random_rotation(key, perturbation, num=10)
        actual = random_rotation(key, perturbation, num=10)
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)

    def test_no_perturbation_is_the_identity(self, rng):
        np.testing.assert_array_equal(random_rotation(rng, 0.0), np.eye(3))

    def test_perturbations_out_of_range_are_clipped(self):
        for p, clipped in ((1.5, 1.0), (-1, 0.0)):
            actual, expected = (random_rotation(np.random.default_rng(0), x, num=2) for x in (p, clipped))
            np.testing.assert_array_equal(actual, expected)

    def test_every_rotation_may_have_its_own_perturbation(self, generator):
        library = backend_of(random_rotation(generator)).xp
        rot = np.asarray(random_rotation(generator, library.asarray([0.0, 0.25, 0.5]), num=3))
        angles = np.arccos(np.clip((np.trace(rot, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
        assert (angles <= np.asarray([1e-6, np.pi / 4, np.pi / 2])).all()

    def test_perturbation_bounds_the_angle(self, rng):
        rot = random_rotation(rng, 0.25, num=200)
        angles = np.arccos((np.trace(rot, axis1=-2, axis2=-1) - 1) / 2)
        assert np.pi / 5 < angles.max() <= np.pi / 4

    def test_rotated_vectors_are_uniformly_distributed(self, rng):
        z = random_rotation(rng, num=4000)[:, 2, 2]
        assert abs(z.mean()) < 0.05
        assert abs((z**2).mean() - 1 / 3) < 0.02

    def test_keys_may_be_traced_and_mapped(self):
        keys = jax.random.split(jax.random.key(0), 3)
        rot = jax.jit(jax.vmap(lambda key: random_rotation(key, 0.5)))(keys)
        np.testing.assert_allclose(rot, [random_rotation(key, 0.5) for key in keys], rtol=0, atol=1e-12)

    def test_perturbation_may_be_traced(self):
        draw = jax.jit(lambda p: random_rotation(jax.random.key(0), p, num=2))
        for p in (0.0, 0.5, 1.0):
            np.testing.assert_allclose(draw(p), random_rotation(jax.random.key(0), p, num=2), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(draw(7.0), draw(1.0))

    def test_dtype_is_that_asked_for(self):
        assert random_rotation(np.random.default_rng(0), dtype=np.float32).dtype == np.float32
        assert random_rotation(torch.Generator(), 0.5, dtype=torch.float64).dtype == torch.float64
        assert random_rotation(jax.random.key(0), jnp.asarray(0.5), dtype=jnp.float32).dtype == jnp.float32

    def test_bad_input_is_refused(self):
        with pytest.raises(ValueError, match="expected num to be an integer >= 0, got -1"):
            random_rotation(np.random.default_rng(0), num=-1)
        with pytest.raises(TypeError, match="Generator"):
            random_rotation(0)
