"""What the functions for ASE do with bad input."""

from __future__ import annotations

import math
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from e3any import nn

pytest.importorskip("ase")
pytest.importorskip("vesin")

import e3any_ase

POSITIONS, STRUCTURE = np.zeros((2, 3)), e3any_ase.from_arrays([1, 1], np.eye(3)[:2], cutoff=2.0)


def saved(**wrong):
    """Save a model, whose file is not looked at."""
    with TemporaryDirectory() as folder:
        right = {"path": f"{folder}/model", "params": {}, "layer": nn.Dense(2), "cutoff": 1.0, "elements": [1]}
        e3any_ase.save_model(**{**right, **wrong})


def calculator(**wrong):
    right = {"model": nn.Dense(2), "params": {}, "cutoff": 1.0}
    return e3any_ase.ModelCalculator(**{**right, **wrong})


CASES = {
    "e3any_ase.ModelCalculator": (
        lambda wrong: calculator(**wrong),
        [
            *({"model": layer} for layer in (None, "Dense", nn.Dense)),
            {"params": None},
            *({"cutoff": cutoff} for cutoff in (None, "1", math.nan, -1.0)),
            *({name: "other"} for name in ("finder", "framework", "dtype")),
            *({"elements": elements} for elements in ("H", ["X"], [0], [119], [1.0], [True], 1)),
        ],
    ),
    "e3any_ase.save_model": (
        lambda wrong: saved(**wrong),
        [
            *({"layer": layer} for layer in (None, nn.Dense)),
            *({"params": params} for params in (None, {"a": [1.0]})),
            *({"cutoff": cutoff} for cutoff in (None, math.nan, 0.0)),
            *({"elements": elements} for elements in (None, [], "H", ["X"], [0])),
            {"metadata": {"elements": "H"}},
            {"metadata": {"note": 1}},
        ],
    ),
    "e3any_ase.load_model": (lambda path: e3any_ase.load_model(path), [__file__]),
    "e3any_ase.neighbours": (
        lambda wrong: e3any_ase.neighbours(**{"positions": POSITIONS, "cutoff": 1.0, **wrong}),
        [
            *({"positions": x} for x in (None, "x", np.zeros(3), POSITIONS.astype(complex))),
            *({"cell": x} for x in ("x", np.eye(2), np.eye(3) * 1j)),
            *({"cutoff": cutoff} for cutoff in (None, "1", math.nan, math.inf, 0.0)),
            {"cell": np.eye(3), "pbc": [True, True]},
            {"finder": ["vesin"]},
        ],
    ),
    "e3any_ase.from_arrays": (
        lambda numbers: e3any_ase.from_arrays(numbers, POSITIONS, cutoff=1.0),
        [None, [1], [1.0, 8.0], "HO", [0, 1], [1, 119], [-1, 1]],
    ),
    "e3any_ase.from_atoms": (lambda atoms: e3any_ase.from_atoms(atoms, cutoff=1.0), [None, "H2", STRUCTURE]),
    "e3any_ase.pad_structures": (e3any_ase.pad_structures, [None, [], ["x"], [{}]]),
    "e3any_ase.to_dense": (
        lambda wrong: e3any_ase.to_dense(**{"structure": STRUCTURE, **wrong}),
        [{"structure": None}, {"structure": {}}, {"width": 0}, {"width": 1.5}, {"num_nodes": 1}, {"num_nodes": "2"}],
    ),
}

# Results and types; files, whose errors are those of ASE.
ELSEWHERE = {"Neighbours", "SavedModel", "Structure", "read_structures"}


def test_every_public_name_has_a_line():
    assert set(e3any_ase.__all__) - ELSEWHERE == {name.rpartition(".")[2] for name in CASES}


@pytest.mark.parametrize(("function", "wrong"), CASES.values(), ids=CASES)
def test_bad_input_is_refused(function, wrong):
    for value in wrong:
        with pytest.raises((TypeError, ValueError), match=r"expected [\s\S]*\bgot "):
            function(value)
