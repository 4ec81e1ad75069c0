"""Ship the force field of ethanol: programs for energy and forces that run without e3any.

JAX exports StableHLO, PyTorch a program and, where there is a C++ compiler, a library. Each is loaded in a process that
cannot import e3any, for a molecule and for two of them, and compared with the model in NumPy.

    python docs/examples/force_field.py --framework flax
    python docs/examples/ship_model.py --checkpoint runs/flax/model.safetensors
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import force_field_data as data
import numpy as np
import ship_flax
import ship_torch
from e3any_numpy import to_numpy
from fitting import table
from force_field import Energy

from e3any import checkpoint, ops

Inputs = tuple[np.ndarray, np.ndarray, np.ndarray]
STEP = 1e-3  # Angstrom, of differences of energies


def read(path: Path | None, frame: data.Frames) -> tuple[Energy, dict[str, Any]]:
    """Return the model and parameters of a checkpoint, or a small model as it is before training."""
    if path is not None:
        return checkpoint.load_layer(path, [Energy]), checkpoint.load(path)
    print("no checkpoint: a small model with random parameters")
    model = Energy(features=4, max_degree=1, num_interactions=1, num_basis=4)
    return model, to_numpy(model).init(np.random.default_rng(0), frame.numbers, frame.positions)


def molecules(frame: data.Frames) -> dict[str, Inputs]:
    """Return atomic numbers, positions and neighbours of one molecule, and of two that are apart."""
    count = frame.numbers.shape[0]
    pairs = np.asarray(ops.dense_pairwise_indices(count), np.int32)
    two = np.concatenate([pairs, pairs + count])
    padded = np.pad(two, [(0, 0), (0, 1)], constant_values=2 * count)
    positions = np.concatenate([frame.positions, frame.positions + np.float32(50)])
    return {
        "one molecule": (frame.numbers, frame.positions, pairs),
        "two molecules": (np.tile(frame.numbers, 2), positions, padded),
    }


def expected(model: Energy, tree: dict[str, Any], inputs: Inputs) -> tuple[float, np.ndarray]:
    """Return the energy, and forces from its central differences, in double precision with NumPy."""
    numbers, positions, neighbours = inputs
    wide, energy = cast(tree), to_numpy(model)
    steps = STEP * np.eye(positions.size).reshape(-1, *positions.shape)
    moved = np.concatenate([positions + steps, positions - steps, positions[None] + np.zeros((1, 1, 1))])
    each = [energy(wide, numbers, r, neighbours) for r in moved]
    ahead, behind = np.reshape(each[:-1], (2, *positions.shape))
    return float(each[-1]), (behind - ahead) / (2 * STEP)


def cast(tree: Any) -> Any:
    """Return a nested dictionary of arrays in double precision."""
    return {name: cast(x) for name, x in tree.items()} if isinstance(tree, dict) else tree.astype(np.float64)


def run(path: Path, inputs: Inputs) -> tuple[float, np.ndarray]:
    """Return energy and forces of a shipped model, from a process without e3any."""
    files = path.with_suffix(".in.npz"), path.with_suffix(".out.npz")
    np.savez(files[0], **dict(zip(("numbers", "positions", "neighbours"), inputs, strict=True)))
    subprocess.run([sys.executable, Path(__file__).with_name("shipped.py"), path, *files], check=True)
    with np.load(files[1]) as file:
        return float(file["energy"]), file["forces"]


def main() -> None:
    """Export, load elsewhere, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="of force_field.py; random parameters by default")
    parser.add_argument("--output", type=Path, default=Path("runs/ship_model"), help="folder for what is exported")
    parser.add_argument("--no-compile", action="store_true", help="leave out AOTInductor")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    frame = data.load(data.ETHANOL).take(0)
    (model, tree), cases = read(args.checkpoint, frame), molecules(frame)
    paths = [args.output / f"ethanol.{kind}" for kind in ("stablehlo", "program.pt2", "compiled.pt2")]
    ship_flax.write(model, tree, cases["one molecule"], paths[0])
    ship_torch.write(model, tree, cases["one molecule"], paths[1])
    if args.no_compile:
        paths.pop()
    elif not ship_torch.write_compiled(paths[1], paths[2]):
        print("not compiled: AOTInductor needs a C++ compiler, expected g++ or clang++, got neither")
        paths.pop()
    rows: list[tuple[Any, ...]] = [("file", "kB", "atoms", "energy - NumPy's (eV)", "largest error of forces (eV/Å)")]
    for name, inputs in cases.items():
        energy, forces = expected(model, tree, inputs)
        for path in paths:
            e, f = run(path, inputs)
            size = path.stat().st_size // 1000
            rows.append((path.name, size, name, e - energy, float(np.abs(f - forces).max())))
    table(rows)


if __name__ == "__main__":
    main()
