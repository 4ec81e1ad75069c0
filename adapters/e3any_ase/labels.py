"""Labels of atoms: energies, forces and stress from files and calculators."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from e3any_ase.neighbours import native_array

__all__ = ["LABELS", "check_names", "labels_of", "unread", "warn_of"]

#: Names of the labels of structures.
LABELS = ("energy", "forces", "stress")
_NAMES = (*LABELS, "virial")
_LOOKS_LIKE_A_LABEL = re.compile("energ|force|stress|virial", re.IGNORECASE)
_DESCRIBES_ONE = re.compile("weight|mask|unit", re.IGNORECASE)


def check_names(labels: Mapping[str, str] | None) -> None:
    """Raise an error unless ``labels`` maps some labels to names in files."""
    if labels is None:
        return
    if not isinstance(labels, Mapping) or not all(isinstance(x, str) for x in (*labels, *labels.values())):
        raise TypeError(f"expected labels to be a mapping of names to names, got {labels!r}")
    if wrong := set(labels) - set(_NAMES):
        raise ValueError(f"expected labels to be some of {_NAMES}, got {sorted(wrong)}")
    if {"stress", "virial"} <= set(labels):
        raise ValueError("expected either stress or virial among labels, got both")


def labels_of(atoms: Atoms, labels: Mapping[str, str] | None) -> dict[str, NDArray[Any]]:
    """Return the labels that atoms have: the results of their calculator, or the arrays that ``labels`` names."""
    return _results(atoms) if labels is None else _named(atoms, labels)


def _results(atoms: Atoms) -> dict[str, NDArray[Any]]:
    """Return the results that a calculator has; nothing is computed."""
    if atoms.calc is None:
        return {}
    getters = {
        "energy": atoms.get_potential_energy,
        "forces": lambda: atoms.get_forces(apply_constraint=False),
        "stress": lambda: atoms.get_stress(voigt=False, apply_constraint=False),
    }
    found = [name for name in getters if atoms.calc.results.get(name) is not None]
    return {name: _checked(name, name, getters[name](), len(atoms)) for name in found}


def _named(atoms: Atoms, labels: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    found = {}
    for name, key in labels.items():
        value = atoms.arrays[key] if key in atoms.arrays else atoms.info.get(key)
        if value is None:
            continue
        label = _checked(name, key, value, len(atoms))
        if name == "virial":
            name, label = "stress", -label / _volume(atoms)
        found[name] = label
    return found


def _volume(atoms: Atoms) -> float:
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    if not volume:
        raise ValueError("expected a cell with a volume for stress from a virial, got one without")
    return volume


def _checked(name: str, key: str, value: Any, num: int) -> NDArray[np.float64]:
    """Return a label as an array of its shape; raise an error unless its numbers are real and finite."""
    array = native_array(value, repr(key))
    if array.dtype.kind not in "fiu":
        raise TypeError(f"expected {key!r} to be real numbers, got {type(value).__name__}")
    shape = {"energy": (), "forces": (num, 3)}.get(name, (3, 3))
    if shape == (3, 3) and array.shape == (6,):
        array = array[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]  # Voigt's order in ASE: xx, yy, zz, yz, xz, xy
    if array.size != np.prod(shape, dtype=int) or (name == "forces" and array.shape != shape):
        raise ValueError(f"expected {key!r} of shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers under {key!r}, got {array[~np.isfinite(array)].flat[0]}")
    return array.astype(np.float64).reshape(shape)


def unread(atoms: Atoms, labels: Mapping[str, str] | None) -> set[str]:
    """Return names in ``atoms`` that look like labels but are not read."""
    read = {} if labels is None else labels
    names = {str(key) for key in (*atoms.info, *atoms.arrays)} - set(read.values())
    found = {key for key in names if _LOOKS_LIKE_A_LABEL.search(key) and not _DESCRIBES_ONE.search(key)}
    if labels is not None and atoms.calc is not None:
        found |= {key for key in LABELS if key not in labels and atoms.calc.results.get(key) is not None}
    return found


def warn_of(names: Iterable[str]) -> None:
    """Warn of labels that are not read."""
    if names := sorted(names):
        warnings.warn(
            f"labels {', '.join(map(repr, names))} are not read: name them, as in labels={{'energy': {names[0]!r}}}, "
            f"or remove them from atoms.info and atoms.arrays",
            stacklevel=3,
        )
