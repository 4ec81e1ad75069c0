"""What a trained force field is worth: errors, agreement of frameworks, equivariance, conservation of energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import force_field_data as data
import matplotlib as mpl
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from tqdm import trange

from e3any import so3

mpl.use("agg")
import matplotlib.pyplot as plt


def test_errors(field: Any, frames: data.Frames, history: list[dict[str, float]], folder: Path) -> None:
    """Print errors on test frames; draw predicted against true forces, and the learning curve."""
    _, forces = data.predict(field, frames)
    error = data.errors(field, frames)
    print(f"test energy: {1000 * error['energy']:.2f} meV (mean absolute error, {len(frames)} frames)")
    print(f"test forces: {1000 * error['forces']:.2f} meV/Angstrom (mean absolute error)")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    true = frames.forces[: len(forces)].ravel()
    limits = [true.min(), true.max()]
    left.plot(limits, limits, color="0.6", linewidth=1)
    left.scatter(true, forces.ravel(), s=2, alpha=0.3, rasterized=True)
    left.set(xlabel="true force (eV/Å)", ylabel="predicted force (eV/Å)", title="Forces on test frames")
    left.set_aspect("equal")
    epochs = [h["epoch"] for h in history]
    right.semilogy(epochs, [1000 * h["validation_forces"] for h in history], label="forces (meV/Å)")
    right.semilogy(epochs, [1000 * h["validation_energy"] for h in history], label="energy (meV)")
    right.set(xlabel="epoch", ylabel="mean absolute error on validation frames", title="Learning curve")
    right.legend()
    _save(figure, folder / "errors.png")


def compare_frameworks(fields: Mapping[str, Any], numpy_energy: Callable[..., Any], frames: data.Frames) -> None:
    """Print the largest differences between frameworks that read the same checkpoint."""
    numbers = frames.numbers[:20]
    for dtype in (np.float32, np.float64):
        positions = frames.positions[:20].astype(dtype)
        results = {name: field.energy_and_forces(numbers, positions) for name, field in fields.items()}
        (energy, forces), (other_energy, other_forces) = results.values()
        largest = np.abs(energy).max()
        print(
            f"{' against '.join(results)}, {np.dtype(dtype)}: "
            f"energies {np.abs(energy - other_energy).max() / largest:.1e}, "
            f"forces {np.abs(forces - other_forces).max() / np.abs(forces).max():.1e} (largest relative difference)"
        )
        difference = np.abs(numpy_energy(numbers, positions) - energy).max() / largest
        print(f"numpy against {next(iter(results))}, {np.dtype(dtype)}: energies {difference:.1e}")


def equivariance(field: Any, frames: data.Frames, num: int = 20) -> None:
    """Print how far the forces of rotated and reflected molecules are from rotated and reflected forces."""
    num = min(num, len(frames))
    rotations = so3.random_rotation(np.random.default_rng(0), num=num)
    rotations = rotations * np.where(np.arange(num) % 2, 1.0, -1.0)[:, None, None]
    for dtype in (np.float32, np.float64):
        rot, positions = rotations.astype(dtype), frames.positions[:num].astype(dtype)
        _, forces = field.energy_and_forces(frames.numbers[:num], positions)
        _, rotated = field.energy_and_forces(frames.numbers[:num], positions @ rot)
        error = np.abs(rotated - forces @ rot).max() / np.abs(forces).max()
        print(f"equivariance of forces under rotations and reflections, {np.dtype(dtype)}: {error:.1e} (relative)")


class ForceFieldCalculator(Calculator):  # type: ignore[misc]
    """Energies and forces of a trained field for ASE."""

    implemented_properties = ("energy", "forces")

    def __init__(self, field: Any) -> None:
        super().__init__()
        self._field = field

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Compute energy (eV) and forces (eV/Angstrom)."""
        super().calculate(atoms, properties, system_changes)
        numbers = atoms.numbers[None].astype(np.int32)
        energy, forces = self._field.energy_and_forces(numbers, atoms.positions[None].astype(np.float64))
        self.results = {"energy": float(energy[0]), "forces": forces[0].astype(float)}


def molecular_dynamics(field: Any, frames: data.Frames, folder: Path, steps: int, timestep: float = 0.5) -> None:
    """Run dynamics at constant energy from 300 K; print and draw the drift of the total energy."""
    atoms = Atoms(frames.numbers[0], frames.positions[frames.energies.argmin()], calculator=ForceFieldCalculator(field))
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    Stationary(atoms)
    ZeroRotation(atoms)
    dynamics = VelocityVerlet(atoms, timestep=timestep * units.fs)
    every = max(steps // 500, 1)
    times, totals, temperatures = [], [], []
    for _ in trange(0, steps, every, desc="dynamics"):
        times.append(dynamics.get_time() / (1000 * units.fs))
        totals.append(1000 * atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())
        dynamics.run(every)
    slope = np.polyfit(times, totals, 1)[0] if len(times) > 1 else 0.0
    deviation = np.abs(np.asarray(totals) - totals[0]).max()
    print(
        f"dynamics of {times[-1]:.1f} ps at {np.mean(temperatures):.0f} K (mean): drift of the total energy "
        f"{slope * times[-1]:+.4f} meV/atom, largest deviation {deviation:.4f} meV/atom"
    )
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    top.plot(times, np.asarray(totals) - totals[0])
    top.set(ylabel="total energy (meV/atom)", title="Dynamics at constant energy")
    bottom.plot(times, temperatures, color="tab:red")
    bottom.set(xlabel="time (ps)", ylabel="temperature (K)")
    _save(figure, folder / "dynamics.png")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"wrote {path}")
