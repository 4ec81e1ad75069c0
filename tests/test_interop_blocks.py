"""Weights of linear maps, gates and convolutions of other libraries, on dictionaries by irrep."""

from __future__ import annotations

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from e3any import Irreps, interop, nn
from e3any.irreps import terms_of
from e3any.models.nequip import Interaction
from e3any.testing import assert_parity

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # e3nn uses what PyTorch deprecates
    e3nn = pytest.importorskip("e3nn")
    from e3nn import nn as e3nn_nn
    from e3nn import o3

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

# Irreps occur several times, as behind a convolution.
INPUTS, OUTPUTS = "3x0e + 2x1o + 4x0e + 5x1o + 2x1e", "2x0e + 3x1o + 4x0e + 2x2e"
SPECIES = np.asarray([2, 0, 2, 1, 0])


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def weights(rng, number):
    return rng.normal(size=number)


def features(rng, terms, num=5):
    """Draw features of irreps, as a flat array of e3nn and as a dictionary."""
    flat, joined = [], {}
    for name, count in terms_of(terms):
        irreps = Irreps({name: count})
        block = rng.normal(size=(num, irreps.dim))
        flat.append(block)
        joined.setdefault(name, []).append(interop.from_features(block, "e3nn", irreps)[name])
    return np.concatenate(flat, axis=-1), {name: np.concatenate(blocks, axis=-1) for name, blocks in joined.items()}


def as_flat(x, terms):
    """Return a dictionary as a flat array of e3nn, in which irreps occur several times; missing ones are zero."""
    flat, at = [], dict.fromkeys(x, 0)
    for name, count in terms_of(terms):
        irreps = Irreps({name: count})
        if name not in x:
            flat.append(np.zeros((5, irreps.dim)))
            continue
        flat.append(interop.to_features({name: x[name][..., at[name] : at[name] + count]}, "e3nn", irreps))
        at[name] += count
    return np.concatenate(flat, axis=-1)


@pytest.mark.parametrize("path_normalization", ["element", "path"])
def test_linear_maps_are_those_of_e3nn(rng, path_normalization):
    layer = o3.Linear(INPUTS, OUTPUTS, biases=True, path_normalization=path_normalization)
    w, biases = weights(rng, layer.weight_numel), weights(rng, layer.bias_numel)
    flat, x = features(rng, INPUTS)
    params = interop.linear_parameters(w, INPUTS, OUTPUTS, biases=biases, path_normalization=path_normalization)
    expected = layer(*map(torch.from_numpy, (flat, w, biases))).numpy()
    assert_parity(as_flat(nn.Dense(Irreps("6x0+ + 3x1-"))(params, x), OUTPUTS), expected, "float64")
    twice = interop.linear_parameters(w, INPUTS, OUTPUTS, input_scales={"1-": 2.0})
    assert_parity(twice["1-"]["kernel"], interop.linear_parameters(2 * w, INPUTS, OUTPUTS)["1-"]["kernel"], "float64")


@pytest.mark.parametrize(("path", "gradient"), list(itertools.product(["element", "path"], repeat=2)))
def test_linear_maps_are_those_of_e3nn_jax(rng, path, gradient):
    e3nn_jax = pytest.importorskip("e3nn_jax")
    options = {"path_normalization": path, "gradient_normalization": gradient}
    layer = e3nn_jax.FunctionalLinear(INPUTS, OUTPUTS, biases=True, **options)
    named, flat = {}, features(rng, INPUTS)
    for ins in layer.instructions:
        name = f"b[{ins.i_out}] x" if ins.i_in == -1 else f"w[{ins.i_in},{ins.i_out}] x,y"
        named[name] = rng.normal(size=(3, *ins.path_shape))
    indexed = interop.linear_parameters(named, INPUTS, OUTPUTS, **options)
    matrices = [name for name in named if name.startswith("w")]
    one = np.concatenate([named[name][1].ravel() for name in matrices])
    biases = np.concatenate([x[1] for name, x in named.items() if name.startswith("b")])
    params = interop.linear_parameters(one, INPUTS, OUTPUTS, biases=biases, **options)
    assert_parity(params, {name: {k: x[1] for k, x in part.items()} for name, part in indexed.items()}, "float64")
    y = nn.SpeciesDense(3, Irreps("6x0+ + 3x1-"))(indexed, flat[1], SPECIES)
    ws = [jnp.asarray(x[1]) for x in named.values()]
    expected = np.stack([layer(ws, e3nn_jax.IrrepsArray(INPUTS, jnp.asarray(x))).array for x in flat[0]])
    assert_parity(as_flat(nn.Dense(Irreps("6x0+ + 3x1-"))(params, flat[1]), OUTPUTS), expected, "float64")
    assert_parity(as_flat(y, OUTPUTS)[SPECIES == 1], expected[SPECIES == 1], "float64")


