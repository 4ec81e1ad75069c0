"""Faults that users of other libraries have reported in public, tried here: one test for each kind.

The comment at a test names a report. What holds today is held from now on.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import e3any_ase
import e3any_flax
import e3any_numpy
import e3any_torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.mixing import SumCalculator
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet
from ase.units import fs
from e3any_backends import backend_of
from flax import nnx

from e3any import Layout, nn, ops, so3
from e3any.nn.layer import initialize

CUTOFF = 3.2
# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@dataclass(frozen=True)
class Energies(nn.Layer):
    """Energies of atoms, with the sizes of real models."""

    features: int = 32
    max_degree: int = 2

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        cutoff = partial(nn.smooth_cutoff, cutoff=CUTOFF)
        radial = partial(nn.basic_bernstein, limit=CUTOFF)
        basis = nn.basis(vectors, max_degree=self.max_degree, num=8, radial_fn=radial, cutoff_fn=cutoff, factored=True)
        x = nn.Embed(100, self.features)(p / "embed", numbers)
        x = nn.add(x, nn.MessagePass(self.max_degree)(p / "first", x, basis, **lists))
        x = nn.TensorDense(self.features, self.max_degree)(p / "product", x)
        x = nn.MessagePass(0, include_pseudotensors=False)(p / "second", x, basis, **lists)
        x = nn.Dense(1, use_bias=False)(p / "energy", nn.silu(x))
        return backend_of(x).xp.sum(x, axis=(-3, -2, -1))


@cache
def parameters(model: nn.Layer) -> Any:
    """Return parameters of a model, its energies some tenths of an eV."""
    lists = {"dst_idx": np.array([0, 1]), "src_idx": np.array([1, 0])}
    example = np.array([1, 1]), np.ones((2, 3), np.float32)
    return initialize(model.parameters(*example, **lists), np.random.default_rng(0))


def calculator(
    framework: str = "torch", dtype: str = "float64", model: nn.Layer | None = None
) -> e3any_ase.ModelCalculator:
    model = Energies() if model is None else model
    return e3any_ase.ModelCalculator(model, parameters(model), cutoff=CUTOFF, framework=framework, dtype=dtype)


def energy(atoms: Atoms, **options: Any) -> float:
    atoms = atoms.copy()
    atoms.calc = calculator(**options)
    return atoms.get_potential_energy()


def differences(atoms: Atoms, step: float = 1e-4) -> np.ndarray:
    """Return forces by central differences of the energy."""
    forces = np.zeros((len(atoms), 3))
    for index in np.ndindex(*forces.shape):
        values = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            moved.calc = atoms.calc
            values.append(moved.get_potential_energy())
        forces[index] = (values[1] - values[0]) / (2 * step)
    return forces


def rattled(atoms: Atoms, amount: float = 0.1) -> Atoms:
    atoms.positions += amount * np.random.default_rng(1).normal(size=atoms.positions.shape)
    return atoms


# torch-sim 575, nvalchemi-toolkit-ops 104
@pytest.mark.parametrize("finder", ["vesin", "matscipy"])
def test_a_cell_without_periodic_boundaries_has_no_influence(finder):
    bare = rattled(molecule("CH3OH"))
    boxed = bare.copy()
    boxed.cell = np.eye(3)
    lists = [e3any_ase.from_atoms(atoms, cutoff=CUTOFF, finder=finder) for atoms in (bare, boxed)]
    for name in ("dst_idx", "src_idx", "shifts"):
        np.testing.assert_array_equal(lists[0][name], lists[1][name])
    assert energy(boxed) == energy(bare)


# torch-sim 575
def test_a_slab_may_straddle_its_open_boundary():
    sheet = rattled(graphene(a=2.46, vacuum=2.0))
    sheet.pbc = [True, True, False]
    moved = sheet.copy()
    moved.positions[:, 2] -= 3.0
    assert energy(moved) == pytest.approx(energy(sheet), rel=1e-13)


# librascal 351
def test_atoms_that_see_only_their_own_images_feel_no_force():
    atoms = bulk("H", "fcc", a=2.2)
    atoms.calc = calculator()
    assert len(e3any_ase.from_atoms(atoms, cutoff=CUTOFF)["src_idx"]) > 12
    np.testing.assert_allclose(atoms.get_forces(), 0.0, atol=1e-13)


# fairchem 428, apax 173
def test_energies_are_proportional_to_the_number_of_cells():
    one = bulk("Cu", "fcc", a=3.6)
    expected = energy(one)
    for n in (2, 3):
        assert energy(one.repeat(n)) / n**3 == pytest.approx(expected, rel=1e-12)


# atomistica 30
def test_positions_that_are_almost_zero_count_as_zero():
    crystal = bulk("SiC", "zincblende", a=4.36, cubic=True)
    moved = crystal.copy()
    moved.positions[np.abs(moved.positions) < 1e-12] = -4.4e-52
    assert energy(moved) == pytest.approx(energy(crystal), rel=1e-13)


# OpenEquivariance 211, nequip 586
@pytest.mark.parametrize(
    ("framework", "max_degree", "features"), [("torch", 3, 64), ("torch", 3, 33), ("torch", 1, 128), ("flax", 3, 16)]
)
def test_forces_are_gradients_of_the_energy_at_sizes_of_large_models(framework, max_degree, features):
    atoms = rattled(molecule("H2O"))
    atoms.calc = calculator(framework, model=Energies(features, max_degree))
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 1e-4
    np.testing.assert_allclose(forces, differences(atoms), rtol=1e-5, atol=1e-8)


# cuEquivariance 33
def test_one_feature_beside_many_has_a_gradient():
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.normal(size=(10, 1, 9, 1))).requires_grad_()
    x = torch.from_numpy(rng.normal(size=(10, 1, 1, 128)))
    layer = e3any_torch.nn.Tensor(Layout(2, 128), Layout(0, 128)).double()
    loss = lambda y: layer(y.expand(10, 1, 9, 128), x).square().sum()
    (gradient,) = torch.autograd.grad(loss(y), y)
    assert gradient.shape == y.shape
    direction = torch.from_numpy(rng.normal(size=y.shape))
    change = (loss(y + 1e-6 * direction) - loss(y - 1e-6 * direction)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), change.detach(), rtol=1e-6, atol=0.0)


# m3gnet 58, AutoForce 5, fairchem 767
@pytest.mark.parametrize("vector", [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 1.0, 0.0)])
def test_second_derivatives_exist_at_right_angles_and_poles(vector):
    function = lambda r: so3.spherical_harmonics(r, 3)
    second = jax.jacfwd(jax.jacrev(function))(jnp.asarray(vector))
    step, near = 1e-3, np.asarray(vector, np.float64)
    assert np.isfinite(second).all()
    for i in range(3):
        ends = [so3.spherical_harmonics(near + s * step * np.eye(3)[i], 3) for s in (1, 0, -1)]
        np.testing.assert_allclose(second[:, i, i], (ends[0] - 2 * ends[1] + ends[2]) / step**2, atol=1e-4)


# SphericalHarmonics 11, e3nn 433
def test_harmonics_of_high_degree_are_finite_and_normalised():
    rng = np.random.default_rng(0)
    r = np.concatenate([np.zeros((1, 3)), np.eye(3), rng.normal(size=(5, 3))])
    y = so3.spherical_harmonics(r, 100)
    assert np.isfinite(y).all()
    for degree in (50, 87, 100):
        block = y[1:, degree**2 : (degree + 1) ** 2]
        np.testing.assert_allclose(np.sum(block**2, axis=-1), 1.0, rtol=1e-10)


# jax 38096; XLA multiplies by the reciprocal of what several numbers are divided by
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [ops.norm, lambda x, axis: ops.normalize(x, axis)[..., 0]], ids=["norm", "first"])
def test_norms_of_all_numbers_have_the_derivatives_that_scaling_gives(function, dtype):
    unit = np.asarray([[0.6, -0.8, 0.5], [1.0, 1.0, 1.0]], dtype)
    power = 0 if function is not ops.norm else 1  # the norm grows with its vector, the direction does not
    gradient = jax.grad(lambda x: function(x, axis=-1).sum())
    least, largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    for size in (16 * least, 1e3 * least, 1e-30, 1e30, largest / 8, largest / 2):
        x = jnp.asarray(unit * dtype(size))
        for compiled in (lambda f: f, jax.jit):
            value = compiled(partial(function, axis=-1))(x)
            np.testing.assert_allclose(np.asarray(value) / dtype(size) ** power, function(unit, axis=-1), rtol=1e-5)
            if power or 1e-35 < size < 1e35:
                found = np.asarray(compiled(gradient)(x)) * dtype(size) ** (1 - power)
                np.testing.assert_allclose(found, gradient(jnp.asarray(unit)), rtol=1e-5, atol=1e-6)


# jax 939, pytorch 141710
def test_softmax_over_empty_and_padded_neighbourhoods_has_a_gradient():
    dst_idx = jnp.asarray([0, 0, 2, 9])  # node 1 has no neighbour; the last edge is padding
    function = lambda x: (ops.indexed_softmax(x, dst_idx=dst_idx, num_segments=3) * jnp.arange(4.0)[:, None]).sum()
    x = jnp.asarray([[200.0], [-200.0], [0.0], [jnp.inf]])
    for gradient in (jax.grad(function), jax.jit(jax.grad(function))):
        assert np.isfinite(gradient(x)).all()


def forces(model: nn.Layer, structure: dict[str, np.ndarray], framework: str) -> np.ndarray:
    """Return the forces of one structure, padding included, as a loop of training computes them."""
    arrays = {name: np.array(structure[name]) for name in ("numbers", "cell", "shifts", "dst_idx", "src_idx")}
    arrays["cell"] = arrays["cell"].astype(np.float32)
    positions, tree = np.asarray(structure["positions"], np.float32), parameters(model)

    def total(positions: Any, tree: Any, x: dict[str, Any]) -> Any:
        lists = {name: x[name] for name in ("dst_idx", "src_idx")}
        vectors = ops.displacements(positions, x["cell"], x["shifts"], **lists)
        return (model(tree, x["numbers"], vectors, **lists) * (x["numbers"] > 0)).sum()

    if framework == "flax":
        return -np.asarray(jax.jit(jax.grad(total))(positions, tree, arrays))
    positions, tree, arrays = jax.tree.map(torch.from_numpy, (positions, tree, arrays))
    energy = total(positions.requires_grad_(), tree, arrays)
    return -torch.autograd.grad(energy, positions)[0].numpy()


# schnetpack 87
@pytest.mark.parametrize("framework", ["torch", "flax"])
def test_molecules_of_different_sizes_in_a_batch_have_the_forces_that_each_has_alone(framework):
    graphs = [e3any_ase.from_atoms(rattled(molecule(name)), cutoff=CUTOFF) for name in ("CH3OH", "H2O", "H")]
    batch = e3any_ase.pad_structures(graphs)
    model = Energies(features=16, max_degree=1)
    for k, graph in enumerate(graphs):
        (alone, padded), num = (
            (forces(model, x, framework) for x in (graph, {n: x[k] for n, x in batch.items()})),
            len(graph["numbers"]),
        )
        np.testing.assert_allclose(padded[:num], alone, atol=1e-5)
        assert np.isfinite(padded).all()


# kymatio 1070, e3nn 258
@pytest.mark.parametrize(
    "layer",
    [nn.NormActivation(), nn.LayerNorm(), nn.RMSNorm(), nn.Gate(), nn.TensorDense(16)],
    ids=lambda x: type(x).__name__,
)
def test_features_that_are_zero_have_finite_gradients(layer):
    x = torch.zeros(4, 2, 9, 16, requires_grad=True)
    module = e3any_torch.to_torch(layer, x.detach())
    first = torch.autograd.grad(module(x).sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum() + x.sum(), x)[0]
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


# mace 84, mace 218, torch-sim 93
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_default_dtype_of_torch_has_no_influence_on_a_calculator(default, dtype):
    atoms = molecule("H2O")
    expected = energy(atoms, dtype=dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        assert energy(atoms, dtype=dtype) == expected
    finally:
        torch.set_default_dtype(before)


# mace 1509, mace 481
def test_stress_of_slabs_is_the_derivative_of_the_energy():
    sheet = rattled(graphene(a=2.46, vacuum=5.0), 0.05)
    sheet.pbc = [True, True, False]
    sheet.calc = calculator()
    stress = sheet.get_stress(voigt=False)
    for i, j in ((0, 0), (1, 1), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * 5e-5
            strain[j, i] += sign * 5e-5
            moved = sheet.copy()
            moved.set_cell(sheet.cell.array @ strain, scale_atoms=True)
            moved.calc = sheet.calc
            energies.append(moved.get_potential_energy())
        expected = (energies[0] - energies[1]) / 2e-4 / sheet.get_volume()
        assert stress[i, j] == pytest.approx(expected, rel=1e-5, abs=1e-9)
        assert abs(expected) > 1e-7 or i != j


# torchani 644
def test_stress_follows_the_atoms_when_only_forces_are_asked_for_in_between():
    crystal = rattled(bulk("Cu", cubic=True, a=3.6))
    crystal.calc = calculator()
    before = crystal.get_stress()
    crystal.positions[0] += 0.2
    crystal.get_forces()
    fresh = crystal.copy()
    fresh.calc = calculator()
    np.testing.assert_array_equal(crystal.get_stress(), fresh.get_stress())
    assert np.abs(crystal.get_stress() - before).max() > 1e-6
    crystal.set_momenta(np.zeros((4, 3)))
    IsotropicMTKNPT(crystal, fs, temperature_K=10, pressure_au=0.0, tdamp=100 * fs, pdamp=1000 * fs).run(2)
    fresh.positions, fresh.cell = crystal.positions, crystal.cell
    np.testing.assert_array_equal(crystal.get_stress(), fresh.get_stress())


# matgl 171
def test_stress_has_the_shape_that_sums_of_calculators_expect():
    crystal = bulk("Cu", cubic=True, a=3.6)
    one = calculator()
    assert one.get_property("stress", crystal).shape == (6,)
    crystal.calc = SumCalculator([one, calculator()])
    np.testing.assert_allclose(crystal.get_stress(), 2 * one.get_property("stress", crystal.copy()), rtol=1e-12)


# apax 21, deepmd-kit 232
@pytest.mark.parametrize("framework", ["torch", "flax"])
def test_a_calculator_follows_changes_of_atoms_cell_and_boundaries(framework):
    model = Energies(features=16, max_degree=1)
    one = calculator(framework, "float32", model)
    crystal = rattled(bulk("Cu", cubic=True, a=3.6))
    open_ = crystal.copy()
    open_.pbc = False
    larger = crystal.copy()
    larger.set_cell(1.1 * larger.cell.array, scale_atoms=True)
    other = crystal.copy()
    other.numbers[0] = 47
    for atoms in (crystal, crystal.repeat((1, 1, 2)), open_, larger, other, molecule("H2O"), crystal):
        one.calculate(atoms, ["energy"], all_changes)
        assert one.results["energy"] == pytest.approx(energy(atoms, model=model), rel=1e-5)
    energies = [energy(atoms) for atoms in (crystal, open_, larger, other)]
    assert len({round(x, 6) for x in energies}) == 4


# chgnet 35, nequip 426, matgl 78, m3gnet 38
@pytest.mark.parametrize("framework", ["torch", "flax"])
def test_isolated_atoms_have_an_energy_and_no_forces(framework):
    far = Atoms("HH", [[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    for atoms in (Atoms("H"), Atoms("H", cell=[100, 100, 100], pbc=True), far):
        atoms.calc = calculator(framework, "float32", Energies(features=16, max_degree=1))
        assert np.isfinite(atoms.get_potential_energy())
        np.testing.assert_array_equal(atoms.get_forces(), 0.0)
    model = Energies(features=16, max_degree=1)
    assert far.get_potential_energy() == pytest.approx(2 * energy(Atoms("H"), model=model), rel=1e-5)


# flax 3846
def test_unpickled_linen_modules_initialise_as_the_originals():
    x = np.ones((2, 1, 4, 16), np.float32)
    module = e3any_flax.nn.TensorDense(features=16)
    again = pickle.loads(pickle.dumps(module))
    first, second = (m.init(jax.random.key(0), x) for m in (module, again))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert again == module == copy.deepcopy(module)


# flax 5461
def test_copies_of_nnx_modules_can_be_donated():
    layer = e3any_flax.nnx.TensorDense(Layout(1, 16), features=16, rngs=nnx.Rngs(0))
    graph, state = nnx.split(copy.deepcopy(layer))
    x = jnp.ones((2, 1, 4, 16))
    expected = layer(x)
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: 2 * leaf, state), donate_argnums=(0,))
    doubled = step(state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert np.abs(nnx.merge(graph, doubled)(x) - expected).max() > 1e-3
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5)


# pytorch 194976
def test_compiled_cutoffs_are_not_those_of_the_call_before():
    r = torch.linspace(0.1, 3.0, 40).requires_grad_()
    function = lambda r, cutoff: e3any_torch.nn.smooth_cutoff(r, cutoff=cutoff)
    compiled = torch.compile(function, fullgraph=True)
    for cutoff in (2.0, 2.5, 3.5):
        expected, found = function(r, cutoff), compiled(r, cutoff)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(y.sum(), r)[0] for y in (found, expected)]
        torch.testing.assert_close(*gradients)


# pytorch 184405
def test_compiled_modules_keep_their_dtype_when_the_default_changes():
    module = e3any_torch.nn.TensorDense(Layout(1, 16), 16)
    compiled = torch.compile(module, backend="aot_eager")
    x = torch.randn(3, 1, 4, 16)
    expected = compiled(x)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert compiled(x).dtype == module(x).dtype == torch.float32
        torch.testing.assert_close(module(x), expected)
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class Traced(Energies):
    """The model, which notes how often it is traced."""

    sizes: tuple[list[Any], ...] = ([],)

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        self.sizes[0].append(vectors.shape)
        return super().forward(p, numbers, vectors, **lists)


# mace 1590
def test_a_trajectory_compiles_few_programs():
    model, crystal = Traced(features=16, max_degree=1), rattled(bulk("Cu", cubic=True, a=3.6).repeat(2))
    crystal.calc = e3any_ase.ModelCalculator(
        model, parameters(Energies(features=16, max_degree=1)), cutoff=CUTOFF, framework="flax"
    )
    crystal.set_momenta(np.random.default_rng(0).normal(size=(len(crystal), 3)) * 20)
    edges = set()
    for _ in range(20):
        VelocityVerlet(crystal, 2 * fs).run(1)
        edges.add(len(e3any_ase.from_atoms(crystal, cutoff=CUTOFF)["src_idx"]))
    assert len(edges) > 5
    assert len(model.sizes[0]) <= 3


# e3nn-jax 38, mace 249
def test_numbers_do_not_depend_on_the_order_of_atoms():
    atoms = rattled(molecule("CH3CH2OH"))
    order = np.random.default_rng(2).permutation(len(atoms))
    shuffled = atoms[order]
    for each in (atoms, shuffled):
        each.calc = calculator()
    assert shuffled.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
    np.testing.assert_allclose(shuffled.get_forces(), atoms.get_forces()[order], atol=1e-12)


# flax 4459
def test_numpy_layers_take_the_state_of_every_framework():
    x = np.random.default_rng(0).normal(size=(3, 1, 4, 16)).astype(np.float32)
    module = e3any_flax.nn.TensorDense(features=16)
    params = jax.tree.map(np.asarray, module.init(jax.random.key(0), x)["params"])
    np.testing.assert_allclose(
        e3any_numpy.nn.TensorDense(16)(params, x), module.apply({"params": params}, x), atol=1e-5
    )
