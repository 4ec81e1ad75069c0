"""Train an equivariant force field on molecular dynamics of ethanol, and use it.

The model is written once, as a description. Training runs in Flax or in PyTorch (``--framework``); the checkpoint is
read by Flax, PyTorch and NumPy. The script then prints test errors, compares the frameworks, checks equivariance, runs
molecular dynamics at constant energy, and draws what is better looked at.

    python docs/examples/force_field.py --framework flax
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import force_field_data as data
import force_field_report as report
import numpy as np
from e3any_ase import save_model
from e3any_backends import backend_of
from fitting import learning_rate
from tqdm import tqdm

from e3any import checkpoint, nn, ops


@dataclass(frozen=True)
class Energy(nn.Layer):
    """Potential energy of molecules: interactions between all atoms, summed to one number."""

    features: int = 32
    max_degree: int = 2  # of messages
    hidden_degree: int = 1  # of what an atom keeps between interactions
    num_interactions: int = 2
    num_basis: int = 16
    cutoff: float = 6.0  # Angstrom
    num_elements: int = 10
    scale: float = 1.0  # eV

    def forward(self, p: nn.Parameters, numbers: Any, positions: Any, neighbours: Any = None) -> Any:
        """Return energies (...,) of atoms with numbers (..., N) at positions (..., N, 3).

        Neighbours (..., N, M) are a dense list, by default of all pairs.
        """
        backend = backend_of(positions)
        if neighbours is None:
            neighbours = backend.index(ops.dense_pairwise_indices(positions.shape[-2]), like=positions)
            neighbours = backend.xp.broadcast_to(neighbours, (*positions.shape[:-2], *neighbours.shape))
        basis = nn.basis(
            ops.gather_src(positions, adj_idx=neighbours) - positions[..., None, :],
            max_degree=self.max_degree,
            num=self.num_basis,
            radial_fn=nn.reciprocal_bernstein,
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=self.cutoff),
            factored=True,
        )
        x = nn.Embed(self.num_elements, self.features)(p / "embed", numbers)
        for i in range(self.num_interactions):
            degree = self.hidden_degree if i < self.num_interactions - 1 else 0
            x = Interaction(self.features, self.max_degree, degree)(p / f"interaction_{i}", x, basis, neighbours)
        atomic = nn.Dense(1, use_bias=False)(p / "energy", x)[..., 0, 0, 0]
        return self.scale * backend.xp.sum(atomic, axis=-1)


@dataclass(frozen=True)
class Interaction(nn.Layer):
    """Messages from all neighbours, products of what arrives (terms of up to four atoms), and an atom-wise update."""

    features: int
    max_degree: int
    out_degree: int

    def forward(self, p: nn.Parameters, x: Any, basis: Any, neighbours: Any) -> Any:
        """Return features (..., N, 1, (out_degree+1)**2, features)."""
        cut = partial(nn.change_max_degree_or_type, max_degree=self.out_degree)
        product = partial(nn.TensorDense, self.features, include_pseudotensors=False)
        y = nn.MessagePass(self.max_degree, include_pseudotensors=False)(p / "message", x, basis, adj_idx=neighbours)
        y = nn.Dense(self.features)(p / "mix", y)
        y = nn.add(y, product(self.max_degree)(p / "square", y))
        y = nn.add(cut(y), product(self.out_degree)(p / "cube", y))
        x = nn.add(cut(x), y)
        y = nn.silu(nn.Dense(self.features)(p / "refine_0", x))
        return nn.add(x, nn.Dense(self.features)(p / "refine_1", y))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("flax", "torch"), default="flax")
    parser.add_argument("--data", type=Path, default=data.ETHANOL, help="file of frames")
    parser.add_argument("--output", type=Path, help="folder for checkpoints and plots; runs/<framework> by default")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything, to see that it runs")
    return parser.parse_args()


def force_field(framework: str, model: Energy, example: data.Frames, seed: int = 0) -> Any:
    """Return what trains and applies a model in a framework."""
    module = import_module(f"force_field_{framework}")
    return module.ForceField(model, example.numbers[:1], example.positions[:1], seed)


def train(field: Any, split: data.Split, args: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """Train, keep the parameters with the smallest error of forces; go on where a run with equal settings stopped."""
    path, settings = folder / "training.safetensors", {k: str(v) for k, v in vars(args).items()}
    rng, history = np.random.default_rng(args.seed), []
    if path.exists() and (run := json.loads(checkpoint.load_metadata(path)["run"]))["settings"] == settings:
        field.restore(checkpoint.load(path))
        rng.bit_generator.state, history = run["rng"], run["history"]
        print(f"going on after epoch {len(history)} of {args.epochs}")
    per_epoch = len(split.train.energies) // args.batch_size
    with tqdm(total=args.epochs * per_epoch, initial=len(history) * per_epoch, desc="training") as bar:
        for epoch in range(len(history), args.epochs):
            losses = []
            for batch in split.train.batches(args.batch_size, rng):
                losses.append(field.step(batch, args.learning_rate * learning_rate(bar.n / bar.total)))
                bar.update()
            errors = data.errors(field, split.validation)
            history.append({"epoch": epoch, "loss": float(np.mean(losses)), **errors})
            bar.set_postfix(loss=f"{history[-1]['loss']:.5f}", forces=f"{1000 * errors['forces']:.1f} meV/A")
            if errors["forces"] == min(h["forces"] for h in history):
                save(folder / "model.safetensors", field, split)
            run = {"settings": settings, "rng": rng.bit_generator.state, "history": history}
            checkpoint.save(path, field.state(), {"run": json.dumps(run)})
    return history


def save(path: Path, field: Any, split: data.Split) -> None:
    """Write the model, its parameters, and what it was trained with: elements, cut-off and energy of reference."""
    known = {"cutoff": field.model.cutoff, "elements": np.unique(split.train.numbers).tolist()}
    save_model(path, field.tree(), layer=field.model, **known, metadata={"reference_energy": repr(split.reference)})


def main() -> None:
    """Train, then report."""
    args = arguments()
    folder = args.output or Path("runs") / args.framework
    folder.mkdir(parents=True, exist_ok=True)
    if args.smoke:
        args.epochs = 2
    split = data.load(args.data).split(gap=20, limit=80 if args.smoke else None)
    field = force_field(args.framework, Energy(scale=split.train.scale()), split.train, args.seed)
    start = time.perf_counter()
    history = train(field, split, args, folder)
    print(f"trained with {args.framework} in {time.perf_counter() - start:.0f} s")

    path = folder / "model.safetensors"
    model, tree = checkpoint.load_layer(path, [Energy]), checkpoint.load(path)
    fields = {name: force_field(name, model, split.train) for name in ("flax", "torch")}
    for each in fields.values():
        each.load(tree)
    report.accuracy(fields[args.framework], split.test, history, folder)
    report.agreement(fields, model, tree, split.test, split.reference)
    report.equivariance(fields[args.framework], split.test)
    report.dynamics(fields[args.framework], split, folder, steps=20 if args.smoke else 10_000)


if __name__ == "__main__":
    main()
