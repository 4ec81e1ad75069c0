"""Tensor products by products of matrices."""

from __future__ import annotations

import math

import e3any_flax
import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from layer_cases import (
    assert_dtypes_are_kept,
    assert_equals_e3x,
    assert_libraries_agree,
    assert_transformations_agree,
    features,
    jit,
    random_parameters,
    torch_gradient,
    tree_map,
)

from e3any import nn, so3
from e3any.conventions import component_degrees
from e3any.testing import assert_equivariant, assert_parity


def factors(rng, p1, l1, p2, l2, *, lead=(2,), size=2):
    return features(rng, *lead, p1, (l1 + 1) ** 2, size), features(rng, *lead, p2, (l2 + 1) ** 2, size)


def by_definition(x, y, params, max_degree, num_parities):
    """Write every factor as a matrix of each parity, multiply, and take the products apart."""
    degrees = [component_degrees(math.isqrt(n) - 1) for n in (x.shape[-2], y.shape[-2], (max_degree + 1) ** 2)]
    half = math.ceil(max(d[-1] for d in degrees) / 2)
    table = so3.clebsch_gordan(half, half, max(d[-1] for d in degrees))[half**2 :, half**2 :]

    def matrices(x, degree, number):
        for p, letter in enumerate("eo"):
            part = x[..., p, :, :] if x.shape[-3] == 2 else x[..., 0, :, :] * (degree % 2 == p)[:, None]
            part = part * params[f"kernel_{letter}{number}"][degree]
            yield letter, np.einsum("...mf,ikm->...ikf", part, table[..., : len(degree)])

    z = {"e": 0.0, "o": 0.0}
    for p, left in matrices(x, degrees[0], 1):
        for q, right in matrices(y, degrees[1], 2):
            r = "e" if p == q else "o"
            product = np.einsum("...ikf,...kjf->...ijf", left, right)
            product = np.einsum("...ijf,ijm->...mf", product, table[..., : len(degrees[2])])
            z[r] = z[r] + product * params[f"kernel_{p}{q}{r}"][degrees[2]]
    if num_parities == 2:
        return np.stack([z["e"], z["o"]], axis=-3)
    return np.where((degrees[2] % 2 == 0)[:, None], z["e"], z["o"])[..., None, :, :]


@pytest.mark.parametrize(
    ("p1", "l1", "p2", "l2", "layer"),
    [
        (1, 0, 1, 0, nn.FusedTensor()),
        (1, 1, 1, 2, nn.FusedTensor()),
        (2, 1, 2, 1, nn.FusedTensor(max_degree=2)),
        (2, 2, 1, 1, nn.FusedTensor(max_degree=0, include_pseudotensors=False)),
        (1, 1, 2, 3, nn.FusedTensor(include_pseudotensors=False)),
        (1, 2, 1, 2, nn.FusedTensor(include_pseudotensors=False, cartesian_order=False)),
    ],
)
def test_parameters_outputs_and_gradients_are_those_of_e3x(rng, p1, l1, p2, l2, layer):
    assert_equals_e3x(layer, rng, factors(rng, p1, l1, p2, l2))


def test_float32_is_as_precise_as_e3x(rng):
    assert_equals_e3x(nn.FusedTensor(), rng, factors(rng, 2, 1, 1, 2), dtype="float32")


@pytest.mark.parametrize("init", ["fused_tensor_normal", "fused_tensor_uniform"])
def test_initialisers_draw_the_numbers_of_e3x(rng, init):
    x, y = factors(rng, 1, 2, 1, 3)
    theirs = e3x.nn.FusedTensor(kernel_init=getattr(e3x.nn.initializers, init)).init(jax.random.PRNGKey(1), x, y)
    specs = nn.FusedTensor(kernel_init=getattr(nn.initializers, init)).parameters(x, y)
    ours = e3any_flax.nn.FusedTensor(kernel_init=getattr(nn.initializers, init)).init(jax.random.PRNGKey(1), x, y)
    assert specs.keys() == theirs["params"].keys()
    jax.tree.map(lambda a, b: np.testing.assert_array_max_ulp(a, b, maxulp=2), ours, theirs)


