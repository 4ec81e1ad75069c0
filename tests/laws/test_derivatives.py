"""Derivatives to fourth order: right where functions are smooth, finite where they are not.

What is right is the derivative of a polynomial through values of the function at Chebyshev's nodes of a line, which
NumPy evaluates; derivatives are those of PyTorch, with kernels and without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from e3any_backends import kernels
from numpy.polynomial import chebyshev

from e3any import nn, ops, so3

AXES = np.concatenate([np.eye(3), -np.eye(3)])
GENERAL = np.asarray([[0.6, -0.5, 0.8], [-0.3, 1.1, 0.2]])
TINY_AND_HUGE = np.asarray([1e-30, 1e30, 1.0])[:, None, None] * np.concatenate([AXES, GENERAL])
# Coincident points, all sizes side by side, and vectors with zeros of either sign.
SPECIAL = np.concatenate([np.zeros((2, 3)), TINY_AND_HUGE.reshape(-1, 3), [[-0.0, 0.0, 1.0], [0.0, -0.0, -1.0]]])
FRAMES = np.stack([so3.rotation_euler(*angles) for angles in ((0.3, 0.7, -0.4), (2.0, 1.2, 0.1))])
TURNS = np.stack(
    [np.diag(d) for d in ((1.0, 1, 1), (1.0, -1, -1), (-1.0, 1, -1), (-1.0, -1, 1))] + [np.eye(3)[[1, 2, 0]]]
)
QUATERNIONS = np.asarray([[0.9, 0.1, -0.3, 0.4], [0.2, -1.1, 0.5, 0.3]])
UNITS = np.concatenate([np.eye(4), -np.eye(4)])
UNITS_AND_ZERO = np.concatenate([UNITS, np.zeros((1, 4))])
FLAT_FRAMES, FLAT_TURNS = FRAMES.reshape(-1, 9), TURNS.reshape(-1, 9)
ANGLES = np.asarray([[0.4, 0.9, -1.3], [0.0, 0.0, 0.0], [1.0, np.pi, 2.0], [np.pi / 2, np.pi / 2, -np.pi / 2]])
SCALARS, KINKS = np.asarray([-1.3, 0.6, 2.1]), np.asarray([0.0, 1e-30, -1e-30, 1.0, -1.0, 3.0, -3.0, 6.0, 30.0])
DISTANCES = np.asarray([0.37, 1.13, 2.71])
SPECIAL_DISTANCES = np.asarray([0.0, 1e-300, 1e-30, 1e-10, 1.0, 3.0, 1e10, 1e30])


@dataclass(frozen=True)
class Smooth:
    """A function of rows, points where it is smooth, the radius of a line in it, and points where it need not be."""

    function: Callable[[Any], Any]
    points: np.ndarray
    special: np.ndarray
    radius: float = 0.25


def of_columns(function: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda x: function(*(x[..., i] for i in range(x.shape[-1])))


def joined(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return sine and cosine of what a function returns, which may be angles, in one array."""

    def sines(x: Any) -> Any:
        xp = torch if isinstance(x, torch.Tensor) else np
        y = function(x)
        parts = [part.reshape(len(x), -1) for part in (y if isinstance(y, tuple) else (y,))]
        return xp.concat([f(part) for part in parts for f in (xp.sin, xp.cos)], -1)

    return sines


