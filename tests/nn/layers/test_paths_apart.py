"""Messages whose paths are kept apart and mixed by a matrix for each irrep."""

from __future__ import annotations

from dataclasses import dataclass

import e3any_torch
import numpy as np
import pytest
import torch
from array_trees import tree_map
from backends_matrix import Library
from layer_cases import assert_libraries_agree, cast, features, paths, random_parameters

from e3any import Irreps, Layout, nn, so3
from e3any.description import describe, layer_of
from e3any.testing import assert_equivariant, assert_parity

SPARSE = {"dst_idx": np.asarray([2, 0, 0, 1, 2, 3, 9, 2]), "src_idx": np.asarray([3, 1, 2, 0, 3, 1, 2, 0])}
IN, OUT = Irreps("3x0 + 2x1 + 3x2"), Irreps("4x0 + 2x1 + 1x2")
OF_O3 = Irreps("3x0+ + 1x1+ + 2x1-")  # in the order of JAX, which sorts dictionaries


def nodes(rng, irreps):
    return {name: features(rng, *block.shape) for name, block in irreps.example(4).items()}


def edges(rng, degree=2):
    r = features(rng, 8, 3)
    return r, nn.FactoredBasis(features(rng, 8, 1, 3), so3.spherical_harmonics(r, degree))


