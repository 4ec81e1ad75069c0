"""Labels of structures: read, named by a warning, or refused, but never dropped without a word."""

from __future__ import annotations

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

    def test_dense_structures_keep_their_labels(self, structures):
        dense = e3any_ase.to_dense(structures[1], num_nodes=8)
        assert dense["energy"] == structures[1]["energy"]
        assert dense["forces"].shape == (8, 3)
