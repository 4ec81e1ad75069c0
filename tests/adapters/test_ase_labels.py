"""Labels of structures: read, named by a warning, or refused, but never dropped without a word."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from e3any import ops

pytest.importorskip("ase")
pytest.importorskip("vesin")

import e3any_ase
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

OWN = {"energy": "REF_energy", "forces": "REF_forces"}


def labelled(atoms, seed=0):
    rng = np.random.default_rng(seed)
    atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=rng.normal(size=(len(atoms), 3)))
    return atoms


def with_own_names(atoms, seed=1):
    rng = np.random.default_rng(seed)
    atoms.info["REF_energy"] = rng.normal()
    atoms.arrays["REF_forces"] = rng.normal(size=(len(atoms), 3))
    return atoms


def test_labels_under_their_own_names_are_read(tmp_path):
    frames = [with_own_names(molecule(name), seed) for seed, name in enumerate(("H2O", "CH4"))]
    write(tmp_path / "frames.extxyz", frames)
    read = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0, labels=OWN)
    for structure, atoms in zip(read, frames):
        assert structure["energy"] == pytest.approx(atoms.info["REF_energy"])
        np.testing.assert_allclose(structure["forces"], atoms.arrays["REF_forces"], atol=1e-7)
    np.testing.assert_array_equal(
        e3any_ase.from_atoms(frames[1], cutoff=3.0, labels=OWN)["forces"], frames[1].arrays["REF_forces"]
    )


def test_names_that_are_given_come_before_results():
    structure = e3any_ase.from_atoms(with_own_names(labelled(molecule("H2O"))), cutoff=3.0, labels=OWN)
    assert structure["energy"] == with_own_names(molecule("H2O")).info["REF_energy"]


@pytest.mark.parametrize("name", ["REF_energy", "dft_forces", "virials", "Stress", "TotEnergy", "energy_dft"])
def test_labels_that_are_not_read_are_said_once(name, tmp_path):
    frames = [molecule("H2O"), molecule("CH4")]
    for atoms in frames:
        atoms.info[name] = 1.0
    with pytest.warns(UserWarning, match=f"labels '{name}' are not read: name them, as in labels="):
        e3any_ase.from_atoms(frames[0], cutoff=3.0)
    write(tmp_path / "frames.extxyz", frames)
    with pytest.warns(UserWarning, match=f"'{name}'") as said:
        e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0)
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        *((name, {"energy": name}) for name in ("E", "DFT_E", "etot", "U0", "free_energy")),
        *((name, {"forces": name}) for name in ("F", "force", "MACE_forces")),
        ("dft_stress", {"stress": "dft_stress"}),
        ("virials", {"virial": "virials"}),
    ],
)
def test_warnings_name_the_right_label(name, suggestion, tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.0)
    kind = next(iter(suggestion))
    if name == "free_energy":
        atoms.calc = SinglePointCalculator(atoms, free_energy=2.0)
    else:
        shape = {"energy": (), "forces": (2, 3)}.get(kind, (3, 3))
        (atoms.arrays if kind == "forces" else atoms.info)[name] = np.full(shape, 2.0)
    write(tmp_path / "frames.extxyz", atoms)
    with pytest.warns(
        UserWarning, match=re.escape(f"labels '{name}' are not read: name them, as in labels={suggestion}")
    ):
        e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0)
    (read,) = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0, labels=suggestion)
    assert abs(read["stress" if kind == "virial" else kind]).max() > 0


@pytest.mark.parametrize("name", ["gradient", "dE_dr", "grad", "dipole", "charge", "charges", "magmom", "magmoms"])
def test_what_no_label_is_for_is_said(name):
    atoms = molecule("H2O")
    if name in ("charge", "gradient", "dE_dr", "grad"):
        atoms.info[name] = 1.0
    else:
        atoms.calc = SinglePointCalculator(atoms, **{name: np.ones(3)})
    with pytest.warns(UserWarning, match=f"(gradients|quantities) '{name}' are not read"):
        e3any_ase.from_atoms(atoms, cutoff=3.0)


def test_own_names_mix_with_those_that_ase_reads(tmp_path):
    atoms = labelled(molecule("H2O"))
    atoms.info["REF_energy"] = 5.0
    write(tmp_path / "frames.extxyz", atoms)
    labels = {"energy": "REF_energy", "forces": "forces"}
    with pytest.warns(UserWarning, match=re.escape(f"labels 'forces' are not read: name them, as in labels={labels}")):
        e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0, labels={"energy": "REF_energy"})
    (read,) = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0, labels=labels)
    assert read["energy"] == 5.0
    np.testing.assert_allclose(read["forces"], atoms.calc.results["forces"], atol=1e-7)


def test_stress_of_calculators_has_any_form_or_is_refused():
    atoms, matrix = bulk("Cu"), np.asarray([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    for stress in (matrix, matrix.ravel(), np.arange(1.0, 7.0)):
        atoms.calc = SinglePointCalculator(atoms, stress=stress)
        np.testing.assert_array_equal(e3any_ase.from_atoms(atoms, cutoff=3.0)["stress"], matrix)
    atoms.calc = SinglePointCalculator(atoms, stress=np.ones(4))
    with pytest.raises(ValueError, match=r"expected 'stress' of shape \(3, 3\), got \(4,\)"):
        e3any_ase.from_atoms(atoms, cutoff=3.0)


def test_results_that_are_left_out_beside_own_names_are_said():
    with pytest.warns(UserWarning, match="labels 'REF_forces', 'forces' are not read"):
        e3any_ase.from_atoms(with_own_names(labelled(molecule("H2O"))), cutoff=3.0, labels={"energy": "REF_energy"})


def test_other_names_are_no_labels():
    atoms = molecule("H2O")
    atoms.set_initial_charges([0.1] * 3)
    atoms.info |= {"config_type": "water", "energy_weight": 2.0, "charge": 0}
    labelled(atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {"energy", "forces"} < set(e3any_ase.from_atoms(atoms, cutoff=3.0))


@pytest.mark.parametrize("form", ["matrix", "voigt", "flat"])
def test_stress_is_read_in_every_form_and_from_a_virial(form):
    atoms, voigt = bulk("Cu"), np.arange(1.0, 7.0)
    matrix = np.asarray([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    atoms.info["dft_stress"] = {"matrix": matrix, "voigt": voigt, "flat": matrix.ravel()}[form]
    read = e3any_ase.from_atoms(atoms, cutoff=3.0, labels={"stress": "dft_stress"})
    np.testing.assert_array_equal(read["stress"], matrix)
    read = e3any_ase.from_atoms(atoms, cutoff=3.0, labels={"virial": "dft_stress"})
    np.testing.assert_allclose(read["stress"], -matrix / atoms.get_volume())


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ({"energy": "energie"}, ValueError, r"expected 'energie' in atoms.info or atoms.arrays, got \['REF_energy'"),
        ({"charge": "REF_charge"}, ValueError, r"expected labels to be some of \('energy', .* got \['charge'\]"),
        ({"stress": "a", "virial": "b"}, ValueError, "either stress or virial"),
        ({"forces": "REF_energy"}, ValueError, r"expected 'REF_energy' of shape \(3, 3\), got \(\)"),
        ({"energy": "REF_forces"}, ValueError, r"expected 'REF_forces' of shape \(\), got \(3, 3\)"),
        ({"energy": "REF_text"}, TypeError, "expected 'REF_text' to be real numbers, got str"),
        ({"energy": "REF_nan"}, ValueError, "expected finite numbers under 'REF_nan', got nan"),
        ({"virial": "REF_forces"}, ValueError, "expected a cell with a volume for stress"),
        ("REF_energy", TypeError, "expected labels to be a mapping"),
        ({"energy": 1}, TypeError, "expected labels to be a mapping of names"),
    ],
)
def test_labels_are_checked(labels, error, message):
    atoms = with_own_names(molecule("H2O"))
    atoms.info |= {"REF_text": "low", "REF_nan": np.nan}
    with pytest.raises(error, match=message):
        e3any_ase.from_atoms(atoms, cutoff=3.0, labels=labels)


def test_some_frames_may_lack_a_label_but_not_all(tmp_path):
    write(tmp_path / "frames.extxyz", [molecule("H2O"), with_own_names(molecule("CH4"))])
    read = e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0, labels=OWN)
    assert ["energy" in structure for structure in read] == [False, True]
    with pytest.raises(ValueError, match="expected 'energie' in a frame"):
        e3any_ase.read_structures(tmp_path / "frames.extxyz", cutoff=3.0, labels={"energy": "energie"})


class TestBatches:
    @pytest.fixture
    def structures(self):
        """Three structures: without labels, with energy and forces, with an energy."""
        plain, full = molecule("H2O"), labelled(molecule("CH4"))
        energy = molecule("NH3")
        energy.calc = SinglePointCalculator(energy, energy=3.0)
        return [e3any_ase.from_atoms(atoms, cutoff=3.0) for atoms in (plain, full, energy)]

    @pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2), (2, 1), (0, 1, 2)])
    def test_labels_of_some_structures_are_refused(self, structures, order):
        with pytest.raises(ValueError, match=r"expected labels of every structure, got .*'forces' of some.*masks"):
            e3any_ase.pad_structures([structures[i] for i in order])

    def test_masks_say_which_structures_have_a_label(self, structures):
        batch = e3any_ase.pad_structures(structures, label_masks=True)
        np.testing.assert_array_equal(batch["energy_mask"], [False, True, True])
        np.testing.assert_array_equal(batch["forces_mask"], [False, True, False])
        assert "stress_mask" not in batch
        np.testing.assert_array_equal(batch["energy"], [0.0, structures[1]["energy"], 3.0])
        np.testing.assert_array_equal(batch["forces"][1, :5], structures[1]["forces"])
        assert not batch["forces"][[0, 2]].any()
        assert batch["forces"].shape == batch["positions"].shape

    def test_labels_of_nothing_but_nan_are_missing(self, structures):
        expected = e3any_ase.pad_structures(structures, label_masks=True)
        nan = {"energy": np.asarray(np.nan), "forces": np.full((3, 3), np.nan), "stress": np.full((3, 3), np.nan)}
        found = e3any_ase.pad_structures([structures[0] | nan, *structures[1:]], label_masks=True)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_labels_that_are_finite_in_part_have_no_mask(self, structures, wrong):
        forces = np.where(np.eye(5, 3), wrong, structures[1]["forces"])
        with pytest.raises(ValueError, match=f"expected finite numbers under 'forces'.*, got {wrong} among 15"):
            e3any_ase.pad_structures([structures[0], structures[1] | {"forces": forces}], label_masks=True)

    def test_structures_without_any_label_have_no_masks(self, structures):
        for masks in (False, True):
            batch = e3any_ase.pad_structures([structures[0]] * 2, label_masks=masks)
            assert not [name for name in batch if name.endswith("_mask") and name != "node_mask"]

    @pytest.mark.parametrize("masks", ["yes", None, 2])
    def test_masks_are_a_setting(self, structures, masks):
        with pytest.raises(ValueError, match="expected label_masks to be True or False"):
            e3any_ase.pad_structures(structures, label_masks=masks)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_arrays_of_some_graphs_are_refused(self, structures, order):
        graphs = [{name: structures[i][name] for name in ("numbers", "dst_idx", "src_idx")} for i in order]
        graphs[order[0]]["spin"] = np.zeros(())
        with pytest.raises(ValueError, match=r"expected .*spin.* in every graph|in every graph, got .*spin"):
            ops.pad_graphs(graphs, nodes=["numbers"])

    def test_labels_are_arrays_of_numbers(self, structures):
        for wrong in (1.5, "2.5", [1.5], np.asarray("2.5")):
            with pytest.raises(TypeError, match=r"expected (an array under|arrays) 'energy'.* got "):
                e3any_ase.pad_structures([structures[2], {**structures[2], "energy": wrong}])

    def test_padded_structures_can_be_made_dense(self, structures):
        padded = e3any_ase.pad_structures(structures[1:2])
        dense = e3any_ase.to_dense({name: x[0] for name, x in padded.items()}, num_nodes=9)
        alone = e3any_ase.to_dense(structures[1], num_nodes=9)
        for name in alone:
            np.testing.assert_array_equal(dense[name], alone[name])
        np.testing.assert_array_equal(dense["node_mask"], np.arange(9) < 5)
        with pytest.raises(ValueError, match=r"expected lists of one structure, of shapes .* got \(1, "):
            e3any_ase.to_dense(padded)
        with pytest.raises(ValueError, match="expected src_idx from 0 to 5, which is padding, got 0 to 9"):
            e3any_ase.to_dense(structures[1] | {"src_idx": np.where(structures[1]["src_idx"] == 1, 9, 0)})

    @pytest.mark.parametrize("dtype", ["int8", "uint8"])
    def test_small_indices_grow_where_padding_needs_it(self, structures, dtype):
        small = structures[1] | {name: structures[1][name].astype(dtype) for name in ("dst_idx", "src_idx")}
        assert e3any_ase.pad_structures([small], num_nodes=300)["dst_idx"].max() == 300
        assert e3any_ase.to_dense(small, num_nodes=300)["adj_idx"].max() == 300
        assert e3any_ase.to_dense(small)["adj_idx"].dtype == dtype

    def test_dense_structures_keep_their_labels(self, structures):
        dense = e3any_ase.to_dense(structures[1], num_nodes=8)
        assert dense["energy"] == structures[1]["energy"]
        assert dense["forces"].shape == (8, 3)
