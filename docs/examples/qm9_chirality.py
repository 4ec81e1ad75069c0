"""Tell R from S: the handedness of molecules with one stereocentre, a pseudoscalar.

The mirror image of a molecule has the other label. Features with both parities see the difference, features without
pseudotensors cannot: whatever they learn is right for exactly one of two mirror images. A twin that takes directions
for numbers like any others has to learn from molecules that are turned and mirrored at random.

    pip install --no-deps qm9pack
    python docs/examples/qm9_chirality.py --framework flax
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

from e3any import nn

LABELS = Path(__file__).parent / "data" / "qm9_chirality.csv"
MAX_HEAVY, MAX_ATOMS = 8, 19
SIZES = (300, 1000, 3000)
TESTED = 500
MODELS = {
    "L = 1, both parities": Atoms(16, 1, pseudotensors=True, num_basis=8),
    "L = 1, no pseudotensors": Atoms(25, 1, num_basis=8),
    "twin": Atoms(32, 1, num_basis=8, equivariant=False),
}


@dataclass(frozen=True)
class Handedness(nn.Layer):
    """A number for every molecule, positive for R: a pseudoscalar if there is one among the features, else a scalar."""

    atoms: Atoms

    def forward(self, p: nn.Parameters, numbers: Any, positions: Any) -> Any:
        """Return numbers (...,) of molecules of atoms with numbers (..., N) at positions (..., N, 3)."""
        xp = backend_of(positions).xp
        x = self.atoms(p / "atoms", numbers, positions)
        x = nn.TensorDense(max_degree=0, include_pseudotensors=self.atoms.pseudotensors)(p / "pair", x)
        x = nn.Dense(1)(p / "sum", x)[..., -1, 0, 0]
        return xp.sum(xp.where(numbers > 0, x, xp.zeros_like(x)), axis=-1)


def logistic(outputs: Any, signs: Any) -> Any:
    """Return the mean of -log of the probability of the right label; signs are 1 for R and -1 for S."""
    xp = backend_of(outputs).xp
    t = -signs * outputs
    return xp.mean(xp.where(t > 0, t, xp.zeros_like(t)) + xp.log1p(xp.exp(-xp.abs(t))))


def read_labels(path: Path) -> dict[int, int]:
    """Return 1 for R and -1 for S, by the numbers of QM9."""
    lines = path.read_text(encoding="utf-8").split()[1:]
    return {int(index): {"R": 1, "S": -1}[name] for index, name in (line.split(",") for line in lines)}


def mirror(rng: np.random.Generator, numbers: np.ndarray, positions: np.ndarray, signs: np.ndarray) -> Any:
    """Return a batch of which half, chosen at random, are the mirror images, with the other label."""
    which = rng.integers(2, size=len(signs)).astype(bool)
    flipped = np.where(which[:, None, None], qm9.mirrored(positions), positions)
    return numbers, qm9.turned(flipped, rng), np.where(which, -signs, signs)


def measure(module: Any, test: qm9.Molecules, signs: np.ndarray) -> dict[str, float]:
    """Return how many of the molecules, and of these and their mirror images, are told right, in per cent.

    ``oddness`` is half the largest difference between outputs of two mirror images, relative to the largest output: 1
    for a pseudoscalar, 0 for a scalar.
    """
    there = fitting.predict(module, test.inputs())
    back = fitting.predict(module, (test.numbers, qm9.mirrored(test.positions)))
    right, of_images = (100 * float(np.mean(x > 0)) for x in (signs * there, -signs * back))
    oddness = float(np.abs(there - back).max() / (2 * np.abs(there).max()))
    return {"right": right, "with mirror images": (right + of_images) / 2, "oddness": oddness}


def compare(rest: Any, test: Any, args: Any) -> list[dict[str, Any]]:
    """Train all models on all numbers of molecules, and test them."""
    (molecules, signs), results = rest, []
    for name, atoms in MODELS.items():
        module = None
        for count in (len(signs),) if args.smoke else SIZES:
            start = time.process_time()
            data = molecules.take(slice(count)).inputs(), signs[:count]
            title = f"{name}, {count} molecules"
            module, _ = fitting.fit(Handedness(atoms), logistic, *data, args, title, module=module, change=mirror)
            sizes = {"parameters": fitting.size(module.tree()), "molecules": count}
            errors = measure(module, *test)
            results.append({"model": name, **sizes, **errors, "seconds": round(time.process_time() - start)})
            write(results, args.output)
    return results


def write(results: list[dict[str, Any]], folder: Path) -> None:
    """Write results as they are, and as a table."""
    keys = ("model", "parameters", "molecules", "right", "with mirror images", "oddness", "seconds")
    head = (*keys[:3], "right (%)", "with mirror images (%)", "oddness", "CPU (s)")
    rows: list[tuple[Any, ...]] = [head, *(tuple(r[key] for key in keys) for r in results)]
    (folder / "qm9_chirality.md").write_text(fitting.table(rows) + "\n", encoding="utf-8")
    (folder / "qm9_chirality.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def draw(results: list[dict[str, Any]], path: Any) -> None:
    """Draw how many are told right against the number of molecules to train on."""
    figure, axis = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
    for name in MODELS:
        each = [r for r in results if r["model"] == name]
        axis.semilogx([r["molecules"] for r in each], [r["with mirror images"] for r in each], "o-", label=name)
    axis.axhline(50, color="0.6", linewidth=1, zorder=0)
    axis.set(xlabel="molecules to train on", ylabel="told right (%)", ylim=(45, 101))
    mark_sizes(axis, sorted({r["molecules"] for r in results}))
    axis.legend()
    save(figure, path)


def main() -> None:
    """Run the study."""
    args = fitting.arguments(__doc__, 4000, 5e-3, batch_size=16, data="table of molecules; of qm9pack by default")
    rng, labels = np.random.default_rng(args.seed), read_labels(LABELS)
    molecules = qm9.load(args.data or qm9.source(), MAX_HEAVY, labels).within(MAX_ATOMS).shuffled(rng)
    signs = np.asarray([labels[int(index)] for index in molecules.indices], np.float32)
    tested = len(signs) // 4 if args.smoke else TESTED
    test, rest = ((molecules.take(s), signs[s]) for s in (slice(tested), slice(tested, None)))
    results = compare(rest, test, args)
    draw(results, args.output / "qm9_chirality.png")


if __name__ == "__main__":
    main()
