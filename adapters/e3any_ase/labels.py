"""Labels of atoms: energies, forces and stress from files and calculators."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from e3any_ase.neighbours import native_array

__all__ = ["LABELS", "check_names", "labels_of", "present", "warn_of"]

#: Names of the labels of structures.
LABELS = ("energy", "forces", "stress")
_NAMES = (*LABELS, "virial")
# What names of labels contain, and their words: "DFT_E", "etot" and "U0" are energies.
_PARTS = {"energ": "energy", "force": "forces", "stress": "stress", "virial": "virial"}
_WORDS = {
    **dict.fromkeys(("e", "e0", "etot", "eref", "edft", "toten", "pe", "epot", "u0"), "energy"),
    **dict.fromkeys(("f", "fref", "fdft"), "forces"),
}
# Derivatives of the energy, which are forces of the other sign.
_GRADIENT = re.compile("gradient|(?<![a-z])grads?(?![a-z])|(?<![a-z])d_?e_?d_?(r|x|pos)", re.IGNORECASE)
# Quantities of atoms that no label is for. Initial charges and moments are inputs of a calculation.
_OTHER = re.compile("^(?!initial).*((?<![a-z])(dipoles?|charges?|magmoms?|polari[sz]ation)$|energies$)", re.IGNORECASE)
_DESCRIBES_ONE = re.compile("weight|mask|unit|field", re.IGNORECASE)
# Results of ASE that add nothing to a label.
_BESIDE = {"free_energy": "energy", "energies": "energy", "stresses": "stress"}
_PLACES = "atoms.info, atoms.arrays and results"


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


def present(atoms: Atoms) -> list[str]:
    """Return the names of all that atoms have, results of their calculator included."""
    return list(dict.fromkeys(map(str, [*atoms.info, *atoms.arrays, *_result_names(atoms)])))


def _result_names(atoms: Atoms) -> list[str]:
    results = getattr(atoms.calc, "results", {})
    return [name for name, value in results.items() if value is not None]


def _results(atoms: Atoms) -> dict[str, NDArray[Any]]:
    """Return the results that a calculator has; nothing is computed."""
    names = [name for name in LABELS if name in _result_names(atoms)]
    return {name: _checked(name, name, _result(atoms, name), len(atoms)) for name in names}


def _result(atoms: Atoms, name: str) -> Any:
    """Return a result of the calculator, without what constraints add."""
    value = atoms.calc.get_property(name, atoms)
    # ASE stores a symmetric stress.
    return full_3x3_to_voigt_6_stress(value) if name == "stress" and np.shape(value) == (3, 3) else value


def _named(atoms: Atoms, labels: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    found = {}
    for name, key in labels.items():
        # ASE moves names of its own, "forces" for example, into results when it reads a file.
        value = atoms.arrays[key] if key in atoms.arrays else atoms.info.get(key)
        if value is None and key in _result_names(atoms):
            value = _result(atoms, key)
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


def warn_of(frames: Sequence[Atoms], labels: Mapping[str, str] | None) -> None:
    """Warn of all that looks like a label and is not read, and say how to read it."""
    unread: dict[str, str] = {}
    for atoms in frames:
        unread |= _unread(atoms, labels)
    remedies: dict[tuple[str, ...], str] = {
        _NAMES: f"labels {{}} are not read: name them, as in labels={_suggestion(frames, labels, unread)}",
        ("gradient",): "gradients {} are not read: store their negative as forces",
        ("other",): "quantities {} are not read, since labels are energy, forces and stress: read them yourself",
    }
    for kinds, remedy in remedies.items():
        if listed := ", ".join(sorted(repr(name) for name, kind in unread.items() if kind in kinds)):
            message = f"{remedy.replace('{}', listed, 1)}, or remove them from {_PLACES}"
            warnings.warn(message, stacklevel=3)


def _unread(atoms: Atoms, labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the names and kinds of what looks like a label but is not read, see :func:`_kind`."""
    results = {name: atoms.calc.results[name] for name in _result_names(atoms) if name in all_properties}
    if labels is None:
        read, keys = set(LABELS) & set(results), set(LABELS) & set(results)
    else:
        read, keys = set(labels), set(labels.values())
    beside = read | {name for name, label in _BESIDE.items() if label in read}
    values = {str(name): x for name, x in (*atoms.info.items(), *atoms.arrays.items())}
    values |= {name: x for name, x in results.items() if name not in beside}
    kinds = {name: _kind(name, x) for name, x in values.items() if name not in keys}
    return {name: kind for name, kind in kinds.items() if kind}


def _kind(name: str, value: Any) -> str:
    """Return the label that a name looks like, ``gradient``, ``other`` for what no label is for, or nothing."""
    if _DESCRIBES_ONE.search(name):
        return ""
    if _OTHER.search(name) or name in ("stresses", "dielectric_tensor", "born_effective_charges"):
        # A neutral molecule has the charge zero, and nothing is lost.
        array = np.asarray(value)
        return "other" if array.dtype.kind in "biufc" and array.any() else ""
    if _GRADIENT.search(name):
        return "gradient"
    for part, kind in _PARTS.items():
        if part in name.lower():
            return kind
    words = re.split("[^a-z0-9]+", name.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), "")


def _suggestion(frames: Sequence[Atoms], labels: Mapping[str, str] | None, unread: Mapping[str, str]) -> dict[str, str]:
    """Return ``labels`` for what is read now, and for one more name of every label that none is given for."""
    results = {name for atoms in frames for name in _result_names(atoms)}
    now = {name: name for name in LABELS if name in results} if labels is None else dict(labels)
    first: dict[str, str] = {}
    for name, kind in sorted(unread.items()):
        if kind in _NAMES:
            first.setdefault(kind, name)
    added = {kind: name for kind, name in first.items() if labels is None or kind not in labels} or first
    found = {**now, **added}
    if {"stress", "virial"} <= set(found):
        del found["virial" if "virial" in added else "stress"]
    return found
