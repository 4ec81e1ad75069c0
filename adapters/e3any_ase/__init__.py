"""Structures and a calculator for ASE, the Atomic Simulation Environment.

Neighbours of atoms in molecules and crystals, as sparse and dense lists with padding; energies, forces and stress of
models in Flax or PyTorch. Importing this package loads neither.
"""

# ruff: noqa: E402 - require names a missing package before the imports fail
from e3any.extras import require

require("ase", "ase")

from e3any_ase.calculator import ModelCalculator
from e3any_ase.model_file import SavedModel, load_model, save_model
from e3any_ase.neighbours import Neighbours, neighbours
from e3any_ase.structures import Structure, from_arrays, from_atoms, pad_structures, read_structures, to_dense

__all__ = [
    "ModelCalculator",
    "Neighbours",
    "SavedModel",
    "Structure",
    "from_arrays",
    "from_atoms",
    "load_model",
    "neighbours",
    "pad_structures",
    "read_structures",
    "save_model",
    "to_dense",
]