@pytest.mark.parametrize("library", [Library.NUMPY, Library.STRICT, Library.TORCH], indirect=True)
@pytest.mark.parametrize(
    ("p1", "l1", "p2", "l2", "l3", "p3"),
    [(1, 0, 1, 3, 3, 1), (2, 5, 1, 2, 4, 2), (1, 4, 2, 3, 5, 1), (2, 8, 2, 3, 2, 2), (1, 6, 1, 6, 7, 2)],
)
def test_product_is_that_of_matrices(library, rng, p1, l1, p2, l2, l3, p3):
    layer = nn.FusedTensor(l3, include_pseudotensors=p3 == 2)
    x, y = factors(rng, p1, l1, p2, l2)
    params = random_parameters(layer, rng, (x, y), {})
    assert_parity(layer(*tree_map(library.array, (params, x, y))), by_definition(x, y, params, l3, p3))


@pytest.mark.parametrize(("p1", "p2"), [(1, 2), (2, 2)])
def test_matrices_too_large_to_unroll_are_multiplied_by_xla(rng, monkeypatch, p1, p2):
    layer = nn.FusedTensor(3)
    x, y = factors(rng, p1, 1, p2, 3)
    params = random_parameters(layer, rng, (x, y), {})
    monkeypatch.setattr("e3any_backends.jax.backend._MAX_UNROLLED_MATRIX", 3)
    assert_parity(jit(layer)(*tree_map(jnp.asarray, (params, x, y))), by_definition(x, y, params, 3, 2))


@pytest.mark.parametrize("leads", [((), ()), ((0,), (1,)), ((3, 1), (2,)), ((), (2, 1))])
def test_leading_axes_broadcast(library, rng, leads):
    x, y = features(rng, *leads[0], 1, 4, 2), features(rng, *leads[1], 2, 4, 2)
    params = random_parameters(nn.FusedTensor(), rng, (x, y), {})
    lead = np.broadcast_shapes(*leads)
    wide = (np.broadcast_to(a, (*lead, *a.shape[-3:])) for a in (x, y))
    z = nn.FusedTensor()(tree_map(library.array, params), library.array(x), library.array(y))
    assert_parity(z, nn.FusedTensor()(params, *wide))


@pytest.mark.parametrize(("p1", "p2"), [(1, 1), (2, 1), (2, 2)])
def test_libraries_agree(rng, p1, p2):
    assert_libraries_agree(nn.FusedTensor(), rng, factors(rng, p1, 2, p2, 1))


@pytest.mark.parametrize("include_pseudotensors", [True, False])
@pytest.mark.parametrize(("p1", "p2"), [(1, 1), (1, 2), (2, 2)])
def test_layer_and_its_gradient_are_equivariant(rng, p1, p2, include_pseudotensors):
    layer = nn.FusedTensor(include_pseudotensors=include_pseudotensors)
    x, y = factors(rng, p1, 3, p2, 4)
    params = random_parameters(layer, rng, (x, y), {})
    assert_equivariant(lambda *inputs: layer(params, *inputs), x, y)
    params, x, y = tree_map(torch.from_numpy, (params, x, y))
    assert_equivariant(torch_gradient(lambda *inputs: layer(params, *inputs)), x, y)


@pytest.mark.parametrize(("p1", "l1", "p2", "l2"), [(1, 1, 1, 2), (2, 1, 2, 1)])
def test_transformations_of_jax_agree(rng, p1, l1, p2, l2):
    assert_transformations_agree(nn.FusedTensor(), rng, factors(rng, p1, l1, p2, l2))


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(nn.FusedTensor(), rng, factors(rng, 2, 2, 1, 1))


def test_factors_and_degrees_that_do_not_fit_are_refused(library, rng):
    x, y = (library.array(a) for a in factors(rng, 1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"expected max_degree <= 2 for factors of degrees 1 and 1, got 3"):
        nn.FusedTensor(3)({}, x, y)
    with pytest.raises(ValueError, match="expected factors with equal numbers of features, got 2 and 1"):
        nn.FusedTensor()({}, x, y[..., :1])
    with pytest.raises(ValueError, match=r"expected a parameter 'kernel_e1'"):
        nn.FusedTensor()({}, x, y)
    with pytest.raises(ValueError, match=r"expected max_degree to be an integer >= 0, got -1"):
        nn.FusedTensor(-1)
