"""Embeddings."""

from __future__ import annotations

from functools import partial

import e3any_flax
import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layer_cases import (
    KEY,
    assert_dtypes_are_kept,
    assert_equals_e3x,
    assert_libraries_agree,
    assert_transformations_agree,
)

from e3any import nn


@pytest.mark.parametrize(("shape", "dtype"), [((), "float64"), ((2, 3), "float32")])
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, shape, dtype):
    assert_equals_e3x(nn.Embed(5, 3), rng, (np.asarray(rng.integers(0, 5, shape)),), dtype=dtype)


def test_parameter_dtype_is_that_asked_for():
    for layer in (nn.Embed(5, 3, param_dtype="float64"), nn.Embed(5, 3, dtype="float64")):
        ours = e3any_flax.to_linen(layer).init_with_output(KEY, jnp.arange(3))
        theirs = e3x.nn.Embed(5, 3, layer.dtype, layer.param_dtype).init_with_output(KEY, jnp.arange(3))
        jax.tree.map(partial(np.testing.assert_array_max_ulp, maxulp=2), ours, theirs)
        assert ours[0].dtype == theirs[0].dtype == jnp.float64


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_libraries_agree(rng, dtype):
    assert_libraries_agree(nn.Embed(5, 3), rng, (rng.integers(0, 5, (2, 4)).astype(dtype),))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.Embed(5, 3), rng, (rng.integers(0, 5, (4,)),))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.Embed(5, 3), rng, (rng.integers(0, 5, (4,)),))


def test_rows_are_looked_up_and_numbers_out_of_range_give_zeros(library, rng):
    table = rng.normal(size=(5, 1, 1, 3))
    y = nn.Embed(5, 3)({"embedding": library.array(table)}, library.array(np.asarray([4, 0, 5, -1])))
    np.testing.assert_array_equal(library.numpy(y), np.concatenate([table[[4, 0]], np.zeros((2, 1, 1, 3))]))


def test_inputs_that_are_no_integers_are_refused(library):
    for dtype in ("float32", "bool"):
        with pytest.raises(ValueError, match="expected integer inputs, got"):
            nn.Embed(5, 3)({}, library.array(np.ones(3), dtype))


@pytest.mark.parametrize("number", [-1, 2.0, True])
def test_sizes_that_are_no_integers_or_negative_are_refused(number):
    for sizes in ((number, 3), (3, number)):
        with pytest.raises(ValueError, match="to be an integer >= 0, got"):
            nn.Embed(*sizes)


def test_missing_and_misshapen_parameters_are_refused(library):
    x = library.array(np.asarray([0, 1]))
    with pytest.raises(ValueError, match="expected a parameter 'embedding', got a tree that has table"):
        nn.Embed(5, 3)({"table": x}, x)
    with pytest.raises(ValueError, match=r"expected parameter 'embedding' of shape \(5, 1, 1, 3\), got \(5, 3\)"):
        nn.Embed(5, 3)({"embedding": library.array(np.ones((5, 3)))}, x)
