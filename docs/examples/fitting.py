"""What the smaller examples share: a command line, losses, the loop of training."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from e3any_backends import backend_of
from e3any_numpy import to_numpy
from tqdm import trange


def arguments(
    description: str | None, steps: int, learning_rate: float, *, batch_size: int = 32, data: str | None = None
) -> argparse.Namespace:
    """Read the command line of an example, and make its folder for results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("flax", "torch"), default="flax")
    parser.add_argument("--output", type=Path, help="folder for checkpoints and plots; runs/<example> by default")
    parser.add_argument("--steps", type=int, default=steps, help="steps of training")
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=0)
    if data is not None:
        parser.add_argument("--data", type=Path, help=data)
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything, to see that it runs")
    args = parser.parse_args()
    args.output = args.output or Path("runs") / Path(parser.prog).stem
    args.output.mkdir(parents=True, exist_ok=True)
    args.steps = min(args.steps, 5) if args.smoke else args.steps
    return args


def learning_rate(fraction: float) -> float:
    """Return the factor of the learning rate when a fraction of the training is over: a short rise, then a cosine."""
    return min(1.0, 0.05 + 20 * fraction) * 0.5 * (1.0 + math.cos(math.pi * fraction))


def cross_entropy(logits: Any, targets: Any) -> Any:
    """Return the mean of -log of the probability of the right class; targets are one or zero for every class."""
    xp = backend_of(logits).xp
    largest = xp.max(logits, axis=-1, keepdims=True)
    log_total = largest[..., 0] + xp.log(xp.sum(xp.exp(logits - largest), axis=-1))
    return xp.mean(log_total - xp.sum(targets * logits, axis=-1))


def mean_square(outputs: Any, targets: Any) -> Any:
    """Return the mean of squared errors."""
    return backend_of(outputs).xp.mean((outputs - targets) ** 2)


def fit(
    model: Any,
    loss: Callable[[Any, Any], Any],
    inputs: tuple[np.ndarray, ...],
    targets: np.ndarray,
    args: argparse.Namespace,
    name: str = "training",
    *,
    module: Any = None,
    change: Callable[..., Sequence[np.ndarray]] | None = None,
) -> tuple[Any, list[float]]:
    """Train a model on random batches; return what applies it, and the loss of every step.

    Initial parameters are drawn by NumPy, so that both frameworks begin with the same ones. A module of the same model
    can be given, which then starts anew and need not be compiled again. ``change(rng, *inputs, targets)`` returns a
    batch as it is to be trained on, turned at random for example.
    """
    rng, losses, start = np.random.default_rng(args.seed), [], time.perf_counter()
    tree = to_numpy(model).init(rng, *(x[:1] for x in inputs))
    if module is None:
        module = import_module(f"fitting_{args.framework}").Module(model, loss, tree, [x[:1] for x in inputs])
    else:
        module.restart(tree)
    with trange(args.steps, desc=name) as bar:
        for step in bar:
            batch = rng.integers(len(targets), size=args.batch_size)
            arrays: Sequence[np.ndarray] = [x[batch] for x in (*inputs, targets)]
            if change is not None:
                arrays = change(rng, *arrays)
            rate = args.learning_rate * learning_rate(step / args.steps)
            losses.append(module.step(arrays[:-1], arrays[-1], rate))
            if step % 50 == 0:
                bar.set_postfix(loss=f"{losses[-1]:.2e}")
    print(f"{name}: {args.steps} steps with {args.framework} in {time.perf_counter() - start:.0f} s")
    return module, losses


def size(tree: Any) -> int:
    """Return how many numbers a nested dictionary of arrays has."""
    return sum(map(size, tree.values())) if isinstance(tree, dict) else tree.size


def predict(module: Any, inputs: Sequence[np.ndarray], batch_size: int = 100) -> np.ndarray:
    """Apply a module to batches of one size, the last of which is filled up with the first rows."""
    count = len(inputs[0])
    order = np.arange(-(-count // batch_size) * batch_size) % count
    batches = order.reshape(-1, batch_size)
    return np.concatenate([module(*(x[batch] for x in inputs)) for batch in batches])[:count]


def table(rows: list[tuple[Any, ...]]) -> str:
    """Print rows as a table, the first of them its head, and return the text."""
    texts = [[f"{x:.3g}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    lines = ["| " + " | ".join(x.ljust(width) for x, width in zip(row, widths, strict=True)) + " |" for row in texts]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    text = "\n".join(lines)
    print(text)
    return text
