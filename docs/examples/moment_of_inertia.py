"""Learn the inertia tensor of point masses, a symmetric 3x3 matrix that rotates with them.

python docs/examples/moment_of_inertia.py --framework flax
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from e3any_backends import backend_of
from e3any_numpy import to_numpy
from figures import plt, save
from fitting import arguments, fit, mean_square, table

from e3any import checkpoint, nn, plot, so3


@dataclass(frozen=True)
class Inertia(nn.Layer):
    """A symmetric matrix, from a scalar and the five components of degree two of every point."""

    features: int = 16

    def forward(self, p: nn.Parameters, masses: Any, positions: Any) -> Any:
        """Return matrices (..., 3, 3) of masses (..., N) at positions (..., N, 3)."""
        backend = backend_of(positions)
        xp = backend.xp
        x = xp.concat([masses[..., None], positions], axis=-1)[..., None, :, None]
        x = nn.Dense(self.features)(p / "embed", x)
        x = nn.TensorDense(max_degree=2, include_pseudotensors=False)(p / "square", x)
        x = nn.TensorDense(1, max_degree=2, include_pseudotensors=False)(p / "cube", x)
        x = xp.sum(x[..., 0, :, 0], axis=-2)
        identity = backend.constant(np.eye(3), like=x)
        return x[..., :1, None] * identity + so3.irreps_to_tensor(x[..., 4:], degree=2)


def inertia(masses: np.ndarray, positions: np.ndarray) -> np.ndarray:
    r"""Return the tensors :math:`\sum_i m_i (|r_i|^2 1 - r_i \otimes r_i)`."""
    square = np.sum(positions**2, axis=-1)[..., None, None] * np.eye(3)
    outer = positions[..., :, None] * positions[..., None, :]
    return np.sum(masses[..., None, None] * (square - outer), axis=-3)


def points(count: int, num: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return masses, positions and tensors of sets of points."""
    masses, positions = rng.uniform(size=(count, num)), rng.normal(size=(count, num, 3))
    arrays = masses, positions, inertia(masses, positions)
    masses, positions, tensors = (x.astype(np.float32) for x in arrays)
    return masses, positions, tensors


def error(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the root of the mean squared error, relative to that of the mean tensor."""
    return float(np.sqrt(np.mean((predicted - true) ** 2) / np.mean((true - true.mean(axis=0)) ** 2)))


def draw(predicted: np.ndarray, true: np.ndarray, losses: list[float], path: Path) -> None:
    """Draw predicted against true components, and the curve of learning."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    limits = [true.min(), true.max()]
    left.plot(limits, limits, color="0.6", linewidth=1)
    diagonal = np.broadcast_to(np.eye(3, dtype=bool), true.shape)
    for name, which in (("diagonal", diagonal), ("off-diagonal", ~diagonal)):
        left.scatter(true[which], predicted[which], s=4, label=name)
    left.set(xlabel="true component", ylabel="predicted component", title="Tensors of test sets", aspect="equal")
    left.legend()
    plot.learning_curves({"training": losses}, window=20, ylabel="mean squared error", axes=right)
    right.set_title("Learning curve")
    save(figure, path)


def main() -> None:
    """Train on sets of ten points; test on others, larger ones and turned ones."""
    args = arguments(__doc__, steps=3000, learning_rate=2e-2)
    rng = np.random.default_rng(args.seed)
    model = Inertia()
    *inputs, targets = points(64 if args.smoke else 1000, 10, rng)
    module, losses = fit(model, mean_square, tuple(inputs), targets, args)
    path = args.output / "model.safetensors"
    checkpoint.save(path, module.tree())
    masses, positions, true = points(200, 10, rng)
    predicted = module(masses, positions)
    rotation = so3.random_rotation(rng).astype(np.float32)
    turned = module(masses, positions @ rotation)
    *many, true_of_many = points(200, 100, rng)
    largest = np.abs(predicted).max()
    table(
        [
            ("on 200 test sets", ""),
            ("relative error, 10 points", error(predicted, true)),
            ("relative error, 10 points, turned", error(turned, inertia(masses, positions @ rotation))),
            ("relative error, 100 points", error(module(*many), true_of_many)),
            ("turned prediction - prediction of turned", _change(turned, rotation.T @ predicted @ rotation, largest)),
            (
                "NumPy - " + args.framework,
                _change(to_numpy(model)(checkpoint.load(path), masses, positions), predicted, largest),
            ),
        ]
    )
    print("true, and predicted tensor of the first set:")
    print(np.concatenate([true[0], predicted[0]], axis=1).round(3))
    draw(predicted, true, losses, args.output / "moment_of_inertia.png")


def _change(actual: np.ndarray, desired: np.ndarray, largest: float) -> float:
    return float(np.abs(actual - desired).max() / largest)


if __name__ == "__main__":
    main()
