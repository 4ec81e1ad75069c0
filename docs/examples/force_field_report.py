"""What a trained force field is worth: errors, agreement of frameworks, equivariance, conservation of energy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import force_field_data as data
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from e3any_numpy import to_numpy
from figures import plt, save
from tqdm import trange

from e3any import so3

DTYPES = (np.float32, np.float64)


def accuracy(field: Any, frames: data.Frames, history: list[dict[str, float]], folder: Path) -> None:
    """Print errors on test frames; draw predicted against true forces, and the learning curve."""
    _, forces = data.predict(field, frames)
    error = data.errors(field, frames)
    print(f"mean absolute errors on {len(forces)} test frames: energy {1000 * error['energy']:.1f} meV, ", end="")
    print(f"forces {1000 * error['forces']:.1f} meV/Angstrom")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    limits = [frames.forces.min(), frames.forces.max()]
    left.plot(limits, limits, color="0.6", linewidth=1)
    left.scatter(frames.forces.ravel(), forces.ravel(), s=2, alpha=0.3, rasterized=True)
    left.set(xlabel="true force (eV/Å)", ylabel="predicted force (eV/Å)", title="Forces on test frames", aspect="equal")
    for key, unit in (("forces", "meV/Å"), ("energy", "meV")):
        right.semilogy([h["epoch"] + 1 for h in history], [1000 * h[key] for h in history], label=f"{key} ({unit})")
    right.set(xlabel="epoch", ylabel="mean absolute error on validation frames", title="Learning curve")
    right.legend()
    save(figure, folder / "errors.png")


def agreement(
    fields: Mapping[str, Any], model: Any, tree: dict[str, Any], frames: data.Frames, reference: float, num: int = 20
) -> None:
    """Print the largest differences between frameworks that read the same checkpoint.

    Energies are compared with the total energy, next to the difference in eV; forces with the largest of them.
    """
    numbers, positions = frames.numbers[:num], frames.positions[:num]
    for dtype in DTYPES:
        results = {name: field.energies_and_forces(numbers, positions.astype(dtype)) for name, field in fields.items()}
        results["numpy"] = to_numpy(model)(_cast(tree, dtype), numbers, positions.astype(dtype)), None
        (first, (energies, forces)), *others = results.items()
        for name, (other_energies, other_forces) in others:
            error = np.abs(other_energies - energies).max()
            text = f"{name} against {first}, {dtype.__name__}: energies {error:.1e} eV ({error / abs(reference):.1e})"
            if other_forces is not None:
                text += f", forces {_difference(other_forces, forces):.1e}"
            print(text)


def equivariance(field: Any, frames: data.Frames, num: int = 20) -> None:
    """Print how far the forces of rotated and reflected molecules are from rotated and reflected forces."""
    frames = frames.take(slice(num))
    rotations = so3.random_rotation(np.random.default_rng(0), num=len(frames.energies))
    rotations[::2] *= -1
    for dtype in DTYPES:
        rotation, positions = rotations.astype(dtype), frames.positions.astype(dtype)
        _, forces = field.energies_and_forces(frames.numbers, positions)
        _, rotated = field.energies_and_forces(frames.numbers, positions @ rotation)
        error = _difference(rotated, forces @ rotation)
        print(f"equivariance of forces under rotations and reflections, {dtype.__name__}: {error:.1e}")


class ForceFieldCalculator(Calculator):  # type: ignore[misc]
    """Energies and forces of a trained field for ASE."""

    implemented_properties = ("energy", "forces")

    def __init__(self, field: Any, reference: float) -> None:
        super().__init__()
        self._field, self._reference = field, reference

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Compute energy (eV) and forces (eV/Angstrom) in double precision."""
        super().calculate(atoms, properties, system_changes)
        energies, forces = self._field.energies_and_forces(atoms.numbers[None].astype(np.int32), atoms.positions[None])
        self.results = {"energy": self._reference + float(energies[0]), "forces": forces[0]}


def dynamics(field: Any, split: data.Split, folder: Path, steps: int, timestep: float = 0.5) -> None:
    """Run dynamics at constant energy after some at 300 K; print and draw the drift of the total energy."""
    calculator = ForceFieldCalculator(field, split.reference)
    atoms = Atoms(split.test.numbers[0], split.test.positions[0].astype(float), calculator=calculator)
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    bath = {"temperature_K": 300, "friction": 0.05 / units.fs, "fixcm": False, "rng": rng}
    Langevin(atoms, timestep * units.fs, **bath).run(steps // 20)
    Stationary(atoms)
    ZeroRotation(atoms)
    verlet, every = VelocityVerlet(atoms, timestep * units.fs), max(steps // 500, 1)
    times, totals, temperatures = [], [], []
    for step in trange(0, steps + 1, every, desc="dynamics"):
        times.append(step * timestep / 1000)
        totals.append(1000 * atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())
        verlet.run(every)
    drift = np.polyfit(times, totals, 1)[0] * times[-1]
    print(f"dynamics of {times[-1]:.2f} ps at {np.mean(temperatures):.0f} K (mean): drift of the total energy ", end="")
    print(f"{drift:+.4f} meV/atom, largest deviation {np.ptp(totals):.4f} meV/atom")
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
    top.plot(times, np.asarray(totals) - totals[0])
    top.set(ylabel="total energy (meV/atom)", title="Dynamics at constant energy")
    bottom.plot(times, temperatures, color="tab:red")
    bottom.set(xlabel="time (ps)", ylabel="temperature (K)")
    save(figure, folder / "dynamics.png")


def _cast(tree: Mapping[str, Any], dtype: Any) -> dict[str, Any]:
    return {k: _cast(v, dtype) if isinstance(v, Mapping) else v.astype(dtype) for k, v in tree.items()}


def _difference(actual: np.ndarray, desired: np.ndarray) -> float:
    return float(np.abs(actual - desired).max() / np.abs(desired).max())
