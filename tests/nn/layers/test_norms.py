"""Normalisation of samples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from flax import linen
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    features,
    jit,
    paths,
    random_parameters,
    torch_gradient,
)

from e3any import Layout, nn
from e3any.conventions import degree_slice, parity_names
from e3any.testing import assert_equivariant, assert_parity

LAYERS = [nn.LayerNorm(epsilon=1e-3), nn.RMSNorm(epsilon=1e-3)]
layers = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


def by_definition(layer, params, x):
    """Normalise irrep by irrep."""
    y = np.empty_like(x)
    for parity, degree, name in parity_names(Layout.of(x).max_degree, x.shape[-3]):
        block = x[..., parity, degree_slice(degree), :]
        if name == "0+" and isinstance(layer, nn.LayerNorm):
            block = block - block.mean(axis=-1, keepdims=True)
        mean_square = (block**2).mean(axis=(-2, -1), keepdims=True)
        y[..., parity, degree_slice(degree), :] = params[name]["scale"] * block / np.sqrt(mean_square + layer.epsilon)
    if isinstance(layer, nn.LayerNorm):
        y[..., 0, 0, :] += params["0+"]["bias"]
    return y


@layers
@pytest.mark.parametrize(("parities", "degree"), [(1, 2), (2, 1), (2, 0)])
def test_outputs_are_those_of_the_definition(library, rng, layer, parities, degree):
    x = features(rng, 3, parities, (degree + 1) ** 2, 5)
    params = random_parameters(layer, rng, (x,), {})
    y = layer(cast(params, library), library.array(x))
    assert library.owns(y)
    assert_parity(y, by_definition(layer, params, x))


@layers
def test_scalars_are_normalised_as_flax_and_torch_do_it(rng, layer):
    x = features(rng, 4, 1, 1, 6)
    params = random_parameters(layer, rng, (x,), {})
    oracle = getattr(linen, type(layer).__name__)(epsilon=1e-3, use_fast_variance=False)
    assert_parity(layer(params, x)[:, 0, 0], oracle.apply({"params": params["0+"]}, x[:, 0, 0]))
    scale, bias = (torch.from_numpy(params["0+"].get(name, np.zeros(6))) for name in ("scale", "bias"))
    if isinstance(layer, nn.LayerNorm):
        theirs = torch.nn.functional.layer_norm(torch.from_numpy(x), (6,), scale, bias, 1e-3)
    else:
        theirs = torch.nn.functional.rms_norm(torch.from_numpy(x), (6,), scale, 1e-3)
    assert_parity(layer(params, x), theirs)


@layers
def test_layer_and_its_gradient_are_equivariant(rng, layer):
    x = features(rng, 3, 2, 9, 4)
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


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.LayerNorm(), rng, (features(rng, 2, 2, 4, 3),))


@layers
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_values_and_derivatives_are_finite_at_any_size(rng, layer, size):
    x = jnp.asarray(size * features(rng, 2, 2, 4, 3), "float32")
    x = x.at[0, 0, 1:].set(1.0)  # beside it
    layer = nn.LayerNorm() if isinstance(layer, nn.LayerNorm) else nn.RMSNorm()
    params = jax.tree.map(jnp.ones_like, random_parameters(layer, rng, (np.asarray(x),), {}))

    def loss(x):
        return jnp.sum(jnp.sin(layer(params, x)))

    gradient = jax.grad(loss)
    values = jit(lambda x: (layer(params, x), gradient(x), jax.grad(lambda x: jnp.sum(jnp.sin(gradient(x))))(x)))(x)
    assert all(np.isfinite(value).all() for value in values)
    if size == 1e30:
        irrep = np.asarray(values[0])[:, 1, 1:]
        np.testing.assert_allclose((irrep**2).mean(axis=(-2, -1)), 1.0, rtol=1e-5)


@layers
@pytest.mark.parametrize("shape", [(0, 1, 4, 3), (2, 1, 4, 0)])
def test_nothing_is_normalised_to_nothing(library, layer, shape):
    x = np.zeros(shape)
    params = random_parameters(layer, np.random.default_rng(0), (x,), {})
    assert tuple(layer(cast(params, library), library.array(x)).shape) == shape


def test_parameters_are_scales_of_irreps_and_a_bias():
    layout = Layout(1, 3, pseudotensors=True)
    scales = [f"{irrep}.scale" for irrep in ("0+", "1+", "0-", "1-")]
    assert sorted(paths(nn.LayerNorm().parameters(layout))) == sorted(["0+.bias", *scales])
    assert paths(nn.RMSNorm().parameters(layout)) == scales
    assert paths(nn.LayerNorm(use_bias=False, use_scale=False).parameters(layout)) == []
    assert nn.LayerNorm().parameters(layout)["1-"]["scale"].init == nn.initializers.ones
