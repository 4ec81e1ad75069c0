"""Traceless symmetric tensors and irreps."""

from __future__ import annotations

import itertools

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
    irreps_to_tensor,
    is_traceless_symmetric,
    random_rotation,
    solid_harmonics,
    tensor_to_irreps,
    wigner_d,
)
from e3any.testing import assert_parity


def power(r: np.ndarray, rank: int) -> np.ndarray:
    """Return r ⊗ ... ⊗ r."""
    x = np.ones(())
    for _ in range(rank):
        x = np.multiply.outer(x, r)
    return x


def rotated(x: np.ndarray, rot: np.ndarray, rank: int) -> np.ndarray:
    """Multiply every index, as a row vector, by a rotation."""
    for _ in range(rank):
        x = np.moveaxis(x, -rank, -1) @ rot
    return x


@pytest.mark.parametrize(
    ("cartesian_order", "normalization"), [(True, "racah"), (False, "schmidt"), (True, "4pi"), (False, "orthonormal")]
)
def test_tensors_and_irreps_are_those_of_e3x(rng, cartesian_order, normalization):
    for degree in range(5):
        y = rng.normal(size=(2, 2 * degree + 1))
        options = {"degree": degree, "cartesian_order": cartesian_order, "normalization": normalization}
        expected = jax.jit(lambda y, o=options: e3x.so3.irreps_to_tensor(y, **o))(y)
        assert_parity(irreps_to_tensor(y, **options), expected)
        again = jax.jit(lambda x, o=options: e3x.so3.tensor_to_irreps(x, **o))(expected)
        assert_parity(tensor_to_irreps(np.asarray(expected), **options), again)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5, 8])
def test_irreps_of_powers_of_a_vector_are_its_solid_harmonics(rng, degree):
    r = rng.normal(size=3)
    expected = solid_harmonics(r, degree)[degree_slice(degree)]
    x = power(r, degree) if degree > 0 else np.ones(1)
    assert_parity(tensor_to_irreps(x, degree), expected)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4, 12])
@pytest.mark.parametrize("cartesian_order", [True, False])
def test_tensors_are_traceless_and_symmetric_and_give_their_irreps_again(rng, degree, cartesian_order):
    y = rng.normal(size=(2, 2 * degree + 1))[: 1 if degree > 8 else 2]
    x = irreps_to_tensor(y, degree, cartesian_order, "4pi")
    assert x.shape == (len(y), *((3,) * degree or (1,)))
    assert is_traceless_symmetric(x, degree, rtol=1e-12, atol=1e-12)
    assert_parity(tensor_to_irreps(x, degree, cartesian_order, "4pi"), y)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_rotating_the_tensor_rotates_its_irreps(rng, degree):
    x, rot = rng.normal(size=(2, *(3,) * degree)), random_rotation(rng)
    block = wigner_d(rot, degree)[degree_slice(degree), degree_slice(degree)]
    assert_parity(tensor_to_irreps(rotated(x, rot, degree), degree), tensor_to_irreps(x, degree) @ block)


def test_part_that_is_not_traceless_and_symmetric_is_left_out(rng):
    x = rng.normal(size=(3, 3, 3))
    part = irreps_to_tensor(tensor_to_irreps(x, 3), 3)
    assert is_traceless_symmetric(part, 3)
    assert abs(np.sum((x - part) * part)) < 1e-12


@pytest.mark.parametrize("cartesian_order", [True, False])
def test_numbers_are_the_same_in_all_libraries(library: Library, compiled, rng, cartesian_order):
    y = rng.normal(size=(2, 1, 7))
    x = irreps_to_tensor(y, 3, cartesian_order)
    tensors = compiled(lambda y: irreps_to_tensor(y, 3, cartesian_order))(library.array(y))
    assert library.owns(tensors)
    assert_parity(library.numpy(tensors), x)
    assert_parity(library.numpy(compiled(lambda x: tensor_to_irreps(x, 3, cartesian_order))(library.array(x))), y)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_shape_and_dtype_are_kept(library: Library, compiled, degree):
    for dtype in ("float32", "float64"):
        y = library.array(np.zeros((0, 2, 2 * degree + 1)), dtype)
        x = compiled(lambda y: irreps_to_tensor(y, degree, cartesian_order=False))(y)
        assert tuple(x.shape) == (0, 2, *((3,) * degree or (1,)))
        again = compiled(lambda x: tensor_to_irreps(x, degree, cartesian_order=False))(x)
        assert tuple(again.shape) == tuple(y.shape)
        assert x.dtype == again.dtype == y.dtype


def test_bfloat16_stays_bfloat16():
    y = torch.ones(5, dtype=torch.bfloat16)
    assert irreps_to_tensor(y, 2).dtype == tensor_to_irreps(irreps_to_tensor(y, 2), 2).dtype == torch.bfloat16
    assert jax.eval_shape(lambda y: irreps_to_tensor(y, 2), jnp.ones(5, jnp.bfloat16)).dtype == jnp.bfloat16


