"""Irreps of SO(3), which have no parity: couplings of all layers with ``use_parity=False``."""

from __future__ import annotations

import itertools

import e3any_flax
import e3any_torch
import numpy as np
import pytest
import torch
from layer_cases import assert_libraries_agree, features, random_parameters

from e3any import Config, Layout, nn, so3
from e3any.description import describe, layer_of
from e3any.interop import change_of_basis
from e3any.nn.layers.symmetric_basis import num_couplings
from e3any.testing import assert_equivariant, assert_parity, equivariance_error

LISTS = {"dst_idx": np.asarray([0, 0, 1, 2, 3, 3, 9]), "src_idx": np.asarray([1, 2, 0, 3, 1, 0, 2])}
# Layers, whether their inputs are two features, one and edges, or one and categories.
LAYERS = {
    "Tensor": (nn.Tensor(use_parity=False), "two"),
    "FusedTensor": (nn.FusedTensor(3, use_parity=False), "two"),
    "TensorDense": (nn.TensorDense(2, use_parity=False), "one"),
    "MessagePass": (nn.MessagePass(use_parity=False), "edges"),
    "MessagePass, fused": (nn.MessagePass(use_fused_tensor=True, use_parity=False), "edges"),
    "PathMessagePass": (nn.PathMessagePass(hidden=(3,), use_parity=False), "edges"),
    "SelfAttention": (nn.SelfAttention(use_parity=False), "edges"),
    "SymmetricContraction": (nn.SymmetricContraction(2, 2, use_parity=False), "categories"),
}
each = pytest.mark.parametrize("name", LAYERS)


def arguments(rng, kind):
    """Draw the inputs of a layer."""
    x = features(rng, 4, 1, 9, 2)
    if kind == "edges":
        basis = nn.FactoredBasis(features(rng, 7, 1, 3), so3.spherical_harmonics(features(rng, 7, 3), 1))
        return (x, basis), LISTS
    others = {"one": (), "two": (features(rng, 4, 1, 4, 2),), "categories": (np.asarray([0, 1, 1, 0]),)}
    return (x, *others[kind]), {}


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("TensorDense", "MessagePass, fused")])
def test_libraries_agree(rng, name):
    layer, kind = LAYERS[name]
    assert_libraries_agree(layer, rng, *arguments(rng, kind))


@each
def test_layers_commute_with_rotations_but_not_with_inversions(rng, name):
    layer, kind = LAYERS[name]
    (x, *rest), options = arguments(rng, kind)
    params = random_parameters(layer, rng, (x, *rest), options)
    if kind == "edges":
        radial, r = rest[0].radial, features(rng, 7, 3)

        def call(x, r):
            return layer(params, x, nn.FactoredBasis(radial, so3.spherical_harmonics(r, 1)), **options)

        moved = (x, r), {"kinds": ("features", "vectors")}
    elif kind == "categories":
        moved = (x, *rest), {"kinds": ("features", "invariant")}
    else:
        moved = (x, *rest), {}
    function = call if kind == "edges" else lambda *inputs: layer(params, *inputs)
    assert_equivariant(function, *moved[0], **moved[1], inversions=False)
    assert equivariance_error(function, *moved[0], **moved[1]) > 1e-3


def test_two_vectors_couple_to_their_cross_product(rng):
    x, y = features(rng, 5, 1, 4, 1), features(rng, 5, 1, 4, 1)
    kernel = np.zeros((1, 2, 1, 2, 1, 2, 1))
    kernel[0, 1, 0, 1, 0, 1] = np.sqrt(2)
    actual = nn.Tensor(use_parity=False)({"kernel": kernel}, x, y)
    assert_parity(actual[:, 0, 1:, 0], np.cross(x[:, 0, 1:, 0], y[:, 0, 1:, 0]))
    assert not nn.Tensor(include_pseudotensors=False)({"kernel": kernel}, x, y).any()


