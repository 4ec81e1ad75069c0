"""Irreps, and features that are dictionaries by irrep."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from functools import partial

import e3any_flax
import e3any_numpy
import e3any_torch
import numpy as np
import pytest
import torch
from e3any_flax import nnx as e3any_nnx
from flax import nnx
from hypothesis import given
from layer_cases import KEY, assert_libraries_agree, cast, features, paths, random_parameters

from e3any import Config, Irreps, Layout, nn, so3
from e3any.description import describe, layer_of
from e3any.interop import from_features, to_features
from e3any.testing import assert_equivariant, assert_parity, equivariance_error, strategies

MIXED = Irreps("6x0+ + 2x0- + 3x1+ + 4x1-")
SO3 = Irreps("5x0 + 3x1 + 2x2")


def dictionary(rng, irreps, *lead):
    """Draw features by irrep."""
    return {name: features(rng, *block.shape) for name, block in irreps.example(*lead).items()}


def rotation(rng, degree=3):
    return so3.wigner_d(so3.random_rotation(rng), degree)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("128x0 + 64x1+32x2", {"0": 128, "1": 64, "2": 32}),
        ("16x0+ + 8x1-", {"0+": 16, "1-": 8}),
        ("16x0++8x1-", {"0+": 16, "1-": 8}),
        ("16x0e + 8x1o", {"0+": 16, "1-": 8}),
        (" 1 + 0", {"1": 1, "0": 1}),
        ("2x12", {"12": 2}),
    ],
)
def test_texts_and_mappings_say_the_same(text, entries):
    irreps = Irreps(text)
    assert dict(irreps.items()) == entries
    assert list(irreps) == list(entries)
    for same in (Irreps(entries), Irreps(str(irreps)), Irreps(irreps), copy.copy(irreps), eval(repr(irreps))):
        assert (same, hash(same)) == (irreps, hash(irreps))
    assert pickle.loads(pickle.dumps(irreps)) == irreps
    assert layer_of(describe(nn.Dense(irreps))) == nn.Dense(irreps)
    assert "x" in describe(nn.Dense(irreps))
    assert sorted(Irreps.of(irreps.example(2)).items()) == sorted(irreps.items())


@pytest.mark.parametrize(
    ("irreps", "message"),
    [
        ("", "expected at least one irrep, got none"),
        ({}, "expected at least one irrep, got none"),
        ("8x0 +", r"expected irreps such as '128x0 \+ 64x1' or .*, got '8x0 \+'"),
        ("8x0 8x1", "expected irreps such as"),
        ("-1x0", "expected irreps such as"),
        ("8x0 + 8x0", "expected every irrep once, got"),
        ("8x0 + 8x1-", "expected irreps of O.3., with signs such as '1-', or of SO.3., without, got"),
        ({"01": 3}, "expected the name of an irrep, such as '1' of SO.3. or '1-' of O.3., got '01'"),
        ({0: 3}, "expected the name of an irrep"),
        ({"0": -1}, "expected the number of features of '0' to be an integer >= 0, got -1"),
    ],
)
def test_other_irreps_are_refused(irreps, message):
    with pytest.raises(ValueError, match=message):
        Irreps(irreps)
    with pytest.raises(TypeError, match="expected irreps as a string"):
        Irreps(3)


def test_gates_are_further_scalars():
    assert Irreps("128x0 + 64x1 + 32x2").gated() == Irreps("224x0 + 64x1 + 32x2")
    assert MIXED.gated() == Irreps("15x0+ + 2x0- + 3x1+ + 4x1-")
    assert Irreps("2x1").gated() == Irreps("2x0 + 2x1")
    assert (MIXED.dim, MIXED.max_degree, MIXED.has_parity, MIXED.scalar) == (29, 1, True, "0+")


@pytest.mark.parametrize("layout", [Layout(2, 3), Layout(1, 2, True), Layout(0, 4)], ids=str)
def test_uniform_dictionaries_are_arrays(library, rng, layout):
    x = features(rng, 4, *layout.shape)
    irreps = Irreps.of(x)
    assert irreps.layout() == layout
    by_irrep = nn.to_irreps(library.array(x))
    assert Irreps.of(by_irrep) == irreps == Irreps.of_layout(layout)
    assert_parity(nn.from_irreps(by_irrep), x)
    if not layout.pseudotensors:
        with Config.use(use_parity=False):
            assert list(nn.to_irreps(x)) == [name[:-1] for name in irreps]
        assert_parity(nn.from_irreps(nn.to_irreps(x, use_parity=False)), x)
    else:
        with pytest.raises(ValueError, match="expected a layout of one parity for use_parity=False"):
            nn.to_irreps(x, use_parity=False)


@pytest.mark.parametrize("irreps", ["2x0 + 3x1", "2x1", "2x0+ + 2x1+", "2x0+ + 2x0- + 2x1-"])
def test_other_dictionaries_are_no_arrays(irreps):
    with pytest.raises(ValueError, match="expected irreps of an array, all degrees up to the largest with equally"):
        nn.from_irreps(Irreps(irreps).example(1))
    with pytest.raises(TypeError, match="expected a dictionary by irrep"):
        nn.from_irreps(np.ones((1, 1, 1)))


WHERE = np.asarray([True, True, False, True])
UNIFORM = {
    "Dense": (nn.Dense(5), {}),
    "LayerNorm": (nn.LayerNorm(), {}),
    "RMSNorm": (nn.RMSNorm(use_scale=False), {}),
    "JointRMSNorm": (nn.JointRMSNorm(), {}),
    "JointRMSNorm, unbalanced": (nn.JointRMSNorm(centre=False, balance=False, use_bias=False), {}),
    "SpeciesDense": (nn.SpeciesDense(3, 5), {"categories": np.asarray([2, 0, 4, 2])}),
    "BatchNorm": (nn.BatchNorm(), {"use_running_average": True}),
    "BatchNorm, trained": (nn.BatchNorm(), {"use_running_average": False, "where": WHERE}),
    "Dropout": (nn.Dropout(0.5), {"deterministic": True}),
    "Gate": (nn.Gate(), {}),
    "NormActivation": (nn.NormActivation(), {}),
    "Residual": (nn.Residual(nn.Dense(3)), {}),
    "Residual, mapped": (nn.Residual(nn.Dense(4)), {}),
}


@pytest.mark.parametrize("name", UNIFORM)
@pytest.mark.parametrize("layout", [Layout(2, 3), Layout(1, 3, True)], ids=str)
def test_layers_give_the_numbers_that_they_give_for_arrays(rng, name, layout):
    layer, options = UNIFORM[name]
    if name == "Gate" and layout.pseudotensors:
        pytest.skip("gates of arrays are in the order of arrays: by parity, then by degree")
    x = features(rng, 4, *layout.shape)
    params = random_parameters(layer, rng, (x,), options)
    by_irrep = nn.to_irreps(x)
    assert sorted(paths(layer.parameters(by_irrep, **options))) == sorted(paths(params))
    of_array, of_irreps = nn.Variables(params), nn.Variables(params)
    assert_parity(nn.from_irreps(layer(of_irreps, by_irrep, **options)), layer(of_array, x, **options))
    assert_parity(of_irreps.tree, of_array.tree)


@pytest.mark.parametrize("layout", [Layout(2, 3), Layout(1, 3, True)], ids=str)
def test_functions_give_the_numbers_that_they_give_for_arrays(rng, layout):
    x, d = features(rng, 4, *layout.shape), rotation(rng, layout.max_degree)
    segments = np.asarray([0, 1, 1, 7])
    functions = {
        "silu": (nn.silu, nn.silu),
        "selu": (nn.selu, nn.selu),
        "add": (lambda x: nn.add(x, x), lambda x: nn.add(x, x)),
        "rotate": (lambda x: nn.rotate(x, d), lambda x: nn.rotate(x, rotation(np.random.default_rng(0)))),
        "reflect": (nn.reflect, nn.reflect),
        "norm_activation": (nn.norm_activation, nn.norm_activation),
        "pool": (partial(pooled, reduction="mean", of=segments), partial(pooled, reduction="mean", of=segments)),
    }
    d = rotation(np.random.default_rng(0), layout.max_degree)
    for of_arrays, of_dictionaries in functions.values():
        assert_parity(nn.from_irreps(of_dictionaries(nn.to_irreps(x))), of_arrays(x))


def pooled(x, reduction, of):
    return nn.pool(x, of, 3, reduction)


@dataclass(frozen=True)
class Model(nn.Layer):
    """Every layer that takes a dictionary; the result is one array."""

    irreps: Irreps = MIXED

    def forward(self, p, x):
        xp, wide = e3any_numpy_namespace(x), self.irreps.gated()
        y = nn.Dense(wide)(p / "dense", nn.LayerNorm()(p / "norm", x))
        y = nn.gate(nn.add(y, nn.Dense(wide, use_bias=False)(p / "skip", x)), self.irreps, nn.silu, nn.silu)
        y = nn.Residual(nn.Gate())(p / "gate", nn.RMSNorm()(p / "rms", y))
        y = nn.BatchNorm()(p / "batch", nn.NormActivation()(p / "activation", y), use_running_average=True)
        return xp.concat([xp.reshape(block, (-1,)) for block in y.values()])


def e3any_numpy_namespace(x):
    from e3any_backends import backend_of

    return backend_of(*x.values()).xp


@pytest.mark.parametrize("irreps", [MIXED, SO3], ids=str)
def test_libraries_agree(rng, irreps):
    assert_libraries_agree(Model(irreps), rng, (dictionary(rng, irreps, 3),))


@dataclass(frozen=True)
class Block(nn.Layer):
    """Gated features."""

    irreps: Irreps = MIXED

    def forward(self, p, x):
        return nn.gate(nn.Dense(self.irreps.gated())(p / "dense", x), self.irreps)


@pytest.mark.parametrize("irreps", [MIXED, SO3], ids=str)
def test_moving_inputs_moves_outputs(rng, irreps):
    x, d = dictionary(rng, irreps, 3), rotation(rng)
    layer = Block(irreps)
    params = random_parameters(layer, rng, (x,), {})
    y = layer(params, x)
    assert Irreps.of(y) == irreps
    assert_parity(layer(params, nn.rotate(x, d)), nn.rotate(y, d))
    if irreps.has_parity:
        assert_parity(layer(params, nn.reflect(x)), nn.reflect(y))
    else:
        with pytest.raises(ValueError, match=r"expected irreps of O\(3\), whose names have a sign"):
            nn.reflect(x)


def test_linear_maps_and_gates_are_those_of_e3nn(rng):
    o3, e3nn_nn = pytest.importorskip("e3nn.o3"), pytest.importorskip("e3nn.nn")
    x = dictionary(rng, MIXED, 3)
    of_e3nn = o3.Irreps("6x0e + 2x0o + 3x1e + 4x1o")
    wide, result = MIXED.gated(), "6x0e+2x0o+3x1e+4x1o"

    def flat(x):
        # Components of vectors are x, y, z in both libraries.
        return torch.from_numpy(np.concatenate([np.swapaxes(b, 1, 2).reshape(3, -1) for b in x.values()], axis=1))

    torch.set_default_dtype(torch.float64)
    try:
        linear = o3.Linear(of_e3nn, o3.Irreps("15x0e + 2x0o + 3x1e + 4x1o"))
        activations = ["6x0e", [torch.nn.SiLU()], "9x0e", [torch.nn.SiLU()], "2x0o + 3x1e + 4x1o"]
        gate = e3nn_nn.Gate(*activations)
    finally:
        torch.set_default_dtype(torch.float32)
    weights = linear.weight.detach().numpy()
    params, at = {}, 0
    for name in MIXED:
        shape = MIXED[name], wide[name]
        params[name] = {"kernel": weights[at : at + shape[0] * shape[1]].reshape(shape) / np.sqrt(shape[0])}
        at += shape[0] * shape[1]
    y = nn.Dense(wide, use_bias=False)(params, x)
    assert_parity(flat(y), linear(flat(x)).detach())
    # e3nn multiplies activations by a constant, so that their second moment is one: estimated from a million numbers.
    scale = gate.act_scalars.acts[0].cst
    actual = nn.gate(y, MIXED, lambda t: scale * nn.silu(t), lambda t: scale * nn.silu(t))
    # Its input is sorted.
    expected = gate(flat({name: y[name] for name in ("0-", "0+", "1-", "1+")}))
    assert str(gate.irreps_out) == result
    assert_parity(flat(actual), expected)


def test_modules_of_all_adapters_hold_the_same_parameters(rng):
    x = {name: block.astype(np.float32) for name, block in dictionary(rng, SO3, 3).items()}
    layer = Block(SO3)
    linen = e3any_flax.to_linen(layer)
    tree = linen.init(KEY, x)["params"]
    expected = linen.apply({"params": tree}, x)
    tree = {"dense": {n: {m: np.asarray(v) for m, v in node.items()} for n, node in tree["dense"].items()}}
    module = e3any_torch.to_torch(layer, SO3)
    assert sorted(module.state_dict()) == sorted(paths(tree))
    assert module.output_layout() == SO3
    e3any_torch.load_tree(module, tree)
    inputs = {name: torch.from_numpy(block) for name, block in x.items()}
    assert_parity(module(inputs), expected)
    assert_parity(torch.compile(module, fullgraph=True, backend="eager")(inputs), expected)
    assert_parity(e3any_numpy.to_numpy(layer)(tree, x), expected)
    of_nnx = e3any_nnx.to_nnx(layer, SO3, rngs=nnx.Rngs(0))
    assert {n: b.shape for n, b in of_nnx(x).items()} == {n: b.shape for n, b in expected.items()}
    dense = e3any_torch.nn.Dense(SO3, Irreps("2x0 + 4x2"))
    assert Irreps.of(dense(inputs)) == dense.output_layout() == Irreps("2x0 + 4x2")


def test_dropout_drops_whole_irreps(rng):
    x = {name: np.ones_like(block) for name, block in dictionary(rng, MIXED, 50).items()}
    y = nn.Dropout(0.25)(nn.Variables({}, generator=rng, training=True), x)
    for block in y.values():
        assert set(np.unique(block)) == {0.0, 1.0 / 0.75}
        assert (block == block[:, :1]).all()


def test_irreps_that_inputs_lack_are_left_out(rng):
    scalars = {"0": features(rng, 3, 1, 4)}
    y = nn.Dense(SO3)(random_parameters(nn.Dense(SO3), rng, (scalars,), {}), scalars)
    assert list(y) == ["0"]
    total = nn.add(dictionary(rng, SO3, 3), y)
    assert list(total) == ["0", "1", "2"]
    embedded = nn.Embed(3, Irreps("4x0"))({"embedding": features(rng, 3, 1, 1, 4)}, np.asarray([2, 0, 5]))
    assert embedded["0"].shape == (3, 1, 4)
    assert not embedded["0"][2].any()


def test_a_joint_norm_weighs_irreps_alike(rng):
    x = {"0": features(rng, 4, 1, 6), "1": features(rng, 4, 3, 2), "2": features(rng, 4, 5, 0)}
    y = nn.JointRMSNorm(1e-3, centre=False, use_bias=False, use_scale=False)({}, x)
    square = (np.mean(x["0"] ** 2, axis=(1, 2)) + np.mean(x["1"] ** 2, axis=(1, 2))) / 2
    root = np.sqrt(1e-3 + square)[:, None, None]
    assert_parity(y, {name: block / root for name, block in x.items()})
    y = nn.JointRMSNorm(1e-3, balance=False, use_scale=False)({"0": {"bias": np.ones(6)}}, x)
    centred = x | {"0": x["0"] - np.mean(x["0"], axis=-1, keepdims=True)}
    root = np.sqrt(1e-3 + sum(np.sum(block**2, axis=(1, 2)) for block in centred.values()) / 12)[:, None, None]
    assert_parity(y, {name: block / root + (name == "0") for name, block in centred.items()})


def test_species_have_maps_of_their_own_irreps(rng):
    x, species = {"0-": features(rng, 4, 1, 2), "1-": features(rng, 4, 3, 3)}, np.asarray([1, 0, 2, 1])
    layer = nn.SpeciesDense(2, Irreps("4x0+ + 5x1-"))
    params = random_parameters(layer, rng, (x, species), {})
    assert sorted(params) == ["1-"]
    y = layer(params, x, species)["1-"]
    assert_parity(y[0], x["1-"][0] @ params["1-"]["kernel"][1])
    assert not y[2].any()


X = Irreps("2x0 + 3x1").example(4)
WRONG = {
    "components": (lambda: nn.silu({"1": np.ones((2, 5, 3))}), r"expected x\['1'\] of shape \(..., 3, features\), got"),
    "leading axes": (lambda: nn.LayerNorm()({}, {**X, "2": np.ones((3, 5, 1))}), "expected leading axes .4,. of all"),
    "empty": (lambda: nn.reflect({}), "expected x with at least one irrep, got an empty mapping"),
    "kinds": (lambda: nn.add({**X, "1-": np.ones((4, 3, 1))}), r"expected input 0 of O\(3\)"),
    "activation": (lambda: nn.silu(X), r"expected x with as many scalars '0' .* got 2x0 \+ 3x1; see nn.gate"),
    "gate": (lambda: nn.gate(X, Irreps("2x0 + 3x1")), r"expected x of 5x0 \+ 3x1, which includes a scalar for every"),
    "gates": (lambda: nn.gate(X, np.ones((4, 1, 2))), r"expected gates of shape \(4, 1, 3\)"),
    "no scalars": (lambda: nn.Gate()({}, {"1": X["1"]}), "expected inputs with scalars '0', which gates are computed"),
    "linear": (lambda: nn.Dense(Irreps("2x0+"))({}, X), r"expected inputs with at least one irrep of 2x0\+, got 2x0"),
    "species": (
        lambda: nn.SpeciesDense(2, 3)({}, X, np.zeros(3, int)),
        r"expected categories of shape \(4,\), got \(3,\)",
    ),
    "sum": (
        lambda: nn.add(X, {"1": np.ones((4, 3, 2))}),
        r"expected shape \(4, 3, 3\) of '1' as before, got \(4, 3, 2\)",
    ),
    "pool": (lambda: nn.pool(X, np.zeros(4, int), 1, "max"), "expected scalars of even parity for the largest"),
    "rotation": (lambda: nn.rotate(X, np.eye(1)), r"expected wigner_d_matrix of shape \(4, 4, 4\), or larger"),
    "embedding": (lambda: nn.Embed(3, SO3), "expected features that are scalars, such as Irreps"),
    "bias": (lambda: nn.norm_activation(X, bias=np.ones(3)), "expected bias as a dictionary of arrays of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_is_wrong(name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_arrays_and_dictionaries_are_not_mixed(rng):
    with pytest.raises(TypeError, match=r"expected inputs as a dictionary by irrep, see nn\.to_irreps"):
        nn.Dense(SO3)({}, np.ones((3, 1, 4, 2)))
    with pytest.raises(TypeError, match="expected a dictionary by irrep, as other inputs are, got"):
        nn.add(X, np.ones((4, 1, 1, 2)))
    with pytest.raises(TypeError, match="expected inputs\\['0'\\] to be a floating-point array, got dtype int64"):
        nn.Dense(2)({}, {"0": np.ones((3, 1, 2), np.int64)})


@pytest.mark.parametrize("features_first", [True, False])
def test_flat_arrays_of_other_libraries_are_converted_in_any_order(library, rng, features_first):
    order = Irreps("4x1- + 6x0+ + 2x0- + 3x1+")
    x = dictionary(rng, MIXED, 3)
    flat = to_features(cast(x, library), "e3nn", order, features_first=features_first)
    assert flat.shape == (3, MIXED.dim)
    assert_parity(from_features(flat, "e3nn", order, features_first=features_first), x)
    # The first vector: x, y, z.
    step = 1 if features_first else 4
    assert_parity(flat[:, : 3 * step : step], x["1-"][:, :, 0])
    uniform = features(rng, 2, 1, 9, 3)
    entries = [(0, 1), (1, -1), (2, 1)]
    of_array = to_features(uniform, "e3nn-jax", entries, features_first=features_first)
    irreps = Irreps("3x0 + 3x1 + 3x2")
    by_irrep = nn.to_irreps(uniform, use_parity=False)
    assert_parity(to_features(by_irrep, "e3nn-jax", irreps, features_first=features_first), of_array)


def test_conversions_refuse_what_does_not_fit(rng):
    x = dictionary(rng, SO3, 3)
    with pytest.raises(ValueError, match=r"expected x of the irreps 5x0, in any order, got 5x0 \+ 3x1 \+ 2x2"):
        to_features(x, "e3nn", Irreps("5x0"))
    with pytest.raises(TypeError, match="expected a dictionary by irrep and Irreps, got"):
        to_features(x, "e3nn", [(0, 1)])
    with pytest.raises(ValueError, match=r"expected 24 components of 5x0 \+ 3x1 \+ 2x2, got shape \(3, 5\)"):
        from_features(np.ones((3, 5)), "e3nn", SO3)
    with pytest.raises(ValueError, match="expected layout None with Irreps"):
        from_features(np.ones((3, 24)), "e3nn", SO3, Layout(1, 1))


@given(strategies.irreps(2, 3).flatmap(lambda irreps: strategies.features(irreps, 2)))
def test_norms_of_drawn_dictionaries_are_equivariant(x):
    irreps = Irreps.of(x)
    layer = nn.LayerNorm(use_bias=False, epsilon=1.0)
    params = {name: {"scale": np.linspace(1.0, 2.0, count)} for name, count in irreps.items()}
    assert set(layer(params, x)) == set(irreps)
    assert_equivariant(lambda x: layer(params, x), x, inversions=irreps.has_parity)
    assert equivariance_error(lambda x: layer(params, x), x, inversions=irreps.has_parity) < 1e-12
