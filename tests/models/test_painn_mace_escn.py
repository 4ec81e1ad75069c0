"""Models of atoms: numbers that do not depend on the library, laws of energies and forces, compilers, calculators."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache, partial

import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from array_trees import tree_map
from layer_cases import jit

from e3any import Config, ops, so3
from e3any.description import describe, layer_of
from e3any.models import ESCN, MACE, PaiNN
from e3any.nn.layer import initialize, leaves
from e3any.testing import assert_parity

SMALL = {"features": 4, "num_interactions": 2, "num_radial": 3, "num_elements": 9}
RADII = (0.2, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66)
MODELS = {
    "PaiNN": PaiNN(**SMALL),
    "MACE": MACE(**SMALL, hidden=(5,), max_degree=2, radii=RADII, repulsion=True, shift=tuple(range(9))),
    "MACE_with_density": MACE(
        **SMALL, hidden=(5,), max_degree=2, density=True, residual=False, correlation=2, radii=RADII, agnesi=True
    ),
    "MACE_of_SO3": MACE(**SMALL, hidden=(5,), max_degree=2, correlation=2, use_parity=False),
    "ESCN": ESCN(**SMALL),
}
NUMBERS = np.asarray([6, 8, 1, 1, 0])
POSITIONS = np.random.default_rng(0).normal(size=(4, 3)) * 1.2
# The last atom and edge are padding.
LISTS = dict(zip(("dst_idx", "src_idx"), (np.append(i, 5) for i in ops.sparse_pairwise_indices(4)), strict=True))
# Compiled in a few seconds.
FAST = {
    "small_PaiNN": PaiNN(**SMALL | {"num_interactions": 1}),
    "small_MACE": MACE(**SMALL, hidden=(5,), max_degree=1),
    "small_ESCN": ESCN(**SMALL | {"num_interactions": 1}),
}
MODELS |= FAST
models = pytest.mark.parametrize("name", [name for name in MODELS if name not in FAST])


def vectors_of(positions):
    xp = array_namespace(positions)
    vectors = positions[LISTS["src_idx"][:-1]] - positions[LISTS["dst_idx"][:-1]]
    return xp.concat([vectors, xp.asarray([[1.0, 0.0, 0.0]])])


@cache
def tree_of(name):
    specs = MODELS[name].parameters(NUMBERS, vectors_of(POSITIONS), **LISTS)
    return tree_map(lambda x: x.astype(np.float64), initialize(specs, np.random.default_rng(1)))


@cache
def module_of(name):
    module = e3any_torch.to_torch(MODELS[name], NUMBERS, vectors_of(POSITIONS), **LISTS).double()
    e3any_torch.load_tree(module, tree_of(name))
    return partial(module, torch.as_tensor(NUMBERS), **{key: torch.as_tensor(x) for key, x in LISTS.items()})


def in_torch(call):
    """Return energies, and the gradient of their sum with respect to vectors."""
    r = torch.tensor(vectors_of(POSITIONS), requires_grad=True)
    energies = call(r)
    return energies, torch.autograd.grad(energies.sum(), r)[0]


def energies_and_forces(call, positions):
    """Return the energies of four atoms and the forces on them, by PyTorch."""
    r = torch.tensor(positions, requires_grad=True)
    edges = r[torch.as_tensor(LISTS["src_idx"][:-1])] - r[torch.as_tensor(LISTS["dst_idx"][:-1])]
    energies = call(torch.cat([edges, torch.tensor([[1.0, 0.0, 0.0]], dtype=r.dtype)]))[:4]
    (gradient,) = torch.autograd.grad(energies.sum(), r)
    return energies.detach().numpy(), -gradient.numpy()


@models
def test_energies_do_not_depend_on_the_library(name):
    expected = MODELS[name](tree_of(name), NUMBERS, vectors_of(POSITIONS), **LISTS)
    assert_parity(module_of(name)(torch.tensor(vectors_of(POSITIONS))), expected, rtol=1e-12)


@pytest.mark.parametrize("name", FAST)
def test_energies_and_gradients_are_the_same_in_jax(name):
    vectors, (tree, numbers, lists) = vectors_of(POSITIONS), tree_map(jnp.asarray, (tree_of(name), NUMBERS, LISTS))

    def in_jax(r):
        energies = MODELS[name](tree, numbers, r, **lists)
        return jnp.sum(energies), energies

    (_, energies), gradient = jit(jax.value_and_grad(in_jax, has_aux=True))(jnp.asarray(vectors))
    assert_parity((energies, gradient), in_torch(module_of(name)), rtol=1e-12)


def test_a_model_compiles_as_a_whole_in_torch():
    call = module_of("small_MACE")
    compiled = torch.compile(call.func, fullgraph=True, backend="aot_eager")
    assert_parity(in_torch(partial(compiled, *call.args, **call.keywords)), in_torch(call), rtol=1e-12)


@models
def test_energies_are_invariant_and_forces_rotate(name):
    energies, forces = energies_and_forces(module_of(name), POSITIONS)
    assert np.abs(forces).max() > 1e-3
    rotation = np.asarray(so3.random_rotation(np.random.default_rng(2), dtype="float64"))
    if name == "ESCN":  # rotations that permute the points of the grid
        rotation = np.asarray([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    moved = energies_and_forces(module_of(name), POSITIONS @ rotation + 1.0)
    assert_parity(moved, (energies, forces @ rotation), rtol=1e-11)
    mirrored, _ = energies_and_forces(module_of(name), -POSITIONS)
    assert np.allclose(mirrored, energies, rtol=1e-12, atol=0) == (name not in ("MACE_of_SO3", "ESCN"))


@models
def test_atoms_and_edges_of_padding_change_nothing(name):
    lists = {key: x[:-1] for key, x in LISTS.items()}
    model, tree, vectors = MODELS[name], tree_of(name), vectors_of(POSITIONS)
    energies = model(tree, NUMBERS[:-1], vectors[:-1], **lists)
    assert_parity(model(tree, NUMBERS, vectors, **LISTS)[:-1], energies, rtol=1e-12)


@models
def test_lists_can_be_dense_and_components_in_any_order(name):
    lists, model, tree = {key: x[:-1] for key, x in LISTS.items()}, MODELS[name], tree_of(name)
    expected = model(tree, NUMBERS[:-1], vectors_of(POSITIONS)[:-1], **lists)
    neighbours = ops.dense_pairwise_indices(4)
    vectors, where = POSITIONS[neighbours] - POSITIONS[:, None], np.ones((4, 3), bool)
    with Config.use(cartesian_order=False):
        energies = replace(model)(tree, NUMBERS[:-1], vectors, adj_idx=neighbours, where=where)
    assert_parity(energies, expected, rtol=1e-12)


@models
def test_graphs_can_be_in_a_batch(name):
    batch = np.stack([POSITIONS, POSITIONS[::-1]])
    vectors = np.stack([vectors_of(positions) for positions in batch])
    lists = {key: np.stack([x, x]) for key, x in LISTS.items()}
    energies = MODELS[name](tree_of(name), np.stack([NUMBERS, NUMBERS]), vectors, **lists)
    apart = [MODELS[name](tree_of(name), NUMBERS, vectors_of(positions), **LISTS) for positions in batch]
    assert_parity(energies, np.stack(apart), rtol=1e-12)


@models
def test_descriptions_are_stored_in_checkpoints(name):
    assert layer_of(describe(MODELS[name]), [type(MODELS[name])]) == MODELS[name]


def test_calculators_take_models():
    pytest.importorskip("ase")
    pytest.importorskip("vesin")
    from ase.build import bulk
    from e3any_ase import ModelCalculator

    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=0)
    for name in ("PaiNN", "MACE", "ESCN"):
        atoms.calc = ModelCalculator(MODELS[name], tree_of(name), framework="torch", dtype="float64")
        assert atoms.calc.elements == tuple(range(1, 9))
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        assert np.isfinite(atoms.get_stress()).all()
        assert np.abs(forces).max() > 1e-4
        assert np.abs(forces.sum(axis=0)).max() < 1e-10
        larger = atoms.repeat((2, 1, 1))
        larger.calc = atoms.calc
        assert abs(larger.get_potential_energy() - 2 * energy) < 1e-9 * abs(energy)


def test_default_models_are_as_described():
    sizes = {}
    for model in (PaiNN(), MACE(), ESCN()):
        tree = model.parameters(NUMBERS, vectors_of(POSITIONS), **LISTS)
        sizes[type(model).__name__] = sum(math.prod(spec.shape) for _, spec in leaves(tree))
    assert sizes == {"PaiNN": 160_303, "MACE": 1_460_358, "ESCN": 166_831}


@pytest.mark.parametrize("option", ["repulsion", "agnesi"])
def test_mace_needs_radii(option):
    with pytest.raises(ValueError, match="expected radii"):
        MACE(**{option: True})
