"""Learn dipole moments and polarizabilities of small molecules, with and without equivariance.

Compared are features of degrees up to L = 0, 1, 2, and a twin of the last one that takes directions for numbers like
any others, trained on molecules as they lie in the file or turned at random: errors, and how much predictions change
when a molecule is turned, against the number of molecules to train on.

    pip install --no-deps qm9pack
    python docs/examples/qm9_properties.py --framework flax
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fitting
import numpy as np
import qm9
from e3any_backends import backend_of
from figures import mark_sizes, plt, save
from qm9_model import Atoms

from e3any import nn, ops

MAX_HEAVY, MAX_ATOMS = 7, 19
SIZES = (300, 1000, 3000)
TESTED = 500
KEYS = ("error", "error, turned", "change")
TARGETS = {"dipole": "D", "polarizability": "bohr³"}
MODELS = {
    "L = 0": Atoms(16, 0, num_basis=8),
    "L = 1": Atoms(16, 1, num_basis=8),
    "L = 2": Atoms(16, 2, num_basis=8),
    "twin": Atoms(25, 2, num_basis=8, equivariant=False),
    "twin, turned": Atoms(25, 2, num_basis=8, equivariant=False),
}


@dataclass(frozen=True)
class Properties(nn.Layer):
    """Norms of dipole moments and polarizabilities, both sums over atoms, in units of the data.

    The moment is that of charges and dipoles of the atoms; without degree 1 there are charges alone. The twin has
    dipoles too, three numbers like any others.
    """

    atoms: Atoms

    def forward(self, p: nn.Parameters, numbers: Any, positions: Any) -> Any:
        """Return both properties (..., 2) of molecules of atoms with numbers (..., N) at positions (..., N, 3)."""
        xp = backend_of(positions).xp
        x = self.atoms(p / "atoms", numbers, positions)
        x = nn.change_max_degree_or_type(x, max_degree=min(1, self.atoms.max_degree if self.atoms.equivariant else 0))
        x = nn.Dense(2 if self.atoms.equivariant else 5)(p / "properties", x)[..., 0, :, :]
        there = xp.astype(numbers > 0, positions.dtype)[..., None]
        centred = positions - _sum(positions * there) / _sum(there)
        moments = x[..., 0, :1] * centred
        if not self.atoms.equivariant:
            moments = moments + x[..., 0, 2:]
        elif self.atoms.max_degree > 0:
            moments = moments + x[..., 1:, 0]
        norm = ops.norm(xp.sum(moments * there, axis=-2), axis=-1)
        return xp.stack([norm, xp.sum(x[..., 0, 1] * there[..., 0], axis=-1)], axis=-1)


def _sum(x: Any) -> Any:
    return backend_of(x).xp.sum(x, axis=-2, keepdims=True)


class Scale:
    """Targets as they are learned: polarizabilities relative to a sum over atoms, both in units of their spread."""

    def __init__(self, train: qm9.Molecules) -> None:
        self._of_elements = np.linalg.lstsq(self._counts(train), train.polarizabilities, rcond=None)[0]
        rest = train.polarizabilities - self._counts(train) @ self._of_elements
        self._units = np.asarray([train.dipoles.std(), rest.std()])

    @staticmethod
    def _counts(molecules: qm9.Molecules) -> np.ndarray:
        return np.stack([np.sum(molecules.numbers == z, axis=1) for z in qm9.ELEMENTS.values()], axis=1)

    def _offset(self, molecules: qm9.Molecules) -> np.ndarray:
        return np.stack([0 * molecules.dipoles, self._counts(molecules) @ self._of_elements], axis=1)

    def targets(self, molecules: qm9.Molecules) -> np.ndarray:
        """Return what is learned (B, 2)."""
        both = np.stack([molecules.dipoles, molecules.polarizabilities], axis=1)
        return ((both - self._offset(molecules)) / self._units).astype(np.float32)

    def properties(self, outputs: np.ndarray, molecules: qm9.Molecules) -> np.ndarray:
        """Return properties (B, 2) in debye and bohr^3."""
        return outputs * self._units + self._offset(molecules)


def turn(rng: np.random.Generator, numbers: np.ndarray, positions: np.ndarray, targets: np.ndarray) -> Any:
    """Return a batch of molecules that are turned at random."""
    return numbers, qm9.turned(positions, rng), targets


def measure(module: Any, scale: Scale, test: qm9.Molecules, seed: int) -> dict[str, list[float]]:
    """Return mean absolute errors as the molecules lie, and turned; and mean changes between the two."""
    other = test._replace(positions=qm9.turned(test.positions, np.random.default_rng(seed)))
    as_is, moved = (scale.properties(fitting.predict(module, x.inputs()), x) for x in (test, other))
    true = np.stack([test.dipoles, test.polarizabilities], axis=1)
    pairs = {"error": (as_is, true), "error, turned": (moved, true), "change": (moved, as_is)}
    return {name: np.abs(a - b).mean(axis=0).tolist() for name, (a, b) in pairs.items()}


def draw(results: list[dict[str, Any]], path: Any) -> None:
    """Draw errors of turned molecules, and changes, against the number of molecules to train on."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained", sharex=True)
    for column, (target, unit) in enumerate(TARGETS.items()):
        for row, (key, label) in enumerate((("error, turned", "mean absolute error"), ("change", "change by turning"))):
            axis = axes[row, column]
            for name in MODELS:
                each = [r for r in results if r["model"] == name]
                axis.loglog([r["molecules"] for r in each], [r[key][column] for r in each], "o-", label=name)
            axis.set(title=f"{target}, molecules turned at random", ylabel=f"{label} ({unit})")
            axis.grid(visible=True, which="both", alpha=0.3)
    for axis in axes[1]:
        axis.set(xlabel="molecules to train on")
        mark_sizes(axis, sorted({r["molecules"] for r in results}))
    axes[0, 0].legend()
    save(figure, path)


