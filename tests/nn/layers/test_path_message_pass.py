"""Messages with weights for every edge and path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from layer_cases import (
    assert_dtypes_are_kept,
    assert_libraries_agree,
    assert_transformations_agree,
    features,
    paths,
    random_parameters,
)

from e3any import Layout, nn, so3
from e3any.interop import to_features
from e3any.nn.layers.couplings import coupling_plan
from e3any.testing import assert_equivariant, assert_parity

SPARSE = {"dst_idx": np.asarray([2, 0, 0, 1, 2, 4, 9, 2]), "src_idx": np.asarray([3, 1, 2, 0, 3, 1, 7, 0])}
DENSE = {"adj_idx": np.asarray([[1, 2, 9], [0, 4, 3], [3, 3, 0], [2, 5, 4], [5, 6, 9]])}
LISTS = {"sparse": SPARSE, "dense": DENSE}
lists = pytest.mark.parametrize("kind", LISTS)
LAYER = nn.PathMessagePass(hidden=(4,))


def messages(rng, kind, parities=2, degrees=1, size=2):
    """Draw features of nodes and a factored basis of edges."""
    edges = next(iter(LISTS[kind].values())).shape
    basis = nn.FactoredBasis(features(rng, *edges, degrees, 3), so3.spherical_harmonics(features(rng, *edges, 3), 1))
    return features(rng, 5, parities, 4, size), basis


def paths_of(kernel_shape):
    """List the paths (degree, parity) of filter, inputs and output, in the order of their weights."""
    plan = coupling_plan(kernel_shape, True)
    allowed = plan.weight_mask[0, :, :, 0] != 0
    index = np.stack(np.unravel_index(plan.weight_index[0][allowed], kernel_shape), axis=-1)
    return [
        tuple((int(l), (1, -1)[p if n == 2 else l % 2]) for p, l, n in zip(i[::2], i[1::2], kernel_shape[::2]))
        for i in index
    ]


def test_sums_are_those_of_e3nn(rng):
    o3 = pytest.importorskip("e3nn.o3")
    layer = nn.PathMessagePass(hidden=())
    x, basis = messages(rng, "sparse")
    params = random_parameters(layer, rng, (x, basis), SPARSE)
    order = paths_of((1, 2, 2, 2, 2, 2))
    kinds = [[(0, 1), (1, -1)], [(0, 1), (1, 1), (0, -1), (1, -1)], [(0, 1), (1, 1), (0, -1), (1, -1)]]
    instructions = [(*(kind.index(each) for kind, each in zip(kinds, path)), "uvv", True) for path in order]
    irreps = [o3.Irreps([(n, each) for each in kind]) for n, kind in zip((1, 2, 2), kinds)]
    torch.set_default_dtype(torch.float64)
    try:
        product = o3.TensorProduct(*irreps, instructions, shared_weights=False, internal_weights=False)
    finally:
        torch.set_default_dtype(torch.float32)
    weights = basis.radial[:, 0, :] @ params["mlp0"]["0+"]["kernel"]
    angular = to_features(basis.angular[:, None, :, None], "e3nn", kinds[0])
    sent = to_features(x[SPARSE["src_idx"] % 5], "e3nn", kinds[1])
    each = product(*map(torch.from_numpy, (angular, sent, weights))).numpy()
    expected = np.zeros((5, each.shape[1]))
    for e, (i, j) in enumerate(zip(SPARSE["dst_idx"], SPARSE["src_idx"])):
        if i < 5 and j < 5:
            expected[i] += each[e]
    assert_parity(to_features(layer(params, x, basis, **SPARSE), "e3nn", kinds[2]), expected)


@lists
def test_rotating_inputs_rotates_outputs(rng, kind):
    x, basis = messages(rng, kind, parities=1)
    r = features(rng, *basis.radial.shape[:-2], 3)
    params = random_parameters(LAYER, rng, (x, basis), LISTS[kind])

    def call(x, r):
        angular = so3.spherical_harmonics(r, 1)
        return LAYER(params, x, nn.FactoredBasis(basis.radial, angular), **LISTS[kind])

    assert_equivariant(call, x, r, kinds=("features", "vectors"))


def test_lists_agree(rng):
    x, basis = messages(rng, "dense")
    params = random_parameters(LAYER, rng, (x, basis), DENSE)
    flat = nn.FactoredBasis(basis.radial.reshape(15, 1, 3), basis.angular.reshape(15, 4))
    sparse = {"dst_idx": np.repeat(np.arange(5), 3), "src_idx": DENSE["adj_idx"].ravel()}
    assert_parity(LAYER(params, x, flat, **sparse), LAYER(params, x, basis, **DENSE))


def test_weights_vanish_where_radial_functions_do(rng):
    x, basis = messages(rng, "sparse")
    params = random_parameters(LAYER, rng, (x, basis), SPARSE)
    nothing = nn.FactoredBasis(0 * basis.radial, basis.angular)
    assert not LAYER(params, x, nothing, **SPARSE).any()


@lists
def test_libraries_agree(rng, kind):
    assert_libraries_agree(LAYER, rng, messages(rng, kind), LISTS[kind])


def test_transformations_of_jax_agree(rng):
    assert_transformations_agree(LAYER, rng, messages(rng, "sparse", parities=1, degrees=2), SPARSE)


def test_dtypes_are_kept(rng):
    assert_dtypes_are_kept(LAYER, rng, messages(rng, "sparse", parities=1), SPARSE)


def test_parameters_are_those_of_a_network():
    tree = LAYER.parameters(Layout(1, 2), Layout(1, 3))
    assert paths(tree) == ["mlp0.0+.kernel", "mlp1.0+.kernel"]
    count = len(paths_of((1, 2, 1, 2, 2, 2)))
    assert tree["mlp1"]["0+"]["kernel"].shape == (4, 2 * count)


def test_a_basis_as_one_array_is_refused(rng):
    x, basis = messages(rng, "sparse")
    with pytest.raises(TypeError, match="expected a factored basis"):
        LAYER({}, x, basis.array(), **SPARSE)