def of_matrices(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return joined(lambda x: function(x.reshape(-1, 3, 3)))


def basis(radial_fn: Callable[..., Any]) -> Callable[[Any], Any]:
    return functools.partial(
        nn.basis, max_degree=2, num=3, radial_fn=radial_fn, cutoff_fn=functools.partial(nn.smooth_cutoff, cutoff=4.0)
    )


def gated(activation: Callable[..., Any], **options: Any) -> Callable[[Any], Any]:
    """Apply an activation to features whose scalars are the points, and whose vectors and pseudotensors are fixed."""

    def function(t: Any) -> Any:
        xp = torch if isinstance(t, torch.Tensor) else np
        rows = xp.stack([t, *(0 * t + c for c in (0.7, -1.3, 0.4))], -1)
        return activation(xp.stack([rows, 0.5 * rows], -2)[..., None], **options)

    return function


def constant(x: Any) -> Any:
    return torch.as_tensor(GENERAL[0]) if isinstance(x, torch.Tensor) else GENERAL[0]


DIRECTIONS, UPRIGHT = np.concatenate([AXES, GENERAL]), np.concatenate([AXES[:5], GENERAL])
RADIAL = [
    *("basic_bernstein", "basic_chebyshev", "basic_fourier", "basic_gaussian", "sinc", "bessel"),
    *(f"{m}_{k}" for m in ("reciprocal", "exponential") for k in ("bernstein", "chebyshev", "fourier", "gaussian")),
]
LIMITED = {"basic_bernstein", "basic_chebyshev", "basic_fourier", "basic_gaussian", "sinc", "bessel"}
SMOOTH_ACTIVATIONS = ["silu", "gelu", "mish", "elu", "celu", "selu", "serf", "shifted_softplus", "bent_identity"]
PIECEWISE = ["soft_sign", "relu", "relu6", "leaky_relu", "hard_silu", "hard_tanh"]


def radial(name: str) -> Callable[..., Any]:
    return functools.partial(getattr(nn, name), **({"limit": 4.0} if name in LIMITED else {}))


FUNCTIONS = {
    "spherical_harmonics": Smooth(lambda r: so3.spherical_harmonics(r, 4), DIRECTIONS, SPECIAL),
    "solid_harmonics": Smooth(lambda r: so3.solid_harmonics(r, 4), DIRECTIONS, SPECIAL[:2]),
    "norm": Smooth(lambda r: ops.norm(r, axis=-1), DIRECTIONS, SPECIAL),
    "normalize": Smooth(lambda r: ops.normalize(r, axis=-1), DIRECTIONS, SPECIAL),
    "rotation, axis": Smooth(lambda r: so3.rotation(r, 0.7 + 0 * r[..., 0]), DIRECTIONS, SPECIAL),
    # Opposite vectors, where it jumps, are special.
    "alignment_rotation": Smooth(
        lambda v: so3.alignment_rotation(0 * v + constant(v), v), DIRECTIONS, np.concatenate([SPECIAL, -GENERAL])
    ),
    "wigner_d": Smooth(
        of_matrices(lambda rot: so3.wigner_d(rot, 4)),
        np.concatenate([FLAT_FRAMES, FLAT_TURNS]),
        np.concatenate([FLAT_TURNS, -FLAT_TURNS]),
    ),
    "wigner_d_from_quaternion": Smooth(
        lambda q: so3.wigner_d_from_quaternion(q, 3), np.concatenate([QUATERNIONS, UNITS]), UNITS_AND_ZERO
    ),
    "rotation_from_quaternion": Smooth(so3.rotation_from_quaternion, UNITS, UNITS_AND_ZERO),
    "axis_angle_from_quaternion": Smooth(joined(so3.axis_angle_from_quaternion), QUATERNIONS, UNITS_AND_ZERO, 0.1),
    "euler_angles_from_quaternion": Smooth(joined(so3.euler_angles_from_quaternion), QUATERNIONS, UNITS_AND_ZERO, 0.1),
    "quaternion_from_rotation": Smooth(of_matrices(so3.quaternion_from_rotation), FLAT_FRAMES, FLAT_TURNS, 0.1),
    "axis_angle_from_rotation": Smooth(of_matrices(so3.axis_angle_from_rotation), FLAT_FRAMES, FLAT_TURNS, 0.1),
    "euler_angles_from_rotation": Smooth(of_matrices(so3.euler_angles_from_rotation), FLAT_FRAMES, FLAT_TURNS, 0.1),
    "wigner_d_from_euler": Smooth(of_columns(lambda *a: so3.wigner_d_from_euler(*a, 3)), ANGLES, ANGLES),
    "rotation_euler": Smooth(of_columns(so3.rotation_euler), ANGLES, ANGLES),
    "quaternion_from_euler": Smooth(of_columns(so3.quaternion_from_euler), ANGLES[[0]], ANGLES),
    "smooth_cutoff": Smooth(lambda t: nn.smooth_cutoff(t, 3.2), DISTANCES, SPECIAL_DISTANCES),
    "cosine_cutoff": Smooth(lambda t: nn.cosine_cutoff(t, 3.0), DISTANCES, SPECIAL_DISTANCES),
    "polynomial_cutoff": Smooth(lambda t: nn.polynomial_cutoff(t, 3.0), DISTANCES, SPECIAL_DISTANCES),
    "smooth_damping": Smooth(nn.smooth_damping, DISTANCES, SPECIAL_DISTANCES),
    "smooth_switch": Smooth(lambda t: nn.smooth_switch(t, 0.0, 3.1), DISTANCES, SPECIAL_DISTANCES),
    **{name: Smooth(functools.partial(radial(name), num=5), DISTANCES, SPECIAL_DISTANCES, 0.2) for name in RADIAL},
    **{f"basis of {name}": Smooth(basis(radial(name)), DIRECTIONS, SPECIAL, 0.2) for name in RADIAL},
    **{name: Smooth(gated(getattr(nn, name)), SCALARS, KINKS) for name in [*SMOOTH_ACTIVATIONS, *PIECEWISE]},
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)
kernel = pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])