def test_self_connections_are_those_of_e3nn(rng):
    layer = o3.FullyConnectedTensorProduct(INPUTS, "3x0e", OUTPUTS)
    w, (flat, x) = weights(rng, layer.weight_numel), features(rng, INPUTS)
    params = interop.species_parameters(w, INPUTS, OUTPUTS, 3)
    y = nn.SpeciesDense(3, Irreps("6x0+ + 3x1-"), use_bias=False)(params, x, SPECIES)
    expected = layer(torch.from_numpy(flat), torch.from_numpy(np.eye(3)[SPECIES]), torch.from_numpy(w)).numpy()
    # 1e and 1o couple with nothing else: also 2e, which is zero.
    assert_parity(as_flat(y, OUTPUTS), expected, "float64")


@pytest.mark.parametrize("gate_activation", ["silu", "sigmoid"])
def test_gates_have_the_scales_of_e3nn(rng, gate_activation):
    act = {"silu": torch.nn.functional.silu, "sigmoid": torch.sigmoid}
    layer = e3nn_nn.Gate("3x0e", [act["silu"]], "2x0e + 4x0e", [act[gate_activation]] * 2, "2x1o + 4x2e")
    irreps = Irreps("3x0+ + 2x1- + 4x2+")
    flat, x = features(rng, "9x0e + 2x1o + 4x2e")
    y = nn.gate(x, irreps, nn.silu, nn.silu if gate_activation == "silu" else None)
    scales = interop.gate_scales(irreps, gate_activation=gate_activation)
    y = {name: block * scales[name] for name, block in y.items()}
    expected = layer(torch.from_numpy(flat)).numpy()
    assert_parity(interop.to_features(y, "e3nn", irreps), expected, "float64")


def instructions(inputs, degree, outputs, by_output):
    """List what models on e3nn list: see NequIP's interaction block."""
    middle, found = [], []
    for i, (count, a) in enumerate(o3.Irreps(inputs)):
        for j, (_, b) in enumerate(o3.Irreps.spherical_harmonics(degree)):
            for c in a * b:
                if c in o3.Irreps(outputs):
                    found.append((i, j, len(middle), "uvu", True))
                    middle.append((count, c))
    middle, places, _ = o3.Irreps(middle).sort()
    found = [(i, j, places[k], *rest) for i, j, k, *rest in found]
    return middle, sorted(found, key=lambda x: x[2]) if by_output else found


@pytest.mark.parametrize("by_output", [False, True])
@pytest.mark.parametrize(
    ("normalization", "irrep_normalization"), [("component", "component"), ("norm", "norm"), ("integral", "none")]
)
def test_convolutions_are_those_of_models_on_e3nn(rng, by_output, normalization, irrep_normalization):
    inputs, outputs, degree = "3x0e + 2x0o + 2x1o + 4x1e", "4x0e + 2x1o + 3x1e + 2x2e", 2
    middle, listed = instructions(inputs, degree, outputs, by_output)
    product = o3.TensorProduct(
        inputs,
        o3.Irreps.spherical_harmonics(degree),
        middle,
        listed,
        shared_weights=False,
        internal_weights=False,
        irrep_normalization=irrep_normalization,
    )
    network = e3nn_nn.FullyConnectedNet([4, 6, 5, product.weight_numel], torch.nn.functional.silu)
    linear = o3.Linear(middle.simplify(), outputs)
    layers = [rng.normal(size=(4, 6)), rng.normal(size=(6, 5)), rng.normal(size=(5, product.weight_numel))]
    for layer, w in zip(network, layers):
        layer.weight.data = torch.from_numpy(w)
    w = weights(rng, linear.weight_numel)
    flat, x = features(rng, inputs)
    r, radial = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
    dst, src = np.asarray([0, 0, 1, 2, 3, 3, 4]), np.asarray([1, 4, 0, 3, 2, 0, 1])
    harmonics = o3.spherical_harmonics(o3.Irreps.spherical_harmonics(degree), torch.from_numpy(r), True, normalization)
    messages = product(torch.from_numpy(flat)[src], harmonics, network(torch.from_numpy(radial)))
    sums = torch.zeros(5, messages.shape[-1]).index_add(0, torch.from_numpy(dst), messages) / 3.0
    expected = linear(sums, torch.from_numpy(w)).detach().numpy()

    ours = Irreps(inputs)
    paths = interop.message_paths(ours, degree, Irreps(outputs), by_output=by_output)
    assert [(str(o3.Irreps(inputs)[i].ir.l), str(middle[k].ir.l)) for i, _, k, *_ in listed] == [
        (a[0], c[0]) for a, _, c in paths
    ]
    mix = interop.linear_parameters(w, [(c, ours[a]) for a, _, c in sorted_by_output(paths)], outputs)
    params = interop.message_parameters(
        interop.network_kernels(layers),
        mix,
        ours,
        degree,
        paths=paths,
        normalization={"component": "4pi", "norm": "racah", "integral": "orthonormal"}[normalization],
        irrep_normalization=irrep_normalization,
        scale=1 / 3,
    )
    message = nn.PathMessagePass(hidden=(6, 5), features=Irreps(outputs))
    basis = nn.basis(r, max_degree=degree, num=4, radial_fn=lambda x, num: radial, factored=True)
    y = message(params, x, basis, dst_idx=dst, src_idx=src)
    assert_parity(interop.to_features(y, "e3nn", Irreps(outputs)), expected, "float64")


