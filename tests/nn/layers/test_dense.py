"""Linear maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layer_cases import (
    assert_dtypes_are_kept,
    assert_equals_e3x,
    assert_libraries_agree,
    assert_transformations_agree,
    features,
    random_parameters,
    torch_gradient,
    tree_map,
)

from e3any import nn
from e3any.testing import assert_equivariant, assert_parity


@pytest.mark.parametrize(
    ("max_degree", "parities", "use_bias"), [(0, 1, True), (1, 2, False), (2, 1, False), (4, 2, True)]
)
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, max_degree, parities, use_bias):
    x = features(rng, 2, 3, parities, (max_degree + 1) ** 2, 3)
    assert_equals_e3x(nn.Dense(4, use_bias), rng, (x,))


def test_float32_is_as_precise_as_e3x(rng):
    assert_equals_e3x(nn.Dense(4), rng, (features(rng, 5, 2, 16, 3),), dtype="float32")


def test_wide_layers_are_those_of_e3x(rng):
    assert_equals_e3x(nn.Dense(64), rng, (features(rng, 2, 2, 4, 64),))


@pytest.mark.parametrize("lead", [(), (0,), (2, 1)])
def test_leading_axes_are_a_batch(library, rng, lead):
    x = features(rng, *lead, 2, 9, 3)
    for layer in (nn.Dense(4), nn.Dense(2000)):
        params = tree_map(library.array, random_parameters(layer, rng, (x,), {}))
        y = layer(params, library.array(x))
        assert tuple(y.shape) == (*lead, 2, 9, layer.features)


def test_narrow_and_wide_maps_are_the_same_function(rng):
    # Kernels from a certain size on are multiplied degree by degree: columns of the wide one are the narrow one.
    x = features(rng, 3, 2, 9, 8)
    params = random_parameters(nn.Dense(512), rng, (x,), {})
    narrow = tree_map(lambda w: w[..., :5], params)
    assert_parity(nn.Dense(512)(params, x)[..., :5], nn.Dense(5)(narrow, x))


@pytest.mark.parametrize("parities", [1, 2])
def test_libraries_agree(rng, parities):
    assert_libraries_agree(nn.Dense(4), rng, (features(rng, 2, 3, parities, 9, 3),))


def test_wide_layers_agree_between_libraries(rng):
    assert_libraries_agree(nn.Dense(64), rng, (features(rng, 2, 2, 4, 64),))


@pytest.mark.parametrize("size", [4, 2000])
@pytest.mark.parametrize("parities", [1, 2])
def test_layer_and_its_gradient_are_equivariant(rng, parities, size):
    x = features(rng, 5, parities, 16, 3)
    params = random_parameters(nn.Dense(size), rng, (x,), {})
    assert_equivariant(lambda x: nn.Dense(size)(params, x), x)
    params = tree_map(torch.from_numpy, params)
    assert_equivariant(torch_gradient(lambda x: nn.Dense(size)(params, x)), torch.from_numpy(x))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.Dense(2), rng, (features(rng, 2, 2, 4, 3),))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.Dense(4), rng, (features(rng, 2, 2, 9, 3),))


def test_dtype_of_the_computation_is_that_asked_for(library, rng):
    x = features(rng, 2, 2, 4, 3)
    params = tree_map(library.array, random_parameters(nn.Dense(4), rng, (x,), {}))
    y = nn.Dense(4, dtype="float32")(params, library.array(x))
    assert_parity(y, nn.Dense(4)(params, library.array(x)), "float32")


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 3), (0, 4, 3), (1, 5, 3), (1, 0, 3)])
def test_shapes_that_are_not_those_of_features_are_refused(library, shape):
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, feat"):
        nn.Dense(4)({}, library.array(np.ones(shape)))


@pytest.mark.parametrize("number", [-1, 2.0, True, "4"])
def test_number_of_features_that_is_no_integer_or_negative_is_refused(number):
    with pytest.raises(ValueError, match="expected features to be an integer >= 0, got"):
        nn.Dense(number)


def test_missing_and_misshapen_parameters_are_refused(library, rng):
    x = features(rng, 2, 1, 4, 3)
    params = tree_map(library.array, random_parameters(nn.Dense(4), rng, (x,), {}))
    x = library.array(x)
    with pytest.raises(ValueError, match=r"expected a parameter '1-/kernel', got a tree that has nothing there"):
        nn.Dense(4)({"0+": params["0+"]}, x)
    with pytest.raises(ValueError, match=r"expected a parameter '0\+/bias', got a tree that has kernel there"):
        nn.Dense(4)({**params, "0+": {"kernel": params["0+"]["kernel"]}}, x)
    with pytest.raises(ValueError, match=r"expected parameter '0\+/kernel' of shape \(3, 5\), got \(3, 4\)"):
        nn.Dense(5)(params, x)
