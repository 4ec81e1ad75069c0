"""Models of the literature: what all have in common, and their default sizes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import ase.build
import numpy as np
import pytest
import torch
from e3any_ase import ModelCalculator, from_atoms
from layer_cases import random_parameters, tree_map

from e3any import Irreps, description, models, ops, so3
from e3any.nn.layer import leaves
from e3any.testing import assert_parity

ELEMENTS = (8, 1, 6)
SMALL = {
    "NequIP": models.NequIP(ELEMENTS, Irreps("4x0+ + 2x0- + 3x1- + 2x1+ + 2x2+"), 3, hidden=(6,), readout=3, order=3),
    "NequIP, normalised": models.NequIP(
        ELEMENTS,
        Irreps("4x0+ + 3x1-"),
        2,
        1,
        hidden=(6,),
        readout=None,
        norm_epsilon=1e-5,
        species_skip=False,
        embedding=5,
    ),
    "SevenNet": models.SevenNet(ELEMENTS, Irreps("4x0 + 3x1 + 2x2"), 3, hidden=(6,), readout=3, scale=2.0),
}


def ethanol(**options):
    structure = from_atoms(ase.build.molecule("CH3CH2OH"), cutoff=5.0, **options)
    return {name: structure[name] for name in ("numbers", "positions", "cell", "shifts", "dst_idx", "src_idx")}


def energies(model, params, structure):
    lists = {name: structure[name] for name in ("dst_idx", "src_idx")}
    vectors = ops.displacements(structure["positions"], structure["cell"], structure["shifts"], **lists)
    return model(params, structure["numbers"], vectors, **lists)


def parameters(model, rng):
    lists = {"dst_idx": np.asarray([0]), "src_idx": np.asarray([0])}
    return random_parameters(model, rng, (np.asarray([1]), np.ones((1, 3))), lists)


@pytest.mark.parametrize("name", SMALL)
def test_energies_obey_the_symmetries_of_space(rng, name):
    model, structure = SMALL[name], ethanol()
    params = parameters(model, rng)
    expected = energies(model, params, structure)
    assert np.ptp(expected) > 1e-3
    rotation = so3.random_rotation(rng)
    moved = structure | {"positions": structure["positions"] @ rotation + 1.0}
    assert_parity(energies(model, params, moved), expected, "float64")
    mirrored = energies(model, params, structure | {"positions": -structure["positions"]})
    if model.irreps.has_parity:
        assert_parity(mirrored, expected, "float64")
    else:
        assert np.abs(mirrored - expected).max() > 1e-6
    order = rng.permutation(len(expected))
    places = np.argsort(order)
    renamed = {name: places[structure[name]] for name in ("dst_idx", "src_idx")}
    permuted = {name: structure[name][order] for name in ("numbers", "positions")}
    assert_parity(energies(model, params, structure | permuted | renamed), expected[order], "float64")


@pytest.mark.parametrize("name", SMALL)
def test_padding_distant_atoms_and_other_elements_have_no_influence(rng, name):
    model, structure = SMALL[name], ethanol()
    params, num = parameters(model, rng), len(structure["numbers"])
    expected = energies(model, params, structure)
    more = {
        "numbers": [0, 79, 6],
        "positions": np.asarray([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [model.cutoff, 0.0, 0.0]]),
        "dst_idx": [num + 3, num + 2, num + 2],
        "src_idx": [0, num + 1, num],
        "shifts": np.zeros((3, 3)),
    }
    padded = {name: np.concatenate([x, more[name]]) if name in more else x for name, x in structure.items()}
    found = energies(model, params, padded)
    assert_parity(found[:num], expected, "float64")
    assert found[num] == found[num + 1] == 0.0
    alone = {"numbers": np.asarray([6]), "positions": np.zeros((1, 3)), "shifts": np.zeros((0, 3))}
    alone |= dict.fromkeys(("dst_idx", "src_idx"), np.zeros(0, np.int64))
    assert_parity(found[num + 2], energies(model, params, structure | alone)[0], "float64")


@pytest.mark.parametrize("name", ["NequIP", "SevenNet"])
def test_calculators_agree_with_numpy_and_differences(rng, name):
    model = replace(SMALL[name], num_interactions=2)
    params, atoms = parameters(model, rng), ase.build.molecule("CH3CH2OH", vacuum=4.0)
    results = []
    for framework in ("flax", "torch") if name == "SevenNet" else ("torch",):
        atoms.calc = ModelCalculator(model, params, framework=framework, dtype="float64")
        results.append([atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()])
    assert_parity(results[0], results[-1], "float64")
    assert results[-1][0] == pytest.approx(energies(model, params, ethanol()).sum(), rel=1e-10)
    assert atoms.calc.elements == (1, 6, 8)
    with pytest.raises(ValueError, match=r"expected elements that the model knows, .* got N \(7\)"):
        atoms.calc.get_potential_energy(ase.build.molecule("NH3"))
    step = 1e-4 * np.eye(3)[2]
    of_moved = []
    for sign in (1, -1):
        atoms.positions[4] += sign * step
        of_moved.append(atoms.get_potential_energy())
        atoms.positions[4] -= sign * step
    assert (of_moved[1] - of_moved[0]) / 2e-4 == pytest.approx(results[-1][1][4, 2], rel=1e-5)


def test_pytorch_compiles_a_model_as_one_graph(rng):
    model, structure = replace(SMALL["NequIP"], num_interactions=2), ethanol()
    params = tree_map(torch.from_numpy, parameters(model, rng))
    tensors = {name: torch.from_numpy(np.asarray(x)) for name, x in structure.items()}
    compiled = torch.compile(partial(energies, model), fullgraph=True, backend="eager")
    assert_parity(compiled(params, tensors), energies(model, params, tensors), "float64")


@pytest.mark.parametrize("name", SMALL)
def test_descriptions_are_read(name):
    model = SMALL[name]
    assert description.layer_of(description.describe(model), [type(model)]) == model


@pytest.mark.parametrize(
    ("model", "number"),
    [(models.SevenNet(elements=range(1, 90)), 842_618), (models.NequIP(ELEMENTS), 519_390)],
    ids=["SevenNet", "NequIP"],
)
def test_default_sizes(rng, model, number):
    lists = {"dst_idx": np.asarray([0, 1]), "src_idx": np.asarray([1, 0])}
    vectors = np.asarray([[1.0, 0.2, 0.0], [-1.0, -0.2, 0.0]], np.float32)
    assert sum(np.prod(x.shape) for _, x in leaves(model.parameters(np.asarray([1, 8]), vectors, **lists))) == number


WRONG = {
    "twice": ({"elements": (1, 1)}, ValueError, r"expected elements as different atomic numbers, got \(1, 1\)"),
    "none": ({"elements": ()}, ValueError, "expected elements as different atomic numbers"),
    "zero": ({"elements": (0, 1)}, ValueError, "expected elements as different atomic numbers"),
    "scalars": ({"irreps": "2x1"}, ValueError, "expected irreps with scalars '0', got 2x1"),
    "cutoff": ({"cutoff": -1.0}, ValueError, "expected cutoff > 0, got -1.0"),
    "number": ({"num_neighbours": "many"}, TypeError, "num_neighbours"),
    "shifts": ({"shift": (1.0, 2.0)}, ValueError, "expected 94 values of shift or one, got 2"),
    "dtype": ({"param_dtype": "int32"}, TypeError, "param_dtype"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("model", [models.NequIP, models.SevenNet])
def test_settings_are_checked(model, wrong):
    options, error, message = WRONG[wrong]
    with pytest.raises(error, match=message):
        model(**options)


def test_onsets_are_checked():
    with pytest.raises(ValueError, match=r"expected 0 <= onset < cutoff, got onset = 6\.0 and cutoff = 5\.0"):
        models.SevenNet(onset=6.0)


WRONG_CALLS = {
    "numbers": ({"numbers": np.ones(9)}, TypeError, "expected numbers to be an integer array, got"),
    "vectors": ({"vectors": np.ones((2, 2))}, ValueError, r"expected vectors of shape \(..., 3\), got \(2, 2\)"),
    "lists": ({"dst_idx": None}, TypeError, "expected both dst_idx and src_idx"),
    "edges": ({"vectors": np.ones((3, 3))}, ValueError, "got"),
}


@pytest.mark.parametrize("wrong", WRONG_CALLS)
@pytest.mark.parametrize("name", ["NequIP", "SevenNet"])
def test_inputs_are_checked(rng, name, wrong):
    change, error, message = WRONG_CALLS[wrong]
    inputs = {"numbers": np.asarray([1, 8]), "vectors": np.ones((2, 3))}
    inputs |= {"dst_idx": np.asarray([0, 1]), "src_idx": np.asarray([1, 0])}
    with pytest.raises(error, match=message):
        SMALL[name](parameters(SMALL[name], rng), **inputs | change)