def test_products_are_those_of_e3nn(rng):
    o3 = pytest.importorskip("e3nn.o3")
    x, y = features(rng, 5, 1, 9, 2), features(rng, 5, 1, 4, 2)
    layer = nn.Tensor(2, use_parity=False)
    kernel = rng.normal(size=(1, 3, 1, 2, 1, 3, 2))
    paths = [(a, b, c) for a in range(3) for b in range(2) for c in range(abs(a - b), min(a + b, 2) + 1)]
    counts = np.bincount([c for _, _, c in paths])
    # All parities even: irreps of SO(3).
    irreps = [o3.Irreps([(2, (l, 1)) for l in range(n)]) for n in (3, 2, 3)]
    torch.set_default_dtype(torch.float64)
    try:
        product = o3.TensorProduct(*irreps, [(*path, "uuu", True) for path in paths], internal_weights=False)
    finally:
        torch.set_default_dtype(torch.float32)
    weights = [kernel[0, a, 0, b, 0, c] * np.sqrt(counts[c]) for a, b, c in paths]

    def flat(x):
        degree = round(x.shape[-2] ** 0.5) - 1
        x = change_of_basis("e3nn", degree) @ x[:, 0]
        return np.concatenate(
            [np.swapaxes(x[:, l**2 : (l + 1) ** 2], 1, 2).reshape(5, -1) for l in range(degree + 1)], 1
        )

    expected = product(*map(torch.from_numpy, (flat(x), flat(y), np.concatenate(weights)))).numpy()
    assert_parity(flat(layer({"kernel": kernel}, x, y)), expected)


@pytest.mark.parametrize("layer", [nn.Tensor(use_parity=False), nn.FusedTensor(use_parity=False)])
def test_initial_products_have_the_variance_of_their_factors(rng, layer):
    x, y = features(rng, 200, 1, 9, 64), features(rng, 200, 1, 9, 64)
    params = {n: s.init(rng, s.shape) for n, s in layer.parameters(x[:1], y[:1]).items()}
    z = layer(params, x, y)[:, 0]
    variances = [float((z[:, l**2 : (l + 1) ** 2] ** 2).mean()) for l in range(3)]
    np.testing.assert_allclose(variances, 1.0, atol=0.35)
    if "kernel" in params:
        # Of these, parity allows 11.
        assert np.count_nonzero(params["kernel"].any(-1)) == 15


def test_more_powers_couple_without_parity():
    for order, degree in itertools.product((1, 2, 3), range(3)):
        even, odd, all_ = (num_couplings(2, 1, order, degree, parity) for parity in (0, 1, None))
        assert all_ == even + odd
    # Degrees 1 and 2 couple to degree 2.
    assert num_couplings(2, 1, 2, 2, None) == 4


def test_the_setting_decides_when_a_layer_is_built():
    with Config.use(use_parity=False):
        layers = [nn.Tensor(), nn.MessagePass(), nn.SelfAttention(), nn.PathMessagePass(), nn.SymmetricContraction(2)]
        assert e3any_flax.nn.TensorDense().use_parity is False
        assert e3any_torch.nn.TensorDense(Layout(1, 2)).description.use_parity is False
        assert nn.Tensor(use_parity=True).use_parity is True
    assert not any(layer.use_parity for layer in layers)
    assert nn.Tensor().use_parity is True
    assert layer_of(describe(layers[0])) == layers[0]


@each
def test_features_of_both_parities_are_refused(rng, name):
    layer, kind = LAYERS[name]
    (x, *rest), options = arguments(rng, kind)
    x = nn.change_max_degree_or_type(x, include_pseudotensors=True)
    with pytest.raises(
        ValueError, match=r"parity axis of length 1 for use_parity=False, got Layout\(.*see change_max_"
    ):
        layer.parameters(x, *rest, **options)


def test_outputs_have_one_parity():
    layer = nn.TensorDense(4, use_parity=False)
    assert layer.output_layout(Layout(2, 3)) == Layout(2, 4)
    with pytest.raises(ValueError, match="expected inversions to be True or False, got 1"):
        assert_equivariant(nn.silu, np.ones((1, 1, 1)), inversions=1)