def weighted(function: Callable[[Any], Any], x: Any, weights: np.ndarray) -> Any:
    """Return one number for every row of x."""
    y = function(x)
    y = y.reshape(len(x), -1)
    factors = weights[: y.shape[-1]]
    return y @ (torch.as_tensor(factors) if isinstance(y, torch.Tensor) else factors)


def derivatives_of_torch(
    function: Callable[[Any], Any], x: np.ndarray, v: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the derivatives of orders 1 to 4 of every row along lines."""
    t = torch.zeros(len(x), dtype=torch.float64, requires_grad=True)
    y = weighted(function, torch.as_tensor(x) + t.reshape(-1, *(1,) * (x.ndim - 1)) * torch.as_tensor(v), weights)
    found = []
    for _ in range(4):
        if y.requires_grad:
            (y,) = torch.autograd.grad(y.sum(), t, create_graph=True, materialize_grads=True)
        else:
            y = torch.zeros_like(t)
        found.append(y.detach().numpy())
    return np.stack(found)


def derivatives_of_polynomials(
    function: Callable[[Any], Any], x: np.ndarray, v: np.ndarray, weights: np.ndarray, radius: float
) -> np.ndarray:
    """Return the same from values at 25 nodes of every line."""
    nodes = chebyshev.chebpts1(25)
    values = np.stack([weighted(function, x + radius * s * v, weights) for s in nodes])
    coefficients = chebyshev.chebfit(nodes, values, 24)
    return np.stack([chebyshev.chebval(0.0, chebyshev.chebder(coefficients, n)) / radius**n for n in range(1, 5)])


@every_function
@kernel
def test_derivatives_to_fourth_order_are_right(rng, name, kernel):
    case = FUNCTIONS[name]
    v, weights = rng.normal(size=case.points.shape), rng.normal(size=2000)
    v /= np.linalg.norm(v, axis=-1, keepdims=True) if v.ndim > 1 else np.abs(v)
    with kernels.enabled(kernel):
        actual = derivatives_of_torch(case.function, case.points, v, weights)
    expected = derivatives_of_polynomials(case.function, case.points, v, weights, case.radius)
    scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1.0)
    # Rounding of values, times what interpolation amplifies it by.
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=3e-7)


@every_function
@kernel
def test_derivatives_to_fourth_order_are_finite(rng, name, kernel):
    case = FUNCTIONS[name]
    with kernels.enabled(kernel):
        found = derivatives_of_torch(
            case.function, case.special, rng.normal(size=case.special.shape), rng.normal(size=2000)
        )
    assert np.isfinite(found).all()
