"""Frames of molecular dynamics: reading, splitting by time, batches, errors."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ETHANOL = Path(__file__).parent / "data" / "ethanol_gfn2xtb.npz"


class Frames(NamedTuple):
    """Molecules: atomic numbers (B, N), positions (B, N, 3) in A, energies (B,) in eV, forces (B, N, 3) in eV/A."""

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray

    def take(self, which: Any) -> Frames:
        """Return some of the frames."""
        return self._make(array[which] for array in self)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[Frames]:
        """Yield batches, shuffled and without the rest that fills none if there is a generator."""
        count = len(self.energies)
        if rng is not None and count < size:
            raise ValueError(f"expected at least one batch of {size} frames, got {count} frames")
        order = np.arange(count) if rng is None else rng.permutation(count)[: count // size * size]
        for i in range(0, len(order), size):
            yield self.take(order[i : i + size])

    def scale(self) -> float:
        """Return the root mean square of the forces."""
        return float(np.sqrt(np.mean(self.forces**2)))

    def split(self, gap: int, limit: int | None = None) -> Split:
        """Split by time 80:5:15, leaving out frames between the parts so that they are not correlated.

        Energies are relative to the mean of those to train on, so that single precision resolves them.
        """
        total = len(self.energies) if limit is None else min(limit, len(self.energies))
        count = total - 2 * gap
        if count < 20:
            raise ValueError(f"expected at least {20 + 2 * gap} frames to split, got {total}")
        first, second = int(0.8 * count), int(0.85 * count)
        parts = slice(first), slice(first + gap, second + gap), slice(second + 2 * gap, count + 2 * gap)
        reference = float(self.energies[parts[0]].mean())
        relative = self._replace(energies=(self.energies - reference).astype(np.float32))
        return Split(*(relative.take(part) for part in parts), reference)


class Split(NamedTuple):
    """Frames to train on, to choose parameters with and to test with; the energy that theirs are relative to."""

    train: Frames
    validation: Frames
    test: Frames
    reference: float


def load(path: Path) -> Frames:
    """Read frames of one molecule; a ValueError names what is wrong with the file."""
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of frames, got no file at {str(path)!r}")
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            arrays = {key: file[key] for key in Frames._fields}
    except (KeyError, OSError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"expected frames of molecular dynamics in {str(path)!r}, got {error}") from None
    count, atoms = (*arrays["positions"].shape, 0, 0)[:2]
    shapes = {"positions": (count, atoms, 3), "numbers": (atoms,), "energies": (count,), "forces": (count, atoms, 3)}
    for key, shape in shapes.items():
        kinds, expected = ("iu", "integers") if key == "numbers" else ("iuf", "real numbers")
        if arrays[key].dtype.kind not in kinds:
            raise ValueError(f"expected {key!r} to be {expected} in {str(path)!r}, got dtype {arrays[key].dtype}")
        if arrays[key].shape != shape:
            raise ValueError(f"expected {key!r} of shape {shape} in {str(path)!r}, got {arrays[key].shape}")
        if not np.isfinite(arrays[key]).all():
            raise ValueError(f"expected finite numbers in {str(path)!r}, got NaN or infinity in {key!r}")
    numbers = np.broadcast_to(arrays["numbers"].astype(np.int32), (count, atoms))
    positions, forces = (arrays[key].astype(np.float32) for key in ("positions", "forces"))
    return Frames(numbers, positions, arrays["energies"].astype(np.float64), forces)


def predict(field: Any, frames: Frames, batch_size: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return energies and forces of all frames."""
    results = [field.energies_and_forces(b.numbers, b.positions) for b in frames.batches(batch_size)]
    return np.concatenate([e for e, _ in results]), np.concatenate([f for _, f in results])


def errors(field: Any, frames: Frames) -> dict[str, float]:
    """Return mean absolute errors of energies (eV) and forces (eV/A)."""
    energies, forces = predict(field, frames)
    return {
        "energy": float(np.abs(energies - frames.energies).mean()),
        "forces": float(np.abs(forces - frames.forces).mean()),
    }
