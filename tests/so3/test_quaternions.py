"""Quaternions, axes and angles of rotations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from scipy.spatial.transform import Rotation

from e3any.so3 import (
    axis_angle_from_quaternion,
    axis_angle_from_rotation,
    compose_quaternions,
    euler_angles_from_quaternion,
    euler_angles_from_rotation,
    invert_quaternion,
    quaternion_from_axis_angle,
    quaternion_from_euler,
    quaternion_from_rotation,
    random_rotation,
    rotation,
    rotation_euler,
    rotation_from_quaternion,
)
from e3any.testing import assert_parity

AXES = np.eye(3)
# The identity, half turns about all kinds of axes, quarter turns, gimbal lock, and what is next to them.
SPECIAL = np.concatenate(
    [
        np.eye(3)[None],
        rotation(np.concatenate([AXES, -AXES, [[1.0, 1.0, 0.0], [1.0, -1.0, 1.0], [0.0, -1.0, 2.0]]]), np.pi),
        rotation(AXES, np.pi / 2),
        rotation(AXES, 1e-9),
        rotation(AXES, np.pi - 1e-9),
        rotation(np.asarray([1.0, 1.0, 1.0]), np.asarray([1e-4, 2 * np.pi / 3, -2 * np.pi / 3])),
    ]
)


@pytest.fixture
def rotations(rng):
    return np.concatenate([random_rotation(rng, num=20), SPECIAL])


@pytest.fixture
def quaternions(rng):
    q = rng.normal(size=(20, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def test_rotations_are_those_of_scipy_for_row_vectors(quaternions):
    expected = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix()
    assert_parity(rotation_from_quaternion(quaternions), expected.swapaxes(-1, -2))


def test_rotations_are_those_of_axis_and_angle(rng):
    axis, angle = rng.normal(size=(10, 3)), rng.normal(size=10)
    assert_parity(rotation_from_quaternion(quaternion_from_axis_angle(axis, angle)), rotation(axis, angle))


def test_length_and_sign_of_quaternions_do_not_count(quaternions):
    for factor in (-1.0, 1e-3, 1e100):
        assert_parity(rotation_from_quaternion(factor * quaternions), rotation_from_quaternion(quaternions))
    np.testing.assert_array_equal(rotation_from_quaternion(np.zeros(4)), np.eye(3))


def test_quaternions_give_the_rotations_again(library: Library, compiled, rotations):
    q = compiled(quaternion_from_rotation)(library.array(rotations))
    assert library.owns(q)
    assert_parity(np.linalg.norm(library.numpy(q), axis=-1), np.ones(len(rotations)))
    assert library.numpy(q)[:, 0].min() >= 0
    assert_parity(library.numpy(compiled(rotation_from_quaternion)(q)), rotations)


def test_axes_and_angles_give_the_rotations_again(library: Library, compiled, rotations):
    axis, angle = compiled(axis_angle_from_rotation)(library.array(rotations))
    again = library.numpy(compiled(rotation)(axis, angle))
    assert_parity(again, rotations)
    assert library.numpy(angle).min() >= 0
    assert library.numpy(angle).max() <= np.pi


def test_small_angles_keep_their_digits():
    for angle in (1e-12, 1e-6, 0.1, np.pi - 1e-6):
        axis, found = axis_angle_from_quaternion(quaternion_from_axis_angle(AXES, angle))
        assert_parity(axis, AXES)
        assert_parity(found, np.full(3, angle))


def test_angles_beyond_a_half_turn_are_turned_back():
    axis, angle = axis_angle_from_quaternion(quaternion_from_axis_angle(AXES[2], 1.5 * np.pi))
    assert_parity(axis, -AXES[2])
    assert_parity(angle, np.asarray(0.5 * np.pi))


def test_half_turns_have_a_positive_largest_component():
    axes = np.asarray([[2.0, -3.0, 6.0], [6.0, -2.0, 3.0], [0.0, 7.0, 0.0]]) / 7
    half_turns = 2 * axes[:, :, None] * axes[:, None, :] - np.eye(3)
    assert_parity(quaternion_from_rotation(half_turns)[:, 1:], axes)


def test_identity_has_angle_zero_about_no_axis():
    axis, angle = axis_angle_from_rotation(np.eye(3))
    np.testing.assert_array_equal(axis, 0.0)
    assert angle == 0.0


def test_euler_angles_are_those_of_rotation_matrices(library: Library, compiled, rng):
    angles = rng.normal(size=(3, 10))
    q = compiled(quaternion_from_euler)(*map(library.array, angles))
    assert_parity(library.numpy(rotation_from_quaternion(q)), rotation_euler(*angles))
    for actual, expected in zip(
        compiled(euler_angles_from_quaternion)(q), euler_angles_from_rotation(rotation_euler(*angles))
    ):
        assert_parity(library.numpy(actual), expected)


@pytest.mark.parametrize("b", [np.pi / 2, -np.pi / 2])
def test_euler_angles_at_the_poles_give_the_rotation_again(b):
    q = quaternion_from_euler(0.3, b, 0.4)
    assert_parity(quaternion_from_euler(*euler_angles_from_quaternion(q)), q)


def test_numbers_and_arrays_mix(library: Library):
    q = quaternion_from_euler(0.1, library.array(np.ones((2, 1)), "float32"), library.array(np.ones(3), "float32"))
    assert tuple(q.shape) == (2, 3, 4)
    assert tuple(quaternion_from_axis_angle(library.array(np.ones((4, 1, 3))), library.array(np.ones(5))).shape) == (
        4,
        5,
        4,
    )
    assert tuple(quaternion_from_axis_angle(library.array(np.ones(3)), 1).shape) == (4,)


class TestComposition:
    def test_composed_quaternion_rotates_by_the_first_then_the_second(self, library, compiled, rng, quaternions):
        r = rng.normal(size=3)
        p, q = quaternions[:10], quaternions[10:]
        both = compiled(compose_quaternions)(library.array(p), library.array(q))
        expected = (r @ rotation_from_quaternion(p))[:, None] @ rotation_from_quaternion(q)
        assert_parity(r @ rotation_from_quaternion(library.numpy(both)), expected[:, 0])

    def test_product_of_lengths_is_the_length_and_arguments_broadcast(self, rng):
        p, q = rng.normal(size=(2, 1, 4)), rng.normal(size=(3, 4))
        both = compose_quaternions(p, q)
        assert_parity(np.linalg.norm(both, axis=-1), np.linalg.norm(p, axis=-1) * np.linalg.norm(q, axis=-1))

    def test_product_with_the_inverse_is_one(self, library: Library, quaternions):
        q = library.array(quaternions)
        one = compose_quaternions(q, invert_quaternion(q))
        assert_parity(library.numpy(one), np.tile(np.eye(4)[0], (20, 1)))


@pytest.mark.parametrize(
    "function",
    [quaternion_from_rotation, axis_angle_from_rotation, lambda rot: quaternion_from_rotation(rot)[..., 1:] ** 2],
)
def test_derivatives_by_rotations_are_finite_everywhere(function):
    second = jax.jit(jax.vmap(jax.jacfwd(jax.jacrev(function))))(jnp.asarray(SPECIAL))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(second))


@pytest.mark.parametrize(
    "function", [rotation_from_quaternion, axis_angle_from_quaternion, euler_angles_from_quaternion]
)
def test_derivatives_by_quaternions_are_finite_everywhere(function):
    q = np.concatenate([np.zeros((1, 4)), np.eye(4), -np.eye(4), [[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, -1.0, 0.0]]])
    derivatives = jax.jit(jax.vmap(jax.jacrev(function)))(jnp.asarray(q))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(derivatives))


def test_derivative_of_the_quaternion_is_that_of_small_rotations():
    def quaternion(angle):
        return quaternion_from_rotation(rotation(jnp.asarray(AXES[0]), angle))

    for angle in (0.0, 1.0, np.pi - 0.1):
        expected = np.asarray([-np.sin(angle / 2), np.cos(angle / 2), 0.0, 0.0]) / 2
        assert_parity(jax.jacfwd(quaternion)(angle), expected)


def test_dtype_is_kept(library: Library, compiled):
    rot, q = library.array(np.eye(3), "float32"), library.array(np.ones((2, 4)), "float32")
    for x, functions in (
        (rot, [quaternion_from_rotation, axis_angle_from_rotation]),
        (q, [rotation_from_quaternion, axis_angle_from_quaternion, invert_quaternion, euler_angles_from_quaternion]),
    ):
        for function in functions:
            assert all(leaf.dtype == x.dtype for leaf in jax.tree.leaves(compiled(function)(x)))
    assert rotation_from_quaternion(torch.ones(4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert jax.eval_shape(quaternion_from_rotation, jnp.eye(3, dtype=jnp.bfloat16)).dtype == jnp.bfloat16


def test_bad_input_is_refused(library: Library):
    three, four = library.array(np.ones(3)), library.array(np.ones(4))
    for function in (rotation_from_quaternion, axis_angle_from_quaternion, invert_quaternion):
        with pytest.raises(ValueError, match=r"expected q of shape \(\.\.\., 4\), got \(3,\)"):
            function(three)
        with pytest.raises(TypeError, match="expected q to be a floating-point array"):
            function(library.array(np.ones(4), "int32"))
        with pytest.raises(TypeError, match="got list"):
            function([1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"expected p of shape \(\.\.\., 4\), got \(3,\)"):
        compose_quaternions(three, four)
    with pytest.raises(ValueError, match=r"expected rot of shape \(\.\.\., 3, 3\), got \(3,\)"):
        quaternion_from_rotation(three)
    with pytest.raises(ValueError, match=r"expected axis of shape \(\.\.\., 3\), got \(4,\)"):
        quaternion_from_axis_angle(four, 1.0)