def compare(rest: qm9.Molecules, test: qm9.Molecules, args: Any) -> list[dict[str, Any]]:
    """Train all models on all numbers of molecules, and test them."""
    results = []
    for name, atoms in MODELS.items():
        model, module = Properties(atoms), None
        for count in (len(rest.indices),) if args.smoke else SIZES:
            train, start = rest.take(slice(count)), time.process_time()
            scale, change = Scale(train), turn if name.endswith("turned") else None
            data, title = (train.inputs(), scale.targets(train)), f"{name}, {count} molecules"
            module, _ = fitting.fit(model, fitting.mean_square, *data, args, title, module=module, change=change)
            errors = measure(module, scale, test, args.seed)
            sizes = {"parameters": fitting.size(module.tree()), "molecules": count}
            results.append({"model": name, **sizes, **errors, "seconds": round(time.process_time() - start)})
            write(results, args.output)
    return results


def write(results: list[dict[str, Any]], folder: Path) -> None:
    """Write results as they are, and as a table."""
    columns = [(key, i) for i in range(len(TARGETS)) for key in KEYS]
    names, units = list(TARGETS), list(TARGETS.values())
    rows: list[tuple[Any, ...]] = [
        ("model", "parameters", "molecules", *(f"{names[i]}: {key} ({units[i]})" for key, i in columns), "CPU (s)")
    ]
    for r in results:
        rows.append((r["model"], r["parameters"], r["molecules"], *(r[key][i] for key, i in columns), r["seconds"]))
    (folder / "qm9_properties.md").write_text(fitting.table(rows) + "\n", encoding="utf-8")
    (folder / "qm9_properties.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run the study."""
    args = fitting.arguments(__doc__, 2500, 1e-2, batch_size=16, data="table of molecules; of qm9pack by default")
    rng = np.random.default_rng(args.seed)
    molecules = qm9.load(args.data or qm9.source(), MAX_HEAVY).within(MAX_ATOMS).shuffled(rng)
    tested = len(molecules.indices) // 4 if args.smoke else TESTED
    results = compare(molecules.take(slice(tested, None)), molecules.take(slice(tested)), args)
    draw(results, args.output / "qm9_properties.png")


if __name__ == "__main__":
    main()
