"""What the smaller examples share: a command line, losses, the loop of training."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from e3any_backends import backend_of
from e3any_numpy import to_numpy
from tqdm import trange


def arguments(description: str | None, steps: int, learning_rate: float) -> argparse.Namespace:
    """Read the command line of an example, and make its folder for results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("flax", "torch"), default="flax")
    parser.add_argument("--output", type=Path, help="folder for checkpoints and plots; runs/<example> by default")
    parser.add_argument("--steps", type=int, default=steps, help="steps of training")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=0)
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
) -> tuple[Any, list[float]]:
    """Train a model on random batches; return what applies it, and the loss of every step.

    Initial parameters are drawn by NumPy, so that both frameworks begin with the same ones.
    """
    rng, losses, start = np.random.default_rng(args.seed), [], time.perf_counter()
    tree = to_numpy(model).init(rng, *(x[:1] for x in inputs))
    module = import_module(f"fitting_{args.framework}").Module(model, loss, tree, [x[:1] for x in inputs])
    with trange(args.steps, desc=name) as bar:
        for step in bar:
            batch = rng.integers(len(targets), size=args.batch_size)
            rate = args.learning_rate * learning_rate(step / args.steps)
            losses.append(module.step([x[batch] for x in inputs], targets[batch], rate))
            if step % 50 == 0:
                bar.set_postfix(loss=f"{losses[-1]:.2e}")
    print(f"{name}: {args.steps} steps with {args.framework} in {time.perf_counter() - start:.0f} s")
    return module, losses


def table(rows: list[tuple[Any, ...]]) -> None:
    """Print rows as a table; the first one is its head."""
    texts = [[f"{x:.3g}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    for i, row in enumerate(texts):
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |")
        if i == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
