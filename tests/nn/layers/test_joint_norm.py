"""Normalisation of all irreps by one number."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    cast,
    compiled,
    features,
    jit,
    random_parameters,
    torch_gradient,
)

from e3any import nn
from e3any.conventions import component_degrees
from e3any.testing import assert_equivariant, assert_parity


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize(("parities", "degree", "centre"), [(1, 2, True), (2, 1, False), (1, 0, True)])
def test_outputs_are_those_of_the_definition(library, rng, parities, degree, centre, balance):
    layer = nn.JointRMSNorm(1e-3, centre, balance)
    x = features(rng, 3, parities, (degree + 1) ** 2, 5)
    params = random_parameters(layer, rng, (x,), {})
    centred = x.copy()
    if centre:
        centred[:, 0, 0] -= x[:, 0, 0].mean(axis=-1, keepdims=True)
    l = component_degrees(degree)
    weight = 1 / ((degree + 1) * (2 * l + 1)) if balance else np.full(len(l), 1 / (degree + 1) ** 2)
    square = (centred**2 * weight[:, None]).sum(axis=(1, 2, 3), keepdims=True) / (5 * parities)
    names = ["+-"[d % 2] for d in l] if parities == 1 else None
    scale = np.stack(
        [
            np.stack([params[f"{d}{names[i] if names else '+-'[p]}"]["scale"] for i, d in enumerate(l)])
            for p in range(parities)
        ]
    )
    expected = scale * centred / np.sqrt(square + 1e-3)
    expected[:, 0, 0] += params["0+"]["bias"]
    y = compiled(library, layer)(cast(params, library), library.array(x))
    assert library.owns(y)
    assert_parity(y, expected)


def test_layer_and_its_gradient_are_equivariant(rng):
    layer, x = nn.JointRMSNorm(), features(rng, 3, 2, 9, 4)
    params = random_parameters(layer, rng, (x,), {})
    assert_equivariant(lambda x: layer(params, x), x)
    params = cast(params, Library.TORCH)
    assert_equivariant(torch_gradient(lambda x: layer(params, x)), torch.from_numpy(x))


def test_libraries_agree_and_dtypes_are_kept(rng):
    assert_libraries_agree(nn.JointRMSNorm(), rng, (features(rng, 2, 2, 4, 3),))
    assert_dtypes_are_kept(nn.JointRMSNorm(), rng, (features(rng, 2, 1, 4, 3),))


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(nn.JointRMSNorm(), rng, (features(rng, 2, 1, 4, 3),))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_values_and_derivatives_are_finite_at_any_size(rng, size):
    x, layer = (
        jnp.asarray(size * features(rng, 2, 1, 4, 3), "float32"),
        nn.JointRMSNorm(use_bias=False, use_scale=False),
    )
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(layer({}, x))))
    values = jit(lambda x: (layer({}, x), gradient(x), jax.grad(lambda x: jnp.sum(jnp.sin(gradient(x))))(x)))(x)
    assert all(np.isfinite(value).all() for value in values)
    if size == 1e30:
        np.testing.assert_allclose(
            (np.asarray(values[0]) ** 2 / [[1], [3], [3], [3]]).sum(axis=(1, 2, 3)) / 6, 1.0, rtol=1e-5
        )


@pytest.mark.parametrize("shape", [(0, 1, 4, 3), (2, 1, 4, 0)])
def test_nothing_is_normalised_to_nothing(library, shape):
    params = random_parameters(nn.JointRMSNorm(), np.random.default_rng(0), (np.zeros(shape),), {})
    y = compiled(library, nn.JointRMSNorm())(cast(params, library), library.array(np.zeros(shape)))
    assert tuple(y.shape) == shape
