"""Sums of layers and their inputs."""

from __future__ import annotations

import numpy as np
import pytest
from layer_cases import assert_dtypes_are_kept, assert_libraries_agree, cast, features, paths, random_parameters

from e3any import Layout, nn
from e3any.testing import assert_equivariant, assert_parity


def test_output_is_the_sum_of_layer_and_input(library, rng):
    layer = nn.Residual(nn.TensorDense(max_degree=2))
    x = features(rng, 2, 1, 4, 3)
    params = random_parameters(layer, rng, (x,), {})
    y = layer(cast(params, library), library.array(x))
    assert library.owns(y)
    assert_parity(y, nn.add(nn.TensorDense(max_degree=2)(params["layer"], x), x))


def test_other_numbers_of_features_are_aligned_by_a_linear_map(rng):
    layer = nn.Residual(nn.Dense(5))
    x = features(rng, 2, 2, 4, 3)
    params = random_parameters(layer, rng, (x,), {})
    expected = nn.Dense(5)(params["layer"], x) + nn.Dense(5, use_bias=False)(params["skip"], x)
    assert_parity(layer(params, x), expected)
    assert_equivariant(lambda x: layer(params, x), x)


def test_further_inputs_are_handed_on(rng):
    layer = nn.Residual(nn.MessagePass())
    x, basis = features(rng, 3, 1, 4, 2), features(rng, 2, 1, 4, 5)
    edges = {"dst_idx": np.asarray([0, 1]), "src_idx": np.asarray([1, 2])}
    params = random_parameters(layer, rng, (x, basis), edges)
    assert_parity(layer(params, x, basis, **edges), nn.add(nn.MessagePass()(params["layer"], x, basis, **edges), x))
    specs = layer.parameters(Layout(1, 2), Layout(1, 5))
    assert all(path.startswith("layer.") for path in paths(specs))


def test_libraries_agree(rng):
    assert_libraries_agree(nn.Residual(nn.Dense(2)), rng, (features(rng, 2, 2, 4, 3),))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.Residual(nn.Dense(2)), rng, (features(rng, 2, 2, 4, 3),))


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="expected the description of a layer, got"):
        nn.Residual(nn.silu)