def test_messages_are_those_of_e3nn(rng):
    o3 = pytest.importorskip("e3nn.o3")
    layer = nn.PathMessagePass(hidden=(), features=OF_O3)
    x, (_, basis) = nodes(rng, OF_O3), edges(rng, 1)
    params = random_parameters(layer, rng, (x, basis), SPARSE)
    order = layer.paths(OF_O3, 1)

    def of_e3nn(name):
        return f"{name[0]}{'eo'['+-'.index(name[1])]}"

    inputs, filters = list(OF_O3), ["0+", "1-"]
    instructions = [(inputs.index(a), filters.index(b), i, "uvu", True) for i, (a, b, _) in enumerate(order)]
    torch.set_default_dtype(torch.float64)
    try:
        product = o3.TensorProduct(
            o3.Irreps([(OF_O3[n], of_e3nn(n)) for n in inputs]),
            o3.Irreps("0e + 1o"),
            o3.Irreps([(OF_O3[a], of_e3nn(c)) for a, _, c in order]),
            instructions,
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        torch.set_default_dtype(torch.float32)
    sent = np.concatenate([np.swapaxes(x[n][SPARSE["src_idx"]], 1, 2).reshape(8, -1) for n in inputs], axis=1)
    weights = basis.radial[:, 0] @ params["mlp0"]["0+"]["kernel"]
    each = product(*map(torch.from_numpy, (sent, basis.angular, weights))).numpy()
    wide, at = {name: [] for name in OF_O3}, 0
    for a, _, c in order:
        size = 2 * int(c[0]) + 1
        block = np.swapaxes(each[:, at : at + OF_O3[a] * size].reshape(8, OF_O3[a], size), 1, 2)
        wide[c].append(block)
        at += OF_O3[a] * size
    for name, y in layer(params, x, basis, **SPARSE).items():
        messages = np.concatenate(wide[name], axis=-1) @ params["out"][name]["kernel"]
        expected = np.zeros((4, *messages.shape[1:]))
        for e, i in enumerate(SPARSE["dst_idx"]):
            if i < 4:
                expected[i] += messages[e]
        assert_parity(y, expected)


@pytest.mark.parametrize(
    ("layout", "use_parity"), [(Layout(1, 2), True), (Layout(1, 2, True), True), (Layout(1, 2), False)], ids=str
)
def test_paths_that_are_added_afterwards_are_the_default(rng, layout, use_parity):
    added = nn.PathMessagePass(hidden=(), use_parity=use_parity)
    apart = nn.PathMessagePass(hidden=(), use_parity=use_parity, features=2)
    x, (_, basis) = features(rng, 4, *layout.shape), edges(rng, 1)
    params = random_parameters(added, rng, (x, basis), SPARSE)
    ours, theirs = apart.paths(layout, 1), added.paths(layout, 1)
    assert sorted(ours) == sorted(theirs)
    assert apart.output_layout(layout, Layout(1, 1)) == added.output_layout(layout, Layout(1, 1))
    kernel = params["mlp0"]["0+"]["kernel"].reshape(3, len(theirs), 2)
    # The couplings of x with Y and of Y with x differ by this sign.
    signs = [(-1) ** sum(int(name[0]) for name in path) for path in ours]
    kernel = np.stack([sign * kernel[:, theirs.index(path)] for sign, path in zip(signs, ours)], axis=1)
    ends = [c for _, _, c in ours]
    out = {c: {"kernel": np.tile(np.eye(2), (ends.count(c), 1)) / np.sqrt(ends.count(c))} for c in set(ends)}
    mixed = {"mlp0": {"0+": {"kernel": kernel.reshape(3, -1)}}, "out": out}
    assert sorted(paths(apart.parameters(x, basis, **SPARSE))) == sorted(paths(mixed))
    assert_parity(apart(mixed, x, basis, **SPARSE), added(params, x, basis, **SPARSE))


@dataclass(frozen=True)
class Joined(nn.Layer):
    """The output by irrep as one array."""

    layer: nn.Layer

    def forward(self, p, x, basis, **lists):
        y = self.layer(p / "layer", x, basis, **lists)
        from e3any_backends import backend_of

        xp = backend_of(*y.values()).xp
        return xp.concat([xp.reshape(block, (-1,)) for block in y.values()])


@pytest.mark.parametrize(("irreps", "outputs"), [(IN, OUT), (OF_O3, OF_O3)], ids=str)
def test_libraries_agree(rng, irreps, outputs):
    layer = Joined(nn.PathMessagePass(hidden=(3,), features=outputs))
    assert_libraries_agree(layer, rng, (nodes(rng, irreps), edges(rng)[1]), SPARSE)


@pytest.mark.parametrize(("irreps", "outputs"), [(IN, OUT), (OF_O3, OF_O3)], ids=str)
def test_moving_space_moves_messages(rng, irreps, outputs):
    layer, x, (r, basis) = nn.PathMessagePass(hidden=(3,), features=outputs), nodes(rng, irreps), edges(rng)
    params = random_parameters(layer, rng, (x, basis), SPARSE)
    rotation = so3.random_rotation(rng)

    def messages(x, r):
        return layer(params, x, nn.FactoredBasis(basis.radial, so3.spherical_harmonics(r, 2)), **SPARSE)

    d = so3.wigner_d(rotation, 2)
    assert_parity(messages(nn.rotate(x, d), r @ rotation), nn.rotate(messages(x, r), d))
    if irreps.has_parity:
        assert_parity(messages(nn.reflect(x), -r), nn.reflect(messages(x, r)))


def test_arrays_are_mixed_to_arrays_that_rotate(rng):
    layer, x, (r, basis) = nn.PathMessagePass(hidden=(3,), features=5), features(rng, 4, 1, 4, 2), edges(rng)
    params = random_parameters(layer, rng, (x, basis), SPARSE)

    def messages(x, r):
        return layer(params, x, nn.FactoredBasis(basis.radial, so3.spherical_harmonics(r, 2)), **SPARSE)

    assert_equivariant(messages, x, r, kinds=("features", "vectors"))
    # No path ends in a pseudoscalar.
    y = messages(x, r)
    assert y.shape == (4, 2, 9, 5)
    assert not y[:, 1, 0].any()
    by_irrep = nn.PathMessagePass(hidden=(3,), features=OF_O3)
    y = by_irrep(random_parameters(by_irrep, rng, (x, basis), SPARSE), x, basis, **SPARSE)
    assert Irreps.of(y) == Irreps("3x0+ + 1x1+ + 2x1-")


def test_dense_lists_give_the_sums_of_sparse_ones(rng, library):
    layer, x = nn.PathMessagePass(hidden=(3,), features=OUT, max_degree=None), nodes(rng, IN)
    adj = np.asarray([[1, 2, 9], [0, 3, 9], [3, 3, 0], [2, 9, 9]])
    r = features(rng, 4, 3, 3)
    basis = nn.FactoredBasis(features(rng, 4, 3, 1, 3), so3.spherical_harmonics(r, 2))
    params = random_parameters(layer, rng, (x, basis), {"adj_idx": adj})
    flat = nn.FactoredBasis(basis.radial.reshape(12, 1, 3), basis.angular.reshape(12, 9))
    sparse = {"dst_idx": np.repeat(np.arange(4), 3), "src_idx": adj.ravel()}
    expected = layer(params, x, flat, **sparse)
    actual = layer(*(cast(a, library) for a in (params, x, basis)), adj_idx=library.array(adj))
    assert_parity(actual, expected)


def test_modules_are_built_from_irreps_and_compiled_whole(rng):
    layer = nn.PathMessagePass(hidden=(3,), features=OUT)
    assert layer_of(describe(layer)) == layer
    module = e3any_torch.nn.PathMessagePass(IN, Layout(2, 3), hidden=(3,), features=OUT)
    assert sorted(module.state_dict()) == ["mlp0.0+.kernel", "mlp1.0+.kernel", *(f"out.{n}.kernel" for n in "012")]
    assert module.output_layout() == OUT
    arguments = cast((nodes(rng, IN), edges(rng)[1]), Library.TORCH, "float32")
    lists = tree_map(torch.from_numpy, SPARSE)
    for is_dynamic in (None, True):
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=is_dynamic)
        assert_parity(compiled(*arguments, **lists), module(*arguments, **lists))
    assert Irreps.of(module(*arguments, **lists)) == OUT


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda x, b: nn.PathMessagePass()({}, x, b, **SPARSE),
            "expected features, an integer or irreps, for",
        ),
        (lambda x, b: nn.PathMessagePass(2, features=OUT), "expected max_degree None with features of irreps, got 2"),
        (lambda x, b: nn.PathMessagePass(features=-1), "expected features to be an integer >= 0, got -1"),
        (lambda x, b: nn.PathMessagePass(features=OF_O3)({}, x, b, **SPARSE), "expected features of irreps that 3x0 "),
        (
            lambda x, b: nn.PathMessagePass(features=Irreps("2x7")).paths(IN, 2),
            "harmonics up to degree 2 couple to",
        ),
    ],
)
def test_errors_say_what_is_wrong(rng, make, message):
    with pytest.raises(ValueError, match=message):
        make(nodes(rng, IN), edges(rng)[1])
    with pytest.raises(TypeError, match="expected inputs to be a Layout or Irreps, got 3"):
        nn.PathMessagePass().paths(3, 1)
