"""Models of mace-torch: the same energies from converted parameters; bases and signs of couplings."""

from __future__ import annotations

import itertools
import math
import warnings

import e3any_torch
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from array_trees import tree_map, tree_map_specs
from layer_cases import jit

from e3any import interop, nn, ops, so3
from e3any.nn.layers.symmetric_basis import couplings_of_irreps, irreps_of
from e3any.testing import assert_parity

RNG = np.random.default_rng(0)
NUMBERS, POSITIONS = np.asarray([6, 8, 1, 1, 6]), RNG.normal(size=(5, 3)) * 1.5
LISTS = dict(zip(("dst_idx", "src_idx"), ops.sparse_pairwise_indices(5), strict=True))
VECTORS = POSITIONS[LISTS["src_idx"]] - POSITIONS[LISTS["dst_idx"]]

RESIDUAL, FIRST = "RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock"
DENSITIES = ("RealAgnosticDensityInteractionBlock", "RealAgnosticDensityResidualInteractionBlock")
CASES = {
    "o3": {"use_reduced_cg": False},
    "so3": {"use_so3": True, "hidden": "4x0e + 4x1e", "first": FIRST},
    "as_in_foundation_models": {"first": DENSITIES[0], "rest": DENSITIES[1], "pair_repulsion": True, "agnesi": True},
    "heads": {"heads": ["a", "b"], "correlation": [3, 2], "hidden": "4x0e"},
    "without_scale": {"scale": None, "use_last_readout_only": True},
}


@pytest.fixture
def mace():
    """Return the modules of mace-torch, which needs e3nn 0.4.4, and cannot be installed beside newer versions."""
    torch.serialization.add_safe_globals([slice])  # tables of e3nn 0.4 contain slices
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("mace.modules", reason="needs mace-torch with e3nn 0.4.4")


def model_of(mace, first=RESIDUAL, rest=RESIDUAL, hidden="4x0e + 4x1o", scale=1.3, heads=None, agnesi=False, **options):
    """Return a small model with random weights."""
    from e3nn import o3

    num = len(heads or [0])
    energies = np.arange(1.0, 1.0 + 3 * num).reshape(num, 3)
    options = {
        "r_max": 5.0,
        "num_bessel": 5,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls": getattr(mace, rest),
        "interaction_cls_first": getattr(mace, first),
        "num_interactions": 2,
        "num_elements": 3,
        "hidden_irreps": o3.Irreps(hidden),
        "MLP_irreps": o3.Irreps("6x0e"),
        "atomic_energies": energies if heads else energies[0],
        "avg_num_neighbors": 3.7,
        "atomic_numbers": [1, 6, 8],
        "correlation": 3,
        "gate": torch.nn.functional.silu,
        "radial_MLP": [7, 6],
        "heads": heads,
        "distance_transform": "Agnesi" if agnesi else "None",
        **options,
    }
    if scale is not None:
        options["atomic_inter_scale"] = [scale] * num if heads else scale
        options["atomic_inter_shift"] = [0.2] * num if heads else 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(mace, "MACE" if scale is None else "ScaleShiftMACE")(**options)