def test_defaults_are_those_of_the_settings(rng):
    y = rng.normal(size=7)
    with Config.use(cartesian_order=False, normalization="4pi"):
        x, again = irreps_to_tensor(y, 3), tensor_to_irreps(irreps_to_tensor(y, 3), 3)
    assert_parity(x, irreps_to_tensor(y, 3, False, "4pi"))
    assert_parity(again, y)


class TestIsTracelessSymmetric:
    @pytest.mark.parametrize("degree", [2, 3, 4])
    def test_answer_is_that_of_e3x(self, rng, degree):
        good = irreps_to_tensor(rng.normal(size=(2, 2 * degree + 1)), degree)
        trace = np.zeros((3,) * degree)
        for axes in itertools.combinations(range(degree), 2):
            rest = [axis for axis in range(degree) if axis not in axes]
            term = np.multiply.outer(np.eye(3), power(np.ones(3), degree - 2))
            trace = trace + np.moveaxis(term, range(degree), [*axes, *rest])
        one = np.zeros((3,) * degree)
        one[(0,) * (degree - 1) + (1,)] = 1.0
        for x in (good, good + 1e-3 * trace, good + 1e-3 * one, good + 1e-7 * one):
            assert bool(is_traceless_symmetric(x, degree)) == bool(e3x.so3.is_traceless_symmetric(x, degree))
        assert is_traceless_symmetric(good, degree)
        assert not is_traceless_symmetric(good + 1e-3 * trace, degree)
        assert not is_traceless_symmetric(good + 1e-3 * one, degree)

    def test_tolerances_are_relative_and_absolute(self):
        x = np.asarray([[1.0, 100.0, 0.0], [101.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
        assert not is_traceless_symmetric(x, 2)
        assert not is_traceless_symmetric(x, 2, rtol=0.0099, atol=0.0)
        assert is_traceless_symmetric(x, 2, rtol=0.011, atol=0.0)
        assert is_traceless_symmetric(x, 2, rtol=0.0, atol=1.5)
        assert not is_traceless_symmetric(np.diag([1.0, 1.0, -1.9]), 2, rtol=1.0)

    def test_every_library_gives_an_array_also_when_compiled(self, library: Library, compiled):
        for degree, shape in ((0, (2, 1)), (1, (3,)), (2, (3, 3))):
            for dtype in ("float32", "float64"):
                x = library.array(np.zeros(shape), dtype)
                answer = compiled(lambda x, degree=degree: is_traceless_symmetric(x, degree))(x)
                assert library.owns(answer)
                assert bool(answer)
        assert not bool(compiled(lambda x: is_traceless_symmetric(x, 2))(library.array(np.eye(3))))


def test_derivatives_are_finite(rng):
    x = jnp.asarray(rng.normal(size=(3, 3)))
    jacobian = jax.jacrev(lambda x: tensor_to_irreps(x, 2))(x)
    assert_parity(np.tensordot(jacobian, x), np.asarray(tensor_to_irreps(x, 2)))


@pytest.mark.parametrize("function", [tensor_to_irreps, is_traceless_symmetric])
def test_tensors_of_another_shape_are_refused(library: Library, function):
    for shape, degree, expected in (((3, 2), 2, r"\.\.\., 3, 3"), ((), 0, r"\.\.\., 1"), ((3,), 2, r"\.\.\., 3, 3")):
        with pytest.raises(ValueError, match=rf"expected x of shape \({expected}\) for degree {degree}, got"):
            function(library.array(np.ones(shape)), degree)
    with pytest.raises(ValueError, match="expected degree to be an integer >= 0, got -1"):
        function(library.array(np.ones(3)), -1)
    with pytest.raises(TypeError, match="expected x to be a floating-point array"):
        function(library.array(np.ones(3), "int32"), 1)
    with pytest.raises(TypeError, match="expected an array of an array API library, got list"):
        function([1.0, 2.0, 3.0], 1)


def test_irreps_of_another_shape_are_refused(library: Library):
    with pytest.raises(ValueError, match=r"expected x of shape \(\.\.\., 5\) for degree 2, got \(4, 3\)"):
        irreps_to_tensor(library.array(np.ones((4, 3))), 2)
    with pytest.raises(ValueError, match=r"expected degree to be an integer >= 0, got 1\.0"):
        irreps_to_tensor(library.array(np.ones(3)), 1.0)
    with pytest.raises(ValueError, match="expected a normalization of"):
        irreps_to_tensor(library.array(np.ones(3)), 1, normalization="no")
    with pytest.raises(TypeError, match="expected x to be a floating-point array"):
        irreps_to_tensor(library.array(np.ones(3), "int32"), 1)
    with pytest.raises(TypeError, match="expected an array of an array API library, got list"):
        irreps_to_tensor([1.0, 2.0, 3.0], 1)
