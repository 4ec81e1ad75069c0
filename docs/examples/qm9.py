"""Molecules of QM9, of the package ``qm9pack``: reading, batches, rotating and mirroring.

The numbers of some coordinates are written as ``1.*^-6``. The data are those of R. Ramakrishnan et al., Scientific Data
1, 140022 (2014), https://doi.org/10.1038/sdata.2014.22.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3any import so3

ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


class Molecules(NamedTuple):
    """Molecules of up to N atoms; padding has the number 0.

    Numbers of QM9 (B,), atomic numbers (B, N), positions (B, N, 3) in Angstrom, norms of the dipole moment (B,) in
    debye and isotropic polarizabilities (B,) in bohr^3.
    """

    indices: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    dipoles: np.ndarray
    polarizabilities: np.ndarray

    def take(self, which: Any) -> Molecules:
        """Return some of the molecules."""
        return self._make(array[which] for array in self)

    def within(self, max_atoms: int) -> Molecules:
        """Return the molecules of at most so many atoms, with as much padding as these need."""
        counts = np.count_nonzero(self.numbers, axis=1)
        few = self.take(counts <= max_atoms)
        size = int(counts[counts <= max_atoms].max(initial=0))
        return few._replace(numbers=few.numbers[:, :size], positions=few.positions[:, :size])

    def shuffled(self, rng: np.random.Generator) -> Molecules:
        """Return the molecules in random order."""
        return self.take(rng.permutation(len(self.indices)))

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what models take."""
        return self.numbers, self.positions


def source() -> Path:
    """Return the first of the tables of the package, which has all molecules of up to eight heavy atoms."""
    package = find_spec("qm9pack")
    if package is None or package.origin is None:
        raise FileNotFoundError("expected the molecules of QM9; get them by: pip install --no-deps qm9pack")
    return Path(package.origin).parent / "data" / "qm9_part1.csv"


def rows(path: Path, max_heavy: int) -> Iterator[dict[str, str]]:
    """Yield the rows of molecules with few atoms other than hydrogen."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if sum(numbers_in(row["Stoichiometry"])[1:]) <= max_heavy:
                yield row


def numbers_in(text: str) -> list[float]:
    """Return the numbers of a nested list."""
    return [float(x.replace("*^", "e")) for x in text.replace("[", "").replace("]", "").split(",")]


def atoms_of(row: dict[str, str]) -> tuple[list[str], np.ndarray]:
    """Return elements and positions (N, 3) of a row."""
    elements = row["Elements"].strip("[]").replace("'", "").split(",")
    return elements, np.reshape(numbers_in(row["XYZ_Ang"]), (len(elements), 3))


def load(path: Path, max_heavy: int, indices: Any = None) -> Molecules:
    """Read molecules, all or those with the given numbers of QM9, in order of these."""
    wanted = None if indices is None else {int(i) for i in indices}
    found = [row for row in rows(path, max_heavy) if wanted is None or int(row["Index"]) in wanted]
    if wanted is not None and len(found) != len(wanted):
        raise ValueError(f"expected {len(wanted)} molecules in {str(path)!r}, got {len(found)}")
    found.sort(key=lambda row: int(row["Index"]))
    size = max(int(row["N_atoms"]) for row in found)
    numbers, positions = np.zeros((len(found), size), np.int32), np.zeros((len(found), size, 3), np.float32)
    for i, row in enumerate(found):
        elements, points = atoms_of(row)
        numbers[i, : len(elements)] = [ELEMENTS[e] for e in elements]
        positions[i, : len(elements)] = points
    dipoles, polarizabilities = (
        np.asarray([numbers_in(row[key])[0] for row in found], np.float32)
        for key in ("Dipole_debye", "Polarizability_bohr3")
    )
    return Molecules(np.asarray([int(row["Index"]) for row in found]), numbers, positions, dipoles, polarizabilities)


def turned(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return positions, every molecule turned at random."""
    rotations = np.asarray(so3.random_rotation(rng, num=len(positions)))
    return (positions @ rotations).astype(positions.dtype)


def mirrored(positions: np.ndarray) -> np.ndarray:
    """Return positions of mirror images."""
    return positions * np.asarray([1, 1, -1], positions.dtype)