def sorted_by_output(paths):
    return sorted(paths, key=lambda path: o3.Irrep(path[2].replace("+", "e").replace("-", "o")))


def test_an_interaction_with_norm_and_gate_is_that_of_e3nn_jax(rng):
    """As in Nequix: messages, a self-connection by species, a norm that weighs irreps, a gate."""
    e3nn_jax = pytest.importorskip("e3nn_jax")
    inputs, outputs, degree = "3x0e + 2x1o", Irreps("3x0e + 2x1o + 2x2e"), 2
    ours, wide, r = Irreps(inputs), outputs.gated(), rng.normal(size=(4, 3))
    flat, x = features(rng, inputs)
    dst, src = np.asarray([0, 1, 2, 4]), np.asarray([1, 0, 4, 3])
    paths = interop.message_paths(ours, degree, wide, by_output=True)
    kernels = [rng.normal(size=(3, 5)), rng.normal(size=(5, sum(ours[a] for a, _, _ in paths)))]
    radial, of_e3nn = rng.normal(size=(4, 3)), "7x0e + 2x1o + 2x2e"
    scale = {name: rng.normal(size=count) for name, count in wide.items()}

    middle = str(e3nn_jax.tensor_product(inputs, e3nn_jax.s2_irreps(degree), filter_ir_out=of_e3nn))
    maps = {"mix": (inputs, inputs), "out": (middle, of_e3nn), "skip": (inputs, of_e3nn)}
    layers = {name: e3nn_jax.FunctionalLinear(*ends) for name, ends in maps.items()}
    named = {
        name: {f"w[{n.i_in},{n.i_out}] x": rng.normal(size=(3, *n.path_shape)) for n in layer.instructions}
        for name, layer in layers.items()
    }

    @jax.jit
    def theirs(flat, r, radial, kernels, weights):
        matrices = {
            name: jnp.stack([layer.matrix([w[z] for w in weights[name].values()]) for z in (0, 1, 2)])
            for name, layer in layers.items()
        }
        sh = e3nn_jax.spherical_harmonics(e3nn_jax.s2_irreps(degree), r, True, normalization="component")
        mixed = e3nn_jax.IrrepsArray(inputs, flat @ matrices["mix"][0])
        messages = e3nn_jax.tensor_product(mixed[src], sh, filter_ir_out=of_e3nn)
        messages = messages * (jax.nn.silu(radial @ kernels[0]) @ kernels[1])
        y = e3nn_jax.scatter_sum(messages, dst=dst, output_size=5).array @ matrices["out"][0] / 2.0
        y = e3nn_jax.IrrepsArray(of_e3nn, y + jnp.einsum("ni,nij->nj", flat, matrices["skip"][SPECIES]))
        # The sum of squares over features, and the mean over components, which are divided by their number once more.
        weights = [1 / (3 * ir.dim**2) for _, ir in y.irreps]
        squares = sum(w * jnp.sum(chunk**2, axis=(1, 2)) for w, chunk in zip(weights, y.chunks))
        norm = jnp.sqrt(1e-12 + squares)[:, None, None]
        chunks = [chunk / norm * scale[name][:, None] for name, chunk in zip(wide, y.chunks)]
        y = e3nn_jax.from_chunks(of_e3nn, chunks, (5,), y.dtype)
        return e3nn_jax.gate(y, even_act=jax.nn.silu, even_gate_act=jax.nn.silu, odd_act=jnp.tanh).array

    expected = np.asarray(theirs(flat, r, radial, kernels, named))
    factors = {name: np.sqrt(count / (2 * int(name[0]) + 1)) for name, count in wide.items()}
    first = {name: {w: x[0] for w, x in part.items()} for name, part in named.items()}
    mix = interop.linear_parameters(first["out"], middle, wide, output_scales=factors)
    params = {
        "mix": interop.linear_parameters(first["mix"], ours, ours),
        "message": interop.message_parameters(kernels, mix, ours, degree, paths=paths, scale=0.5),
        "skip": interop.linear_parameters(named["skip"], ours, wide, output_scales=factors),
        "norm": {name: {"scale": scale[name] / factor} for name, factor in factors.items()},
    }
    basis = nn.basis(r, max_degree=degree, num=3, radial_fn=lambda x, num: radial, factored=True)
    layer = Interaction(outputs, (5,), num_species=3, norm_epsilon=1e-12)
    y = layer(params, x, basis, SPECIES, dst_idx=dst, src_idx=src)
    # Its constant depends on the precision in which it is estimated.
    factor = float(e3nn_jax.normalize_function(jax.nn.silu)(1.0) / jax.nn.silu(1.0))
    assert factor == pytest.approx(interop.gate_scales(outputs, source="e3nn-jax")["1-"], rel=1e-5)
    y = {name: block * factor for name, block in y.items()}
    assert_parity(interop.to_features(y, "e3nn-jax", outputs), expected, "float64")


