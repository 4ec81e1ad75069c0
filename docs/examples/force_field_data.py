"""Frames of molecular dynamics: reading, splitting, batches, errors; what a run needs to go on after a stop."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ETHANOL = Path(__file__).parent / "data" / "ethanol_gfn2xtb.npz"


@dataclass(frozen=True)
class Frames:
    """Molecules: atomic numbers (B, N), positions (B, N, 3) in A, energies (B,) in eV, forces (B, N, 3) in eV/A."""

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray

    def __len__(self) -> int:
        return len(self.energies)

    def __getitem__(self, which: Any) -> Frames:
        return Frames(self.numbers[which], self.positions[which], self.energies[which], self.forces[which])

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[Frames]:
        """Yield batches of one size, shuffled if there is a generator (what does not fill a batch is left out)."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        for i in range(0, len(self) - size + 1, size):
            yield self[order[i : i + size]]

    def energy_statistics(self) -> tuple[float, float]:
        """Return mean of the energies and root mean square of the forces."""
        return float(self.energies.mean()), float(np.sqrt((self.forces.astype(float) ** 2).mean()))

    def split(self, gap: int, limit: int | None = None) -> Split:
        """Split by time, leaving out frames between the parts so that they are not correlated."""
        frames = self if limit is None else self[: limit + 2 * gap]
        count = len(frames) - 2 * gap
        first, second = math.floor(0.8 * count), math.floor(0.85 * count)
        return Split(frames[:first], frames[first + gap : second + gap], frames[second + 2 * gap :])


@dataclass(frozen=True)
class Split:
    """Frames to train on, to choose the best model with, and to test it on."""

    train: Frames
    validation: Frames
    test: Frames


def load(path: Path) -> Frames:
    """Read frames of one molecule; a ValueError names what is wrong with the file."""
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of frames, got no file at {str(path)!r}")
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in ("numbers", "positions", "energies", "forces")}
    except (KeyError, OSError, ValueError, EOFError) as error:
        raise ValueError(f"expected frames of molecular dynamics in {str(path)!r}, got {error}") from None
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"expected finite numbers in {str(path)!r}, got NaN or infinity in {key!r}")
    frames, atoms = arrays["positions"].shape[:2]
    shapes = {
        "numbers": (atoms,),
        "positions": (frames, atoms, 3),
        "energies": (frames,),
        "forces": (frames, atoms, 3),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"expected {key!r} of shape {shape} in {str(path)!r}, got {arrays[key].shape}")
    numbers = np.broadcast_to(arrays["numbers"].astype(np.int32), (frames, atoms))
    return Frames(numbers, arrays["positions"].astype(np.float32), arrays["energies"], arrays["forces"])


def errors(field: Any, frames: Frames, batch_size: int = 50) -> dict[str, float]:
    """Return mean absolute errors of energies (eV) and forces (eV/A)."""
    energies, forces = predict(field, frames, batch_size)
    count = len(energies)
    return {
        "energy": float(np.abs(energies - frames.energies[:count]).mean()),
        "forces": float(np.abs(forces - frames.forces[:count]).mean()),
    }


def predict(field: Any, frames: Frames, batch_size: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return energies and forces of all frames that fill batches."""
    size = min(batch_size, len(frames))
    results = [field.energy_and_forces(b.numbers, b.positions) for b in frames.batches(size)]
    return np.concatenate([e for e, _ in results]), np.concatenate([f for _, f in results])


def cast(tree: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    """Return a tree of arrays in another precision."""
    return {k: cast(v, dtype) if isinstance(v, Mapping) else v.astype(dtype) for k, v in tree.items()}


@dataclass
class Progress:
    """The learning-rate schedule: a short rise, then a cosine to zero at the end of the epochs or of the time."""

    epochs: int
    seconds: float
    first: int = 0

    def fraction(self, elapsed: float, epoch: int) -> float:
        """Return how much of the training is over."""
        return min(1.0, max(elapsed / self.seconds, epoch / self.epochs))

    def rate(self, elapsed: float, epoch: int) -> float:
        """Return the factor of the learning rate."""
        fraction = self.fraction(elapsed, epoch)
        return min(1.0, 0.05 + 20 * fraction) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fraction)))

    def is_over(self, elapsed: float) -> bool:
        """Return whether the time is up."""
        return elapsed >= self.seconds


class TrainingState:
    """What a run writes after every epoch so that a run that was interrupted goes on."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._arrays, self._notes = folder / "training.state", folder / "training.json"
        self._settings = {k: str(v) for k, v in settings.items()}

    def save(self, trainer: Any, rng: np.random.Generator, history: list[dict[str, float]], spent: float) -> None:
        """Write the state of the optimiser and of the run, each file in one step."""
        notes = {
            "settings": self._settings,
            "history": history,
            "spent": spent,
            "rng": rng.bit_generator.state,
        }
        _replace(self._arrays, trainer.state())
        _replace(self._notes, json.dumps(notes).encode())

    def resume(self, trainer: Any, rng: np.random.Generator) -> tuple[int, list[dict[str, float]], float]:
        """Restore an interrupted run with the same settings; return epochs done, their history and time spent."""
        if not (self._arrays.is_file() and self._notes.is_file()):
            return 0, [], 0.0
        notes = json.loads(self._notes.read_text())
        if notes["settings"] != self._settings:
            return 0, [], 0.0
        trainer.restore(self._arrays.read_bytes())
        rng.bit_generator.state = notes["rng"]
        print(f"going on after epoch {len(notes['history'])}")
        return len(notes["history"]), notes["history"], notes["spent"]


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    os.replace(temporary, path)
