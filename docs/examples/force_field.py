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
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import force_field_data as data
import force_field_report as report
import numpy as np
from e3any_backends import backend_of
from tqdm import tqdm

import e3any
from e3any import checkpoint, nn, ops


@dataclass(frozen=True)
class Energy(nn.Layer):
    """Potential energy of molecules: messages between all atoms, refined atom by atom, summed to one number."""

    features: int = 32
    max_degree: int = 2
    num_iterations: int = 2
    num_basis: int = 16
    cutoff: float = 6.0
    max_atomic_number: int = 9
    mean: float = 0.0
    scale: float = 1.0

    def forward(self, p: nn.Parameters, numbers: Any, positions: Any) -> Any:
        """Return energies (...,) of atoms with numbers (..., N) at positions (..., N, 3)."""
        xp = backend_of(positions).xp
        neighbours = ops.dense_pairwise_indices(positions.shape[-2])
        neighbours = backend_of(positions).index(neighbours, like=positions)
        neighbours = xp.broadcast_to(neighbours, (*positions.shape[:-2], *neighbours.shape))
        displacements = ops.gather_src(positions, adj_idx=neighbours) - positions[..., None, :]
        basis = nn.basis(
            displacements,
            max_degree=self.max_degree,
            num=self.num_basis,
            radial_fn=nn.reciprocal_bernstein,
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=self.cutoff),
            factored=True,
        )
        x = nn.Embed(self.max_atomic_number + 1, self.features)(p / "embed", numbers)
        for i in range(self.num_iterations):
            last = i == self.num_iterations - 1
            message = nn.MessagePass(0 if last else self.max_degree, include_pseudotensors=False)
            y = message(p / f"message_{i}", x, basis, adj_idx=neighbours)
            x = nn.add(nn.change_max_degree_or_type(x, 0) if last else x, y)
            x = Refine(self.features)(p / f"refine_{i}", x)
        atomic = nn.Dense(1, use_bias=False)(p / "energy", x)[..., 0, 0, 0]
        return self.mean + self.scale * xp.sum(atomic, axis=-1)


@dataclass(frozen=True)
class Refine(nn.Layer):
    """A residual block that acts on every atom by itself."""

    features: int

    def forward(self, p: nn.Parameters, x: Any) -> Any:
        """Return x plus a gated linear map of x."""
        y = nn.silu(nn.Dense(self.features)(p / "dense_0", x))
        return nn.add(x, nn.Dense(self.features)(p / "dense_1", y))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("flax", "torch"), default="flax")
    parser.add_argument("--data", type=Path, default=data.ETHANOL, help="file of frames")
    parser.add_argument("--output", type=Path, help="folder for checkpoints and plots; runs/<framework> by default")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--minutes", type=float, default=4.0, help="the schedule is cut short to end within this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything, to see that it runs")
    return parser.parse_args()


def trainer_for(framework: str, model: Energy, example: data.Frames, seed: int) -> Any:
    """Return what trains and applies a model in a framework."""
    if framework == "flax":
        from force_field_flax import FlaxForceField as ForceField
    else:
        from force_field_torch import TorchForceField as ForceField
    return ForceField(model, example.numbers[:1], example.positions[:1], seed)


def train(trainer: Any, split: data.Split, args: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """Train until the epochs or the minutes are over; go on where an interrupted run of the same kind stopped."""
    rng = np.random.default_rng(args.seed)
    history, best = [], float("inf")
    state = data.TrainingState(folder, vars(args))
    first, history, spent = state.resume(trainer, rng)
    best = min([h["validation_forces"] for h in history], default=best)
    start = time.perf_counter() - spent
    progress = data.Progress(args.epochs, 60.0 * args.minutes, first)
    for epoch in (bar := tqdm(range(first, args.epochs), initial=first, total=args.epochs, desc="training")):
        losses = []
        for batch in split.train.batches(args.batch_size, rng):
            rate = args.learning_rate * progress.rate(time.perf_counter() - start, epoch)
            losses.append(trainer.step(batch, rate))
        errors = data.errors(trainer, split.validation)
        history.append(
            {
                "epoch": epoch,
                "loss": float(np.mean(losses)),
                **{f"validation_{k}": v for k, v in errors.items()},
            }
        )
        if errors["forces"] < best:
            best = errors["forces"]
            checkpoint.save(folder / "model.safetensors", trainer.tree(), {"model": json.dumps(asdict(trainer.model))})
        state.save(trainer, rng, history, time.perf_counter() - start)
        bar.set_postfix(loss=f"{history[-1]['loss']:.4f}", forces=f"{1000 * errors['forces']:.1f} meV/A")
        if progress.is_over(time.perf_counter() - start):
            break
    return history


def main() -> None:
    """Train, then report."""
    args = arguments()
    folder = args.output or Path("runs") / args.framework
    folder.mkdir(parents=True, exist_ok=True)
    if args.smoke:
        args.epochs = 2
    split = data.load(args.data).split(gap=20, limit=80 if args.smoke else None)
    mean, scale = split.train.energy_statistics()
    trainer = trainer_for(args.framework, Energy(mean=mean, scale=scale), split.train, args.seed)
    start = time.perf_counter()
    history = train(trainer, split, args, folder)
    print(f"trained {len(history)} epochs in {time.perf_counter() - start:.0f} s with {args.framework}")

    path = folder / "model.safetensors"
    model = Energy(**json.loads(checkpoint.load_metadata(path)["model"]))
    tree = checkpoint.load(path)
    fields = {name: trainer_for(name, model, split.train, args.seed) for name in ("flax", "torch")}
    for field in fields.values():
        field.load(tree)
    field = fields[args.framework]
    report.test_errors(field, split.test, history, folder)
    report.compare_frameworks(fields, e3any_numpy_energy(model, tree), split.test)
    report.equivariance(field, split.test)
    report.molecular_dynamics(field, split.test, folder, steps=20 if args.smoke else 10_000)


def e3any_numpy_energy(model: Energy, tree: dict[str, Any]) -> Any:
    """Return the energy as a function of NumPy arrays, in the precision of the positions."""
    from e3any_numpy import to_numpy

    function = to_numpy(model)
    return lambda numbers, positions: function(data.cast(tree, positions.dtype), numbers, positions)


if __name__ == "__main__":
    print(f"e3any {e3any.__version__}")
    main()