def test_networks_without_factors_keep_their_weights(rng):
    weights = [rng.normal(size=(3, 4)), rng.normal(size=(4, 5))]
    kernels = interop.network_kernels(weights, activation=None, input_scale=2.0, output_scale=3.0)
    assert_parity(kernels, [2 * weights[0], 3 * weights[1]], "float64")


def test_results_and_their_biases_are_scaled(rng):
    w, biases, factors = weights(rng, 6), weights(rng, 3), {"0+": 2.0}
    params = interop.linear_parameters(w, "2x0e", "3x0e", biases=biases, output_scales=factors)
    assert_parity(params, interop.linear_parameters(2 * w, "2x0e", "3x0e", biases=2 * biases), "float64")
    one, two = (
        interop.species_parameters(w * x, "2x0e", "1x0e", 3, output_scales=s) for x, s in ((1, factors), (2, {}))
    )
    assert_parity(one, two, "float64")


def test_bessel_functions_have_the_frequencies_of_others(rng):
    a, r = np.asarray([0.7, 1.9]), np.asarray([[0.0, 1.2, 0.5], [0.1, 0.0, 3.0]])
    radial = nn.BesselBasis(4.0)(interop.bessel_parameters(a, 4.0), r, num=2, max_degree=0, factored=True).radial
    d = np.linalg.norm(r, axis=-1, keepdims=True)
    assert_parity(radial[:, 0, :], np.sqrt(2 / 4.0) * np.sin(a * d) / d, "float64")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interop.linear_parameters(np.ones(3), "2x0", "2x0"), r"expected 4 weights of blocks \[\(2, 2\)\]"),
        (lambda: interop.linear_parameters(np.ones(4), "2x0", "2x0+"), "expected outputs with an irrep of the inputs"),
        (lambda: interop.linear_parameters({"w": np.ones(4)}, "2x0", "2x0"), "expected names such as"),
        (lambda: interop.linear_parameters({"w[0,1]": np.ones(4)}, "2x0", "2x0"), "expected weights of the pairs"),
        (lambda: interop.linear_parameters({"w[0,0]": np.ones(4)}, "2x0", "2x0"), "of shape .*2, 2"),
        (
            lambda: interop.linear_parameters({"w[0,0]": np.ones((2, 2)), "b[1]": np.ones(2)}, "2x0", "2x0"),
            "expected biases of scalars",
        ),
        (lambda: interop.linear_parameters(np.ones(4), "2x0", "2x0", biases=np.ones(3)), "expected 2 biases"),
        (lambda: interop.network_kernels([np.ones((2, 3)), np.ones((2, 3))]), "of layers .* that follow each other"),
        (
            lambda: interop.message_parameters([np.ones((2, 3))], {"0": {"kernel": np.ones((2, 1))}}, Irreps("2x0"), 1),
            "expected a last kernel of 2 columns",
        ),
        (
            lambda: interop.message_parameters([np.ones((2, 2))], {"0": {"kernel": np.ones((3, 1))}}, Irreps("2x0"), 1),
            "expected a kernel of '0' with 2 rows",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