def energies_of(model, head):
    """Return the energies of atoms, by mace-torch."""
    species = torch.as_tensor([[1, 6, 8].index(z) for z in NUMBERS])
    edges = torch.as_tensor(np.stack([LISTS["src_idx"], LISTS["dst_idx"]]))
    shifts = torch.zeros(edges.shape[1], 3)
    inputs = {
        "positions": torch.tensor(POSITIONS),
        "node_attrs": torch.nn.functional.one_hot(species, 3).double(),
        "edge_index": edges,
        "shifts": shifts,
        "unit_shifts": shifts,
        "cell": torch.zeros(3, 3),
        "batch": torch.zeros(5, dtype=torch.long),
        "ptr": torch.tensor([0, 5]),
        "head": torch.tensor([head]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(inputs, compute_force=False)["node_energy"].detach()


@pytest.mark.parametrize("name", CASES)
def test_converted_models_have_the_same_energies(name, mace):
    head, default = "b" if "heads" in CASES[name] else None, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        model = model_of(mace, **CASES[name])
        expected = energies_of(model, int(head == "b"))
    finally:
        torch.set_default_dtype(default)
    layer, tree = interop.mace_model(model, head=head)
    assert_parity(layer(tree, NUMBERS, VECTORS, **LISTS), expected, rtol=1e-12)
    assert np.isnan(layer(tree, np.where(NUMBERS == 8, 7, NUMBERS), VECTORS, **LISTS)).any()  # an unknown element
    module = e3any_torch.to_torch(layer, NUMBERS, VECTORS, **LISTS).double()
    e3any_torch.load_tree(module, tree)
    lists = {key: torch.as_tensor(x) for key, x in LISTS.items()}
    assert_parity(module(torch.as_tensor(NUMBERS), torch.as_tensor(VECTORS), **lists), expected, rtol=1e-12)
    if name in ("o3", "so3"):
        inputs = tree_map(jnp.asarray, (tree, NUMBERS, VECTORS, LISTS))
        assert_parity(jit(lambda p, z, r, lists: layer(p, z, r, **lists))(*inputs), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{"distance_transform": "Soft"}, {"radial_type": "gaussian"}, {"apply_cutoff": False}, {"gate": torch.tanh}],
    ids=lambda options: next(iter(options)),
)
def test_other_parts_of_models_are_refused(options, mace):
    with pytest.raises(ValueError, match="expected"):
        interop.mace_model(model_of(mace, correlation=1, **options))


def test_heads_and_modules_are_checked(mace):
    model = model_of(mace, heads=["a", "b"], correlation=1)
    for head in (None, "c"):
        with pytest.raises(ValueError, match="expected a head of"):
            interop.mace_model(model, head=head)
    with pytest.raises(TypeError, match="expected a model of mace-torch"):
        interop.mace_model(model.interactions)


def test_signs_are_those_of_e3nn(mace):
    from e3nn import o3

    for degrees in itertools.product(range(6), repeat=3):
        if abs(degrees[0] - degrees[1]) <= degrees[2] <= degrees[0] + degrees[1]:
            ours = so3.clebsch_gordan(*degrees)
            blocks = [slice(l * l, (l + 1) ** 2) for l in degrees]
            for axis, degree in enumerate(degrees):
                basis = interop.change_of_basis("e3nn", degree)
                ours = np.moveaxis(np.tensordot(ours, basis, axes=(axis, 1)), -1, axis)
            ours = ours[tuple(blocks)] * interop.coupling_sign(*degrees, "e3nn-0.4") / np.sqrt(2 * degrees[2] + 1)
            assert_parity(ours, o3.wigner_3j(*degrees, dtype=torch.float64), rtol=1e-9)


def test_signs_do_not_depend_on_the_order_of_degrees():
    for degrees in itertools.combinations_with_replacement(range(9), 3):
        if degrees[2] <= degrees[0] + degrees[1]:
            signs = {interop.coupling_sign(*order, "e3nn-0.4") for order in itertools.permutations(degrees)}
            assert signs == {1} if sum(degrees) % 2 == 0 else len(signs) == 1


@pytest.mark.parametrize(
    ("degrees", "version"),
    [((1, 1, 3), "e3nn"), ((1, 9, 9), "e3nn-0.4"), ((1, 1, 1), "e3nn-0.3"), ((-1, 0, 1), "e3nn")],
)
def test_signs_of_unknown_couplings_are_refused(degrees, version):
    with pytest.raises(ValueError, match="expected"):
        interop.coupling_sign(*degrees, version)


@pytest.mark.parametrize("use_parity", [True, False])
@pytest.mark.parametrize(("degree", "order"), [(0, 2), (0, 3), (1, 3), (2, 1)])
def test_contractions_in_another_basis_are_the_same_polynomials(degree, order, use_parity):
    rng, components = np.random.default_rng(1), 9
    layer = nn.SymmetricContraction(2, order, degree, use_parity=use_parity)
    x, categories = rng.normal(size=(4, 1, components, 3)), np.asarray([0, 1, 1, 0])
    # Combinations of all couplings, as coefficients of one order of each product.
    parity = degree % 2 if use_parity else None
    rows = couplings_of_irreps(irreps_of(2, 1), order, degree, parity, True).reshape(-1, 2 * degree + 1, num_of(order))
    mixed = np.tensordot(rng.normal(size=(len(rows) + 1, len(rows))), rows, axes=1)
    table = np.zeros((2 * degree + 1, *(components,) * order, len(mixed)))
    for n, place in enumerate(itertools.combinations_with_replacement(range(components), order)):
        table[(slice(None), *place)] = mixed[:, :, n].T
    basis = interop.change_of_basis("e3nn", 2)
    block = slice(degree**2, (degree + 1) ** 2)
    for axis, change in enumerate([basis[block, block], *(basis,) * order]):
        table = np.moveaxis(np.tensordot(table, change, axes=(axis, 1)), -1, axis)
    weights = rng.normal(size=(2, len(mixed), 3))
    theirs, y = interop.to_components(x, "e3nn"), table
    y = np.einsum("m...k,ekf->em...f", table, weights)[categories]
    for _ in range(order):
        y = np.einsum("nmi...f,nif->nm...f", y, theirs[:, 0])
    tree = initialize_zero(layer, x, categories)
    name = f"{degree}{'+-'[degree % 2]}"
    couplings = table if degree else table[0]
    tree[name][f"weight{order}"] = interop.contraction_weights(
        weights, couplings, degree, "e3nn", use_parity=use_parity
    )
    expected = np.tensordot(basis[block, block].T, y, axes=(1, 1))
    assert_parity(layer(tree, x, categories)[:, 0, block], np.moveaxis(expected, 0, 1), rtol=1e-11)


def num_of(order):
    """Return the number of products of nine components."""
    return math.comb(8 + order, order)


def initialize_zero(layer, *inputs):
    """Return parameters that are zero."""
    return tree_map_specs(layer.parameters(*inputs), lambda spec: np.zeros(spec.shape))


def test_couplings_of_another_irrep_are_refused():
    with pytest.raises(ValueError, match="rotate as the irrep"):
        interop.contraction_weights(np.ones((1, 1, 1)), np.ones((4, 4, 1)), 0, "e3nn")
    with pytest.raises(ValueError, match="expected couplings of shape"):
        interop.contraction_weights(np.ones((1, 1, 1)), np.ones((3, 4, 5, 1)), 1, "e3nn")
    with pytest.raises(ValueError, match="expected weights"):
        interop.contraction_weights(np.ones((1, 2, 1)), np.ones((4, 4, 1)), 0, "e3nn")
