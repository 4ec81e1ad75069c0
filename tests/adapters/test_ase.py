"""Structures and the calculator for ASE: neighbours, displacements, padding, forces and stress."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from e3any_backends import backend_of

from e3any import checkpoint, nn, ops
from e3any.nn.layer import initialize
from e3any.testing import assert_parity

ase = pytest.importorskip("ase")
pytest.importorskip("vesin")

import e3any_ase  # noqa: E402
from ase.build import bulk, fcc111, graphene, molecule  # noqa: E402
from ase.calculators.calculator import PropertyNotImplementedError  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402
from ase.collections import dcdft, g2  # noqa: E402
from ase.io import write  # noqa: E402
from ase.neighborlist import primitive_neighbor_list  # noqa: E402

CUTOFF = 3.2
FINDERS = ("vesin", "matscipy")


def rattled(atoms, seed=0, strain=0.03):
    """Return atoms that are moved, in a cell that is deformed to a triclinic one."""
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    if atoms.cell.rank:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return atoms


STRUCTURES = {
    "molecule": lambda: rattled(g2["CH3OH"]),
    "molecule_in_a_box": lambda: rattled(molecule("H2O", vacuum=3.0)),
    "crystal": lambda: rattled(dcdft["Si"]),
    "small_triclinic_cell": lambda: rattled(bulk("Cu")),
    "slab": lambda: rattled(fcc111("Al", (1, 1, 3), vacuum=4.0)),
    "sheet_without_third_vector": lambda: rattled(graphene(vacuum=None), strain=0.0),
    "chain": lambda: ase.Atoms("C2", [[0.0, 0, 0], [1.3, 0.2, 0]], cell=[2.6, 0, 0], pbc=[True, False, False]),
    "atom": lambda: ase.Atoms("He"),
    "lonely_atom_in_a_crystal": lambda: bulk("Ar", a=9.0),
}
structures = pytest.mark.parametrize("name", STRUCTURES)


def edges(i, j, shifts):
    """Return edges as sorted rows (i, j, shift)."""
    rows = np.column_stack([i, j, shifts]).astype(int)
    return rows[np.lexsort(rows.T)]


def edges_of_ase(atoms, cutoff):
    return edges(*primitive_neighbor_list("ijS", atoms.pbc, atoms.cell.complete().array, atoms.positions, cutoff))


@pytest.mark.parametrize("finder", FINDERS)
def test_fifty_random_cells_have_the_edges_that_ase_finds(finder):
    pytest.importorskip(finder)
    rng, total = np.random.default_rng(1), 0
    for _ in range(50):
        cell = rng.uniform(-1.2, 1.2, (3, 3)) + np.diag(rng.uniform(2.5, 5.0, 3))  # triclinic
        pbc, num = rng.random(3) < 0.6, rng.integers(1, 12)
        atoms = ase.Atoms(f"H{num}", rng.uniform(-0.5, 1.5, (num, 3)) @ cell, cell=cell, pbc=pbc)
        cutoff = rng.uniform(1.0, 5.0)
        found = e3any_ase.neighbours(atoms.positions, cell, pbc, cutoff=cutoff, finder=finder)
        np.testing.assert_array_equal(edges(*found), edges_of_ase(atoms, cutoff))
        assert (np.diff(found.dst_idx) >= 0).all()
        total += len(found.dst_idx)
    assert total > 2_000


@pytest.mark.parametrize("finder", FINDERS)
@structures
def test_structures_have_the_edges_that_ase_finds(name, finder):
    pytest.importorskip(finder)
    atoms = STRUCTURES[name]()
    structure = e3any_ase.from_atoms(atoms, cutoff=CUTOFF, finder=finder)
    found = edges(structure["dst_idx"], structure["src_idx"], structure["shifts"])
    np.testing.assert_array_equal(found, edges_of_ase(atoms, CUTOFF))
    assert (len(found) == 0) == (name in ("atom", "lonely_atom_in_a_crystal"))


def test_no_atoms_have_no_neighbours():
    found = e3any_ase.neighbours(np.zeros((0, 3)), cutoff=1.0)
    assert [x.shape for x in found] == [(0,), (0,), (0, 3)]


def test_unsorted_lists_have_the_same_edges():
    atoms = rattled(bulk("Cu", cubic=True))
    arrays = atoms.positions, atoms.cell.array, True
    found, unsorted = (e3any_ase.neighbours(*arrays, cutoff=4.0, sort=sort) for sort in (True, False))
    np.testing.assert_array_equal(edges(*found), edges(*unsorted))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": np.zeros(3)}, r"expected positions of shape \(N, 3\), got \(3,\)"),
        ({"cutoff": 0.0}, "expected a positive, finite cutoff, got 0.0"),
        ({"cutoff": np.inf}, "expected a positive, finite cutoff, got inf"),
        ({"finder": "kdtree"}, r"expected finder to be one of \['matscipy', 'vesin'\], got 'kdtree'"),
        ({"cell": np.eye(2)}, r"expected cell of shape \(3, 3\), got \(2, 2\)"),
        ({"pbc": True}, "expected independent vectors along periodic directions"),
        ({"cell": np.ones((3, 3)), "pbc": [True, True, False]}, "expected independent vectors"),
    ],
)
def test_arguments_of_neighbours_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        e3any_ase.neighbours(**{"positions": np.zeros((2, 3)), "cutoff": 1.0} | options)


def test_numbers_belong_to_positions():
    with pytest.raises(ValueError, match=r"expected as many numbers as positions, got shapes \(1,\) and \(2, 3\)"):
        e3any_ase.from_arrays([1], np.zeros((2, 3)), cutoff=1.0)


class TestFiles:
    @pytest.fixture
    def frames(self):
        """A molecule and a crystal, with results."""
        rng, frames = np.random.default_rng(0), [STRUCTURES["molecule"](), STRUCTURES["crystal"]()]
        for atoms in frames:
            results = {"energy": rng.normal(), "forces": rng.normal(size=(len(atoms), 3))}
            if atoms.pbc.all():
                results["stress"] = rng.normal(size=6)
            atoms.calc = SinglePointCalculator(atoms, **results)
        return frames

    def test_frames_of_extxyz_are_read_with_their_labels(self, frames, tmp_path):
        write(tmp_path / "frames.extxyz", frames)
        read = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=CUTOFF)
        for structure, atoms in zip(read, frames, strict=True):
            expected = e3any_ase.from_atoms(atoms, cutoff=CUTOFF)
            assert structure.keys() == expected.keys()
            for name, x in expected.items():
                np.testing.assert_allclose(structure[name], x, atol=1e-7)
        assert "stress" not in read[0]
        assert read[1]["stress"].shape == (3, 3)
        assert read[0]["energy"] == pytest.approx(frames[0].get_potential_energy(), abs=1e-7)

    def test_some_frames_are_read(self, frames, tmp_path):
        write(tmp_path / "frames.extxyz", frames)
        (one,) = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=CUTOFF, index="1:")
        assert len(one["numbers"]) == len(frames[1])
        (last,) = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=CUTOFF, index="-1")
        assert len(last["numbers"]) == len(frames[1])

    def test_a_file_is_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            e3any_ase.read_structures(tmp_path / "none.extxyz", cutoff=CUTOFF)

    def test_constraints_leave_labels_as_they_are(self, frames):
        frames[0].set_constraint(ase.constraints.FixAtoms([0]))
        structure = e3any_ase.from_atoms(frames[0], cutoff=CUTOFF)
        np.testing.assert_array_equal(structure["forces"], frames[0].calc.results["forces"])

    def test_energies_of_constraints_are_no_labels(self, frames):
        energy = frames[0].calc.results["energy"]
        frames[0].set_constraint(ase.constraints.Hookean(0, 1, k=5.0, rt=0.1))
        assert abs(frames[0].get_potential_energy() - energy) > 0.1
        assert e3any_ase.from_atoms(frames[0], cutoff=CUTOFF)["energy"] == energy


class TestDisplacements:
    @structures
    def test_sparse_and_dense_lists_give_the_vectors_that_ase_finds(self, name, library):
        if library is Library.JAX and name != "slab":
            pytest.skip("JAX compiles operations for every shape")
        atoms = STRUCTURES[name]()
        structure = e3any_ase.from_atoms(atoms, cutoff=CUTOFF)
        expected = primitive_neighbor_list("D", atoms.pbc, atoms.cell.complete().array, atoms.positions, CUTOFF)
        x = {key: library.array(value) for key, value in structure.items()}
        lists = {key: x[key] for key in ("dst_idx", "src_idx")}
        vectors = library.numpy(ops.displacements(x["positions"], x["cell"], x["shifts"], **lists))
        by_value = [v[np.lexsort(v.round(6).T)] for v in (vectors, expected)]
        np.testing.assert_allclose(by_value[0], by_value[1], atol=1e-12)
        dense = {k: library.array(v) for k, v in e3any_ase.to_dense(structure, num_nodes=len(atoms) + 2).items()}
        found = library.numpy(
            ops.displacements(dense["positions"], dense["cell"], dense["shifts"], adj_idx=dense["adj_idx"])
        )
        present = library.numpy(dense["adj_idx"]) < len(atoms) + 2
        np.testing.assert_allclose(found[present], vectors, atol=1e-12)
        assert (found[~present] == [0.5, 0.75, 1.0]).all()

    @pytest.mark.parametrize("dense", [False, True])
    def test_derivatives_along_positions_cell_and_strain(self, dense):
        structure = e3any_ase.from_atoms(STRUCTURES["crystal"](), cutoff=CUTOFF)
        structure = e3any_ase.to_dense(structure) if dense else structure
        lists = {k: structure[k] for k in (("adj_idx",) if dense else ("dst_idx", "src_idx"))}
        rng = np.random.default_rng(0)
        weights = rng.normal(size=structure["shifts"].shape)

        def function(lib, positions, cell, strain):
            given = {k: lib(v) for k, v in lists.items()}
            vectors = ops.displacements(positions, cell, lib(structure["shifts"]), strain, **given)
            return ((vectors**2 + vectors) * lib(weights)).sum()

        at = (structure["positions"], structure["cell"], 0.1 * rng.normal(size=(3, 3)))
        along = [rng.normal(size=x.shape) for x in at]
        leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in at]
        by_torch = torch.autograd.grad(function(torch.from_numpy, *leaves), leaves)
        by_jax = jax.jit(jax.grad(partial(function, jnp.asarray), argnums=(0, 1, 2)))(*at)
        assert_parity(by_jax, tuple(x.numpy() for x in by_torch), rtol=1e-12)
        for k in range(3):
            step = [1e-6 * v if i == k else 0 * v for i, v in enumerate(along)]
            plus, minus = (function(np.asarray, *(x + s * d for x, d in zip(at, step, strict=True))) for s in (1, -1))
            slope = np.sum(np.asarray(by_jax[k]) * along[k])
            assert slope == pytest.approx((plus - minus) / 2e-6, rel=1e-7)

    def test_batches_have_their_own_cells(self):
        graphs = [e3any_ase.from_atoms(STRUCTURES[k](), cutoff=CUTOFF) for k in ("crystal", "molecule", "atom")]
        batch = e3any_ase.pad_structures(graphs)
        lists = {k: batch[k] for k in ("dst_idx", "src_idx")}
        together = ops.displacements(batch["positions"], batch["cell"], batch["shifts"], **lists)
        for vectors, graph in zip(together, graphs, strict=True):
            alone = ops.displacements(
                graph["positions"], graph["cell"], graph["shifts"], dst_idx=graph["dst_idx"], src_idx=graph["src_idx"]
            )
            np.testing.assert_allclose(vectors[: len(alone)], alone, atol=1e-14)
            assert (vectors[len(alone) :] == [0.5, 0.75, 1.0]).all()
        np.testing.assert_array_equal(batch["node_mask"].sum(-1), [len(graph["numbers"]) for graph in graphs])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cell": np.eye(3)}, "expected both cell and shifts or neither, got only cell"),
            ({"shifts": np.zeros((1, 3))}, "expected both cell and shifts or neither, got only shifts"),
            ({"cell": np.eye(3), "shifts": np.zeros((2, 3))}, r"expected shifts of shape \(1, 3\), got \(2, 3\)"),
            ({"cell": np.eye(2), "shifts": np.zeros((1, 3))}, r"expected cell of shape \(3, 3\), got \(2, 2\)"),
            ({"strain": np.zeros((1, 3, 3))}, r"expected strain of shape \(3, 3\), got \(1, 3, 3\)"),
        ],
    )
    def test_shapes_are_checked(self, options, message):
        index = np.zeros(1, int)
        with pytest.raises(ValueError, match=message):
            ops.displacements(np.zeros((2, 3)), **options, dst_idx=index, src_idx=index)


def test_dense_lists_are_padded_to_buckets_and_checked():
    structure = e3any_ase.from_atoms(STRUCTURES["crystal"](), cutoff=CUTOFF)
    most, num = np.bincount(structure["dst_idx"]).max(), len(structure["numbers"])
    dense = e3any_ase.to_dense(structure)
    assert dense["adj_idx"].shape == (num, ops.bucket_size(most))
    assert "dst_idx" not in dense
    back = ops.dense_to_sparse_indices(dense["adj_idx"], num)
    np.testing.assert_array_equal(back, [structure["dst_idx"], structure["src_idx"]])
    assert e3any_ase.to_dense(structure, num_nodes=num + 3)["numbers"].shape == (num + 3,)
    with pytest.raises(ValueError, match=f"expected at most 1 neighbours, got an atom with {most}"):
        e3any_ase.to_dense(structure, width=1)
    with pytest.raises(ValueError, match="expected at most 1 rows"):
        e3any_ase.to_dense(structure, num_nodes=1)


@dataclass(frozen=True)
class AtomicEnergies(nn.Layer):
    """A small model of energies of atoms."""

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (N,)."""
        cutoff = partial(nn.smooth_cutoff, cutoff=CUTOFF)
        radial = partial(nn.basic_bernstein, limit=CUTOFF)
        basis = nn.basis(vectors, max_degree=1, num=4, radial_fn=radial, cutoff_fn=cutoff)
        x = nn.Embed(100, 3)(p / "embed", numbers)
        x = nn.add(x, nn.MessagePass(1, include_pseudotensors=False)(p / "first", x, basis, **lists))
        x = nn.TensorDense(3, 0, include_pseudotensors=False)(p / "product", x)
        return backend_of(x).xp.sum(nn.silu(x), axis=(-3, -2, -1))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A checkpoint of the model."""
    structure = e3any_ase.from_atoms(STRUCTURES["molecule"](), cutoff=CUTOFF)
    lists = {k: structure[k] for k in ("dst_idx", "src_idx")}
    example = structure["numbers"], np.zeros((len(lists["dst_idx"]), 3), np.float32)
    tree = initialize(AtomicEnergies().parameters(*example, **lists), np.random.default_rng(0))
    file = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    checkpoint.save(file, tree)
    return file


@pytest.fixture(scope="module")
def calculators(path):
    """The calculator of every framework, in double precision."""
    make = partial(e3any_ase.ModelCalculator.from_checkpoint, path, AtomicEnergies(), cutoff=CUTOFF, dtype="float64")
    return {framework: make(framework=framework) for framework in ("flax", "torch")}


def slope(atoms, deform, step=1e-4):
    """Return the derivative of the energy along a deformation, by differences of fourth order."""
    energies = {}
    for k in (-2, -1, 1, 2):
        moved = atoms.copy()
        deform(moved, k * step)
        moved.calc = atoms.calc
        energies[k] = moved.get_potential_energy()
    return (8 * (energies[1] - energies[-1]) - (energies[2] - energies[-2])) / (12 * step)


class TestCalculator:
    @structures
    def test_forces_and_stress_are_slopes_of_the_energy(self, name, calculators):
        atoms, rng = STRUCTURES[name](), np.random.default_rng(2)
        atoms.calc = calculators["torch"]
        forces, along = atoms.get_forces(), rng.normal(size=(len(atoms), 3))

        def move(a, h):
            a.positions += h * along

        assert np.sum(forces * along) == pytest.approx(-slope(atoms, move), rel=1e-6, abs=1e-9)
        if len(atoms) > 1:
            assert np.abs(forces).max() > 1e-3
        if not atoms.cell.volume:
            with pytest.raises(PropertyNotImplementedError, match="expected a cell with a volume for stress"):
                atoms.get_stress()
            return
        direction = rng.normal(size=(3, 3))

        def strain(a, h):
            a.set_cell(a.cell.array @ (np.eye(3) + h * (direction + direction.T) / 2), scale_atoms=True)

        stress = atoms.get_stress(voigt=False)
        np.testing.assert_array_equal(stress, stress.T)
        expected = slope(atoms, strain) / atoms.cell.volume
        assert np.sum(stress * direction) == pytest.approx(expected, rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize("name", ["molecule", "crystal", "slab", "atom"])
    def test_frameworks_agree(self, name, calculators):
        atoms, results = STRUCTURES[name](), {}
        for framework, calculator in calculators.items():
            calculator.calculate(atoms)
            results[framework] = calculator.results
        assert_parity(results["flax"], results["torch"], rtol=1e-12)

    def test_energies_of_atoms_sum_to_the_energy_and_repeat_with_the_cell(self, calculators):
        one = rattled(bulk("NaCl", "rocksalt", a=5.0))
        many = one.repeat((2, 1, 2))
        for atoms in (one, many):
            atoms.calc = calculators["torch"]
        assert one.get_potential_energies().sum() == pytest.approx(one.get_potential_energy(), rel=1e-14)
        assert one.get_potential_energy(force_consistent=True) == one.get_potential_energy()
        np.testing.assert_allclose(many.get_potential_energies(), np.tile(one.get_potential_energies(), 4), rtol=1e-12)
        np.testing.assert_allclose(many.get_forces(), np.tile(one.get_forces(), (4, 1)), atol=1e-12)
        np.testing.assert_allclose(many.get_stress(), one.get_stress(), atol=1e-13)

    def test_rotations_turn_forces_and_stress(self, calculators):
        atoms, turned = STRUCTURES["crystal"](), STRUCTURES["crystal"]()
        turned.rotate(40, (1, 2, 3), rotate_cell=True)
        matrix = np.linalg.solve(atoms.cell.array, turned.cell.array)
        for each in (atoms, turned):
            each.calc = calculators["torch"]
        np.testing.assert_allclose(turned.get_forces(), atoms.get_forces() @ matrix, atol=1e-11)
        stress = matrix.T @ atoms.get_stress(voigt=False) @ matrix
        np.testing.assert_allclose(turned.get_stress(voigt=False), stress, atol=1e-12)

    def test_single_precision_agrees_as_far_as_it_goes(self, path, calculators):
        atoms, expected = STRUCTURES["crystal"](), calculators["torch"]
        single = e3any_ase.ModelCalculator.from_checkpoint(path, AtomicEnergies(), cutoff=CUTOFF, framework="torch")
        for calculator in (single, expected):
            calculator.calculate(atoms)
        assert single.results["forces"].dtype == np.float64
        for name, x in expected.results.items():
            np.testing.assert_allclose(single.results[name], x, rtol=1e-5, atol=1e-5)
        assert single.results["energy"] != expected.results["energy"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"framework": "numpy"}, "expected framework to be 'flax' or 'torch', got 'numpy'"),
            ({"dtype": "bfloat16"}, "expected dtype to be 'float32' or 'float64', got 'bfloat16'"),
        ],
    )
    def test_options_are_checked(self, path, options, message):
        with pytest.raises(ValueError, match=message):
            e3any_ase.ModelCalculator.from_checkpoint(path, AtomicEnergies(), cutoff=1.0, **options)

    def test_models_return_an_energy_for_every_atom(self, calculators):
        @dataclass(frozen=True)
        class Total(nn.Layer):
            def forward(self, p, numbers, vectors, **lists):
                return vectors.sum()

        calculator = e3any_ase.ModelCalculator(Total(), {}, cutoff=CUTOFF, framework="torch")
        with pytest.raises(ValueError, match=r"expected energies of shape \(8,\), got \(\)"):
            calculator.calculate(STRUCTURES["crystal"]())


def test_lists_stay_as_they_are_when_others_are_made(rng):
    arrays = rng.normal(size=(40, 3)), 4.0 * np.eye(3), (True, True, False)
    first = e3any_ase.neighbours(*arrays, cutoff=1.5)
    kept = [np.array(part) for part in first]
    for positions, cutoff in ((rng.normal(size=(90, 3)), 1.5), (rng.normal(size=(3, 3)), 2.5)):
        e3any_ase.neighbours(positions, 5.0 * np.eye(3), True, cutoff=cutoff)
    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda _: e3any_ase.neighbours(*arrays, cutoff=1.5), range(20)))
    for lists in (first, *others):
        for part, before in zip(lists, kept):
            np.testing.assert_array_equal(part, before)
