"""Normalisation of batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    cast,
    features,
    paths,
    random_parameters,
    torch_gradient,
)

from e3any import Layout, nn
from e3any.conventions import parity_names
from e3any.interop import to_features
from e3any.testing import assert_equivariant, assert_parity

IRREPS = [(degree, (1, -1)[parity]) for parity, degree, _ in parity_names(2, 2)]
NAMES = [name for _, _, name in parity_names(2, 2)]
AVERAGES = {"use_running_average": True}


def of_e3nn(params):
    """Return the module of e3nn with these parameters and statistics."""
    e3nn, o3 = pytest.importorskip("e3nn.nn"), pytest.importorskip("e3nn.o3")
    module = e3nn.BatchNorm(o3.Irreps([(3, irrep) for irrep in IRREPS])).double()
    module.weight.data = torch.from_numpy(np.concatenate([params[name]["scale"] for name in NAMES]))
    module.bias.data = torch.from_numpy(params["0+"]["bias"])
    module.running_mean = torch.from_numpy(params["0+"]["mean"].copy())
    module.running_var = torch.from_numpy(np.concatenate([params[name]["var"] for name in NAMES]))
    return module


def test_outputs_gradients_and_statistics_are_those_of_e3nn(library, rng):
    x = features(rng, 6, 2, 9, 3)
    params = random_parameters(nn.BatchNorm(), rng, (x,), {})
    oracle = of_e3nn(params)
    variables = nn.Variables(cast(params, library), training=True)
    flat = torch.from_numpy(to_features(x, "e3nn", IRREPS))
    for training in (True, False):
        oracle.train(training)
        y = nn.BatchNorm()(variables, library.array(x), use_running_average=not training)
        assert library.owns(y)
        with torch.no_grad():
            expected = oracle(flat)
        assert_parity(to_features(library.numpy(y), "e3nn", IRREPS), expected)
    new = variables.tree
    assert_parity(new["0+"]["mean"], oracle.running_mean)
    assert_parity(np.concatenate([library.numpy(new[name]["var"]) for name in NAMES]), oracle.running_var)


def test_gradients_in_training_are_those_of_e3nn(rng):
    x = features(rng, 6, 2, 9, 3)
    params = random_parameters(nn.BatchNorm(), rng, (x,), {})
    theirs = torch.from_numpy(x).requires_grad_()
    of_e3nn(params).train()(to_features(theirs, "e3nn", IRREPS)).sin().sum().backward()
    ours = torch.from_numpy(x).requires_grad_()
    y = to_features(nn.BatchNorm()(nn.Variables(cast(params, Library.TORCH), training=True), ours), "e3nn", IRREPS)
    y.sin().sum().backward()
    assert_parity(ours.grad, theirs.grad)


def test_padding_does_not_count(library, rng):
    x = features(rng, 6, 1, 4, 3)
    params = cast(random_parameters(nn.BatchNorm(), rng, (x,), {}), library)
    padded = np.concatenate([x, np.full((2, 1, 4, 3), np.inf)])
    where = np.arange(8) < 6
    runs = []
    for inputs, mask in ((x, None), (padded, library.array(where))):
        variables = nn.Variables(params, training=True)
        y = nn.BatchNorm()(variables, library.array(inputs), where=mask)
        runs.append([y[:6, ...], variables.tree])
    assert_parity(*runs)
    nothing = nn.Variables(params, training=True)
    nn.BatchNorm()(nothing, library.array(x), where=library.array(np.zeros(6, bool)))
    assert all(np.isfinite(library.numpy(value)).all() for value in nothing.changes.values())


@pytest.mark.parametrize("training", [True, False])
def test_layer_and_its_gradient_are_equivariant(rng, training):
    x = features(rng, 5, 2, 9, 4)
    params = random_parameters(nn.BatchNorm(), rng, (x,), {})

    def call(params, x):
        return nn.BatchNorm()(nn.Variables(params, training=training), x)

    assert_equivariant(lambda x: call(params, x), x)
    params = cast(params, Library.TORCH)
    # With the input added, or the sum of squares would hardly depend on it.
    assert_equivariant(torch_gradient(lambda x: x + call(params, x)), torch.from_numpy(x))


def test_libraries_agree(rng):
    assert_libraries_agree(nn.BatchNorm(), rng, (features(rng, 3, 2, 4, 3),), AVERAGES)


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.BatchNorm(), rng, (features(rng, 3, 2, 4, 3),), AVERAGES)


def test_parameters_are_scales_and_a_bias_and_statistics_means_and_squares():
    specs = nn.BatchNorm().parameters(Layout(1, 3))
    assert sorted(paths(specs)) == ["0+.bias", "0+.mean", "0+.scale", "0+.var", "1-.scale", "1-.var"]
    assert [specs["0+"][name].is_statistic for name in ("bias", "mean", "scale", "var")] == [False, True, False, True]
