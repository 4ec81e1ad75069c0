"""Tensor products of two linear maps."""

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
    paths,
    random_parameters,
    torch_gradient,
    tree_map,
)

from e3any import nn
from e3any.testing import assert_equivariant, assert_parity


@pytest.mark.parametrize(
    ("parities", "max_degree", "layer"),
    [
        (1, 0, nn.TensorDense()),
        (2, 1, nn.TensorDense(4)),
        (1, 2, nn.TensorDense(4, max_degree=1, use_bias=False)),
        (2, 2, nn.TensorDense(2, max_degree=1, include_pseudotensors=False)),
        (1, 4, nn.TensorDense(2, max_degree=0)),
        (1, 1, nn.TensorDense(2, max_degree=2, cartesian_order=False)),
    ],
)
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, parities, max_degree, layer):
    assert_equals_e3x(layer, rng, (features(rng, 2, parities, (max_degree + 1) ** 2, 3),))


def test_float32_is_as_precise_as_e3x(rng):
    assert_equals_e3x(nn.TensorDense(4), rng, (features(rng, 3, 2, 4, 3),), dtype="float32", linear=True)


@pytest.mark.parametrize("parities", [1, 2])
def test_layer_is_the_product_of_both_halves_of_a_linear_map(library, rng, parities):
    x = features(rng, 3, parities, 9, 3)
    layer = nn.TensorDense(4, max_degree=3)
    params = tree_map(library.array, random_parameters(layer, rng, (x,), {}))
    x = library.array(x)
    both = nn.Dense(8)(params["dense"], x)
    assert_parity(layer(params, x), nn.Tensor(3)(params["tensor"], both[..., :4], both[..., 4:]))


def test_parameters_are_those_of_both_parts(rng):
    specs = nn.TensorDense(5, max_degree=1).parameters(features(rng, 2, 9, 3))
    names = ["0+", "1-", "2+", "0-", "1+", "2-"]
    assert set(paths(specs)) == {"dense.0+.bias", "tensor.kernel", *(f"dense.{name}.kernel" for name in names)}
    assert specs["dense"]["2-"]["kernel"].shape == (3, 10)
    assert specs["tensor"]["kernel"].shape == (2, 3, 2, 3, 2, 2, 5)


def test_output_has_as_many_features_as_the_input_by_default(library, rng):
    x = features(rng, 1, 4, 3)
    params = random_parameters(nn.TensorDense(), rng, (x,), {})
    assert tuple(nn.TensorDense()(tree_map(library.array, params), library.array(x)).shape) == (2, 4, 3)


@pytest.mark.parametrize("lead", [(), (0,), (2, 1)])
def test_leading_axes_are_a_batch(library, rng, lead):
    x = features(rng, *lead, 1, 4, 3)
    params = random_parameters(nn.TensorDense(2), rng, (x,), {})
    y = nn.TensorDense(2)(tree_map(library.array, params), library.array(x))
    assert tuple(y.shape) == (*lead, 2, 4, 2)


@pytest.mark.parametrize("parities", [1, 2])
def test_libraries_agree(rng, parities):
    assert_libraries_agree(nn.TensorDense(4), rng, (features(rng, 3, parities, 9, 3),))


@pytest.mark.parametrize("include_pseudotensors", [True, False])
@pytest.mark.parametrize("parities", [1, 2])
def test_layer_and_its_gradient_are_equivariant(rng, parities, include_pseudotensors):
    layer = nn.TensorDense(4, include_pseudotensors=include_pseudotensors)
    x = features(rng, 5, parities, 16, 3)
    params = random_parameters(layer, rng, (x,), {})
    assert_equivariant(lambda x: layer(params, x), x)
    params = tree_map(torch.from_numpy, params)
    assert_equivariant(torch_gradient(lambda x: layer(params, x)), torch.from_numpy(x))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.TensorDense(2), rng, (features(rng, 2, 1, 4, 3),))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.TensorDense(4), rng, (features(rng, 2, 2, 9, 3),))


def test_dtype_of_the_computation_is_that_asked_for(library, rng):
    x = features(rng, 2, 1, 4, 3)
    params = tree_map(library.array, random_parameters(nn.TensorDense(4), rng, (x,), {}))
    y = nn.TensorDense(4, dtype="float32")(params, library.array(x))
    assert_parity(y, nn.TensorDense(4)(params, library.array(x)), "float32")


@pytest.mark.parametrize("shape", [(4, 3), (3, 4, 3), (0, 4, 3), (1, 5, 3), (1, 0, 3)])
@pytest.mark.parametrize("layer", [nn.TensorDense(), nn.TensorDense(4)])
def test_shapes_that_are_not_those_of_features_are_refused(library, shape, layer):
    with pytest.raises(ValueError, match=r"expected inputs of shape \(\.\.\., 1 or 2, \(max_degree\+1\)\*\*2, feat"):
        layer({}, library.array(np.ones(shape)))


def test_degrees_that_no_coupling_reaches_are_refused(library, rng):
    x = features(rng, 1, 4, 3)
    params = tree_map(library.array, random_parameters(nn.TensorDense(4), rng, (x,), {}))
    with pytest.raises(ValueError, match="expected max_degree <= 2 for factors of degrees 1 and 1, got 3"):
        nn.TensorDense(4, max_degree=3)(params, library.array(x))


@pytest.mark.parametrize("number", [-1, 2.0, True, "4"])
def test_sizes_that_are_no_integers_or_negative_are_refused(number):
    for name in ("features", "max_degree"):
        with pytest.raises(ValueError, match=f"expected {name} to be an integer >= 0, got"):
            nn.TensorDense(**{name: number})


def test_missing_and_misshapen_parameters_are_refused(library, rng):
    x = features(rng, 1, 4, 3)
    params = tree_map(library.array, random_parameters(nn.TensorDense(4), rng, (x,), {}))
    x = library.array(x)
    with pytest.raises(ValueError, match=r"expected a parameter 'dense/0\+/kernel', got a tree that has nothing there"):
        nn.TensorDense(4)({"tensor": params["tensor"]}, x)
    with pytest.raises(ValueError, match="expected a parameter 'tensor/kernel', got a tree that has nothing there"):
        nn.TensorDense(4)({"dense": params["dense"]}, x)
    with pytest.raises(ValueError, match=r"expected parameter 'dense/0\+/kernel' of shape \(3, 10\), got \(3, 8\)"):
        nn.TensorDense(5)(params, x)
