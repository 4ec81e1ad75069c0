"""Gated activations with learned gates, and activations of norms with learned biases."""

from __future__ import annotations

import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    features,
    paths,
    random_parameters,
    torch_gradient,
)

from e3any import Layout, nn
from e3any.testing import assert_equivariant, assert_parity

LAYERS = [nn.Gate(nn.gelu), nn.NormActivation(nn.mish)]
layers = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


def test_gates_are_a_linear_map_of_scalars(library, rng):
    x = features(rng, 2, 2, 4, 3)
    params = random_parameters(nn.Gate(), rng, (x,), {})
    gates = nn.Dense(9)(params["dense"], x[..., :1, :1, :])
    assert_parity(nn.Gate()(cast(params, library), library.array(x)), nn.gate(x, gates))


def test_biases_are_those_of_irreps(library, rng):
    x = features(rng, 2, 1, 4, 3)
    params = random_parameters(nn.NormActivation(), rng, (x,), {})
    y = nn.NormActivation()(cast(params, library), library.array(x))
    for degree, name in ((0, "0+"), (1, "1-")):
        block = x[..., degree**2 : (degree + 1) ** 2, :]
        bias = params[name]["bias"][None, None]
        assert_parity(y[..., degree**2 : (degree + 1) ** 2, :], of_scalars(block, bias))


def of_scalars(block, bias):
    norm = (block**2).sum(axis=-2, keepdims=True) ** 0.5
    return nn.silu(norm + bias) * block / norm


@layers
def test_layer_and_its_gradient_are_equivariant(rng, layer):
    x = features(rng, 2, 2, 9, 4)
    params = random_parameters(layer, rng, (x,), {})
    assert_equivariant(lambda x: layer(params, x), x)
    params = cast(params, Library.TORCH)
    assert_equivariant(torch_gradient(lambda x: layer(params, x)), torch.from_numpy(x))


@layers
def test_libraries_agree(rng, layer):
    assert_libraries_agree(layer, rng, (features(rng, 2, 2, 4, 3),))


@layers
def test_dtypes_are_kept(rng, layer):
    assert_dtypes_are_kept(layer, rng, (features(rng, 2, 2, 4, 3),))


@layers
def test_transformations_of_jax_agree(rng, layer):
    assert_transformations_agree(layer, rng, (features(rng, 2, 2, 4, 3),))


def test_parameters_are_those_of_the_linear_map_and_biases():
    layout = Layout(1, 3, pseudotensors=True)
    specs = nn.Gate().parameters(layout)
    assert sorted(paths(specs)) == ["dense.0+.bias", "dense.0+.kernel"]
    assert specs["dense"]["0+"]["kernel"].shape == (3, 9)
    assert nn.Gate().parameters(Layout(0, 3)) == {}
    assert paths(nn.NormActivation().parameters(layout)) == [f"{irrep}.bias" for irrep in ("0+", "1+", "0-", "1-")]
    assert paths(nn.NormActivation(use_bias=False).parameters(layout)) == []
