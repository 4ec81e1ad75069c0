"""Linear maps, scales and shifts of species."""

from __future__ import annotations

import numpy as np
import pytest
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    compiled,
    features,
    random_parameters,
)

from e3any import nn
from e3any.nn.layer import initialize
from e3any.testing import assert_equivariant, assert_parity

SPECIES = np.asarray([2, 0, 1, 2, 5, -1])


@pytest.mark.parametrize(("parities", "degree"), [(1, 2), (2, 1), (2, 0)])
def test_maps_are_those_of_dense_layers_of_each_species(library, rng, parities, degree):
    layer, x = nn.SpeciesDense(3, 4), features(rng, 6, parities, (degree + 1) ** 2, 2)
    params = random_parameters(layer, rng, (x, SPECIES), {})
    y = compiled(library, layer)(cast(params, library), library.array(x), library.array(SPECIES))
    assert library.owns(y)
    for i, species in enumerate(SPECIES):
        expected = np.zeros((parities, (degree + 1) ** 2, 4))
        if 0 <= species < 3:
            one = {irrep: {name: w[species] for name, w in tree.items()} for irrep, tree in params.items()}
            expected = nn.Dense(4)(one, x[i])
        assert_parity(library.numpy(y)[i], expected)


def test_maps_are_equivariant_and_first_keep_the_size_of_features(rng):
    layer, x = nn.SpeciesDense(3, 50), features(rng, 6, 2, 9, 50)
    params = initialize(layer.parameters(x, SPECIES), rng)
    params = {irrep: {k: w.astype(np.float64) for k, w in tree.items()} for irrep, tree in params.items()}
    assert_equivariant(lambda x: layer(params, x, SPECIES), x)
    np.testing.assert_allclose((layer(params, x, SPECIES)[:4] ** 2).mean(), 1.0, rtol=0.1)


@pytest.mark.parametrize("layer", [nn.SpeciesDense(3, 4), nn.ScaleShift(3)], ids=lambda x: type(x).__name__)
def test_libraries_agree_and_dtypes_are_kept(rng, layer):
    x = features(rng, 6, 2, 4, 2) if isinstance(layer, nn.SpeciesDense) else features(rng, 6)
    assert_libraries_agree(layer, rng, (x, SPECIES))
    assert_dtypes_are_kept(layer, rng, (x, SPECIES))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.SpeciesDense(3, 2), rng, (features(rng, 6, 1, 4, 2), SPECIES))


@pytest.mark.parametrize("shape", [(0, 1, 4, 3), (2, 2, 4, 0), (1, 4, 3), (2, 3, 1, 4, 1)])
def test_leading_axes_and_emptiness_are_kept(library, rng, shape):
    x, species = np.ones(shape), np.zeros(shape[:-3], int)
    params = random_parameters(nn.SpeciesDense(3, 2), rng, (x, species), {})
    y = compiled(library, nn.SpeciesDense(3, 2))(cast(params, library), library.array(x), library.array(species))
    assert tuple(y.shape) == (*shape[:-1], 2)


def test_scales_and_shifts_are_those_of_species(library, rng):
    layer, x = nn.ScaleShift(3, scale=2.0, shift=[1.0, 10.0, 100.0]), features(rng, 6)
    params = cast(initialize(layer.parameters(), rng), library)
    y = layer(params, library.array(x), library.array(SPECIES))
    assert library.owns(y)
    assert_parity(y, np.where([1, 1, 1, 1, 0, 0], 2 * x + np.asarray([100, 1, 10, 100, 0, 0]), 0.0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ScaleShift(3, shift=(1.0, 2.0)), ValueError, "expected 3 values of shift or one, got 2"),
        (lambda: nn.ScaleShift(3, scale=("a", "b", "c")), TypeError, "expected scale to be a number, got 'a'"),
        (
            lambda: nn.ScaleShift(3)({}, np.ones(2), np.ones(3, int)),
            ValueError,
            r"categories of shape \(2,\), got \(3,\)",
        ),
        (lambda: nn.SpeciesDense(3, 2)({}, np.ones((2, 1, 4, 2)), np.ones(2)), TypeError, "to be an integer array"),
    ],
)
def test_arguments_that_do_not_fit_raise(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_numbers_of_species_can_be_indices_of_any_width(rng):
    layer, x = nn.SpeciesDense(3, 4), features(rng, 6, 1, 4, 2)
    params = random_parameters(layer, rng, (x, SPECIES), {})
    run = compiled(Library.JAX, layer)
    tree, inputs = cast(params, Library.JAX), Library.JAX.array(x)
    assert_parity(run(tree, inputs, Library.JAX.array(SPECIES.astype(np.int8))), layer(params, x, SPECIES))
