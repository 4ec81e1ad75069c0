"""Learn the energy of copper crystals, then relax one and run dynamics at constant energy with ASE.

The teacher is the effective medium theory that ASE has. Energies of small deformed cells are all that the model sees;
forces and stress follow from it by differentiation.

    python docs/examples/copper.py --framework torch
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from e3any_ase import ModelCalculator, from_atoms, pad_structures, save_model
from e3any_backends import backend_of
from fitting import arguments, fit, mean_square, table

from e3any import nn, ops

ARRAYS = ("numbers", "positions", "cell", "shifts", "dst_idx", "src_idx")


@dataclass(frozen=True)
class AtomicEnergies(nn.Layer):
    """Energies of atoms from the vectors to their neighbours."""

    features: int = 8
    max_degree: int = 2
    cutoff: float = 5.5  # Angstrom

    def forward(self, p: nn.Parameters, numbers: Any, vectors: Any, **lists: Any) -> Any:
        """Return energies (..., N) in eV, relative to a crystal at rest."""
        basis = nn.basis(
            vectors,
            max_degree=self.max_degree,
            num=16,
            radial_fn=partial(nn.basic_bernstein, limit=self.cutoff),
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=self.cutoff),
        )
        x = nn.Embed(30, self.features)(p / "embed", numbers)
        x = nn.MessagePass(self.max_degree, include_pseudotensors=False)(p / "message", x, basis, **lists)
        x = nn.TensorDense(self.features, 0, include_pseudotensors=False)(p / "square", x)
        return nn.Dense(1)(p / "energy", nn.silu(x))[..., 0, 0, 0]


@dataclass(frozen=True)
class MeanEnergy(nn.Layer):
    """The mean energy of the atoms of a cell."""

    def forward(
        self, p: nn.Parameters, numbers: Any, positions: Any, cell: Any, shifts: Any, dst_idx: Any, src_idx: Any
    ) -> Any:
        """Return energies (...,) of structures that have one number of atoms."""
        lists = {"dst_idx": dst_idx, "src_idx": src_idx}
        vectors = ops.displacements(positions, cell, shifts, **lists)
        energies = AtomicEnergies()(p / "atoms", numbers, vectors, **lists)
        return backend_of(energies).xp.mean(energies, axis=-1)


def deformed(rng: np.random.Generator) -> Atoms:
    """Return a cell of four atoms that is deformed, and whose atoms are moved."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(
        atoms.cell.array @ (rng.uniform(0.95, 1.05) * np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True
    )
    atoms.positions += 0.06 * rng.normal(size=atoms.positions.shape)
    return atoms


def energy_per_atom(atoms: Atoms) -> float:
    """Return the energy of the teacher."""
    atoms.calc = EMT()
    return atoms.get_potential_energy() / len(atoms)


def relaxed(calculator: Any, steps: int = 100) -> Atoms:
    """Return a deformed crystal whose cell and positions were relaxed."""
    atoms = deformed(np.random.default_rng(1))
    atoms.calc = calculator
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.005, steps=steps)
    return atoms


def dynamics(calculator: Any, steps: int, timestep: float = 2.0) -> tuple[float, float]:
    """Run dynamics from 600 K; return the mean temperature and the range of the total energy in meV per atom."""
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.calc = calculator
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(2))
    Stationary(atoms)
    verlet, temperatures, totals = VelocityVerlet(atoms, timestep * units.fs), [], []
    for _ in range(steps):
        verlet.run(1)
        temperatures.append(atoms.get_temperature())
        totals.append(1000 * atoms.get_total_energy() / len(atoms))
    return float(np.mean(temperatures)), float(np.ptp(totals))


def main() -> None:
    """Train, relax, run dynamics."""
    args = arguments(__doc__, steps=2000, learning_rate=3e-3)
    rng = np.random.default_rng(args.seed)
    cells = [deformed(rng) for _ in range(40 if args.smoke else 600)]
    model = AtomicEnergies()
    batch = pad_structures([from_atoms(atoms, cutoff=model.cutoff) for atoms in cells], num_nodes=4)
    inputs = [x.astype(np.float32) if x.dtype == np.float64 else x for x in map(batch.get, ARRAYS)]
    energies = np.asarray([energy_per_atom(atoms) for atoms in cells], np.float32)
    num = len(cells) * 4 // 5
    module, _ = fit(MeanEnergy(), mean_square, tuple(x[:num] for x in inputs), energies[:num], args)
    error = np.abs(module(*(x[num:] for x in inputs)) - energies[num:]).mean()
    print(f"mean absolute error of {len(cells) - num} cells: {1000 * error:.1f} meV/atom")

    path = args.output / "copper.safetensors"
    save_model(path, module.tree()["atoms"], layer=model, cutoff=model.cutoff, elements=["Cu"])
    load = partial(ModelCalculator.from_checkpoint, path, [AtomicEnergies], framework=args.framework)
    rows: list[tuple[Any, ...]] = [("", "volume (Å³/atom)", "largest |stress| (eV/Å³)")]
    for name, atoms in (("teacher", relaxed(EMT())), ("model", relaxed(load(), steps=2 if args.smoke else 100))):
        rows.append((name, atoms.get_volume() / len(atoms), float(np.abs(atoms.get_stress()).max())))
    table(rows)
    temperature, spread = dynamics(load(), steps=2 if args.smoke else 500)
    print(f"dynamics at {temperature:.0f} K: total energy constant within {spread:.3f} meV/atom")


if __name__ == "__main__":
    main()
