"""The assertions that are offered to users."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import nn
from e3any.testing import assert_equivariant, assert_parity, equivariance_error, to_numpy


def test_equal_arrays_of_all_libraries_pass(library, rng):
    x = rng.normal(size=(3, 4))
    for dtype in ("float64", "float32", "int32", "bool"):
        assert_parity(library.array(x, dtype), x.astype(dtype), dtype)


@pytest.mark.parametrize("x", [jnp.asarray([1.5, 2.0], jnp.bfloat16), torch.asarray([1.5, 2.0]).bfloat16()])
def test_bfloat16_is_read_as_float32(x):
    assert to_numpy(x).dtype == np.float32
    assert_parity(x, np.asarray([1.5, 2.0]), "bfloat16")


def test_arrays_that_numpy_does_not_know_are_read_by_dlpack():
    class Exported:
        """An array with no way to NumPy but the one of the standard."""

        dtype = "float64"

        def __dlpack__(self, **options):
            return np.arange(3.0).__dlpack__(**options)

        def __dlpack_device__(self):
            return np.zeros(1).__dlpack_device__()

    assert_parity(Exported(), np.arange(3.0), "float64")


@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-11), ("float32", 1e-4)])
def test_error_above_the_tolerance_of_the_dtype_fails(dtype, error):
    x = np.asarray([1.0, 100.0], dtype)
    assert_parity(x + np.asarray([error, 0], dtype), x)
    with pytest.raises(AssertionError, match="of the largest value 100, got "):
        assert_parity(x + np.asarray([100 * error, 0], dtype), x)
    assert_parity(x + np.asarray([100 * error, 0], dtype), x, rtol=2 * error)


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (np.ones(3), r"expected shape \(2,\), got \(3,\)"),
        (np.ones(2, int), "kind of float64, got int64"),
        (np.asarray([1.0, np.nan]), "expected 2 finite values, got 1"),
        ([np.ones(2)], r"expected arrays at \[''\], got \['/0'\]"),
        (np.ones(2, np.float32), "expected dtype float64, got float32"),
    ],
)
def test_difference_in_structure_fails(actual, message):
    with pytest.raises(AssertionError, match=message):
        assert_parity(actual, np.ones(2), "float64" if getattr(actual, "dtype", None) == np.float32 else None)


def test_zeros_must_be_met_exactly():
    with pytest.raises(AssertionError):
        assert_parity(np.asarray([1e-300]), np.zeros(1))


def test_infinities_must_have_the_same_sign():
    assert_parity(np.asarray([np.inf, np.nan, 1.0]), np.asarray([np.inf, np.nan, 1.0]))
    with pytest.raises(AssertionError):
        assert_parity(np.asarray([-np.inf]), np.asarray([np.inf]))


def test_nested_arrays_are_compared_one_by_one():
    assert_parity({"a": [np.ones(2)]}, {"a": [torch.ones(2)]})
    with pytest.raises(AssertionError, match="at /a/1"):
        assert_parity({"a": (np.ones(2), np.zeros(2))}, {"a": [np.ones(2), np.ones(2)]})


def test_function_that_commutes_with_rotations_passes(library, rng):
    x = library.array(rng.normal(size=(5, 2, 9, 4)))
    r = library.array(rng.normal(size=(5, 3)))
    assert_equivariant(nn.silu, x)
    assert_equivariant(lambda r: r * 2.0, r, kinds=["vectors"], output="vectors")

    def invariant(x, r):
        return x[:, 0, 0, :] * library.xp.sum(r * r, axis=-1)[:, None]

    assert_equivariant(invariant, x, r, kinds=["features", "vectors"], output="invariant")


def test_function_that_breaks_a_symmetry_fails(rng):
    x = rng.normal(size=(5, 2, 9, 4))
    for function in (np.sin, lambda x: x[:, ::-1], lambda x: x[..., ::-1, :]):
        with pytest.raises(AssertionError, match="largest value"):
            assert_equivariant(function, x)


def test_wrong_kinds_are_refused(rng):
    x = rng.normal(size=(5, 2, 9, 4))
    with pytest.raises(ValueError, match="expected 1 kinds, one for each input, got 2"):
        assert_equivariant(nn.silu, x, kinds=["features", "features"])
    with pytest.raises(ValueError, match="expected a kind 'features'"):
        assert_equivariant(nn.silu, x, kinds=["feature"])
    with pytest.raises(ValueError, match="expected r of shape"):
        assert_equivariant(nn.silu, x, kinds=["vectors"])


def test_rotation_may_be_given(rng):
    x = rng.normal(size=(5, 3))
    quarter = np.asarray([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    options = {"kinds": ["vectors"], "output": "vectors"}
    # Commutes with the rotations of a cube alone.
    assert_equivariant(lambda x: x**3, x, **options, rotation=quarter)
    with pytest.raises(AssertionError, match="largest value"):
        assert_equivariant(lambda x: x**3, x, **options)
    with pytest.raises(ValueError, match=r"expected rotation of shape \(3, 3\), got \(3, 2\)"):
        assert_equivariant(lambda x: x, x, **options, rotation=quarter[:, :2])
    with pytest.raises(TypeError, match="expected rotation to be a floating-point array, got dtype int64"):
        assert_equivariant(lambda x: x, x, **options, rotation=np.eye(3, dtype=int))


def test_error_of_equivariance_is_what_breaks_it_relative_to_the_largest_value(library, rng):
    x = library.array(rng.normal(size=(3, 1, 9, 2)))
    assert equivariance_error(lambda x: 2.0 * x, x) < 1e-14
    constant = library.array(np.zeros((1, 9, 1)) + np.eye(9)[:, 1:2])
    error = equivariance_error(lambda x: x + 1e-3 * constant, x)
    assert 2e-4 < error < 2e-3
    assert equivariance_error(lambda x: 0.0 * x, x) == 0
    assert equivariance_error(lambda r: r, x[:, 0, :3, 0], kinds=["vectors"], output="vectors") < 1e-15
