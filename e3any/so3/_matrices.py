"""Shared parts of functions of rotations: checks of arguments, and matrices from their entries."""

from __future__ import annotations

from typing import Any

import numpy as np
from e3any_backends import Array, Backend

from e3any.checks import check_broadcast, check_vectors, floating_backend
from e3any.ops.safe import normalize

__all__ = ["angles", "axes_and_angles", "check_rotations", "cross", "floating", "matrix", "rodrigues"]


def rodrigues(backend: Backend, k: Array, sine: Array, versine: Array) -> Array:
    """Return 1 + sine K + versine K^2 for vectors k."""
    xp = backend.xp
    x, y, z = (k[..., i] for i in range(3))
    zero = xp.zeros_like(x)
    skew = matrix(backend, [zero, z, -y, -z, zero, x, y, -x, zero])
    identity = backend.aligned(backend.table(np.eye, 3, like=k), skew)
    square = k[..., :, None] * k[..., None, :] - xp.sum(k * k, axis=-1)[..., None, None] * identity
    return identity + sine[..., None, None] * skew + versine[..., None, None] * square


def matrix(backend: Backend, entries: list[Array]) -> Array:
    """Stack nine arrays, row by row, to matrices of shape (..., 3, 3)."""
    flat = backend.xp.stack(entries, axis=-1)
    return backend.xp.reshape(flat, (*flat.shape[:-1], 3, 3))


def cross(xp: Any, u: Array, v: Array) -> Array:
    """Return the cross products of vectors along the last axis."""
    (a, b, c), (x, y, z) = ([vector[..., i] for i in range(3)] for vector in (u, v))
    return xp.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


def floating(**arrays: Array | float) -> tuple[Any, ...]:
    """Check floating-point arrays or numbers; return the backend, and all of them as arrays of one dtype."""
    given = {name: x for name, x in arrays.items() if not _is_number(x)}
    backend, like = floating_backend(**given), next(iter(given.values()))
    converted = [backend.constant(x, like=like) if _is_number(x) else x for x in arrays.values()]
    return backend, *backend.promote(*converted)


def axes_and_angles(axis: Array, angle: Array | float) -> tuple[Backend, Array, Array]:
    """Return the backend, axes of unit length (..., 3) and angles (...); both are checked and broadcast."""
    backend, axis, angle = floating(axis=axis, angle=angle)
    check_vectors(axis, "axis")
    check_broadcast("shapes of axes and angles", axis.shape[:-1], angle.shape)
    axis, angle = backend.xp.broadcast_arrays(normalize(axis, axis=-1), angle[..., None])
    return backend, axis, angle[..., 0]


def _is_number(x: Array | float) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, np.generic)


def check_rotations(rot: Array) -> None:
    """Raise a ValueError unless the last two axes of an array have length 3."""
    if len(rot.shape) < 2 or tuple(rot.shape[-2:]) != (3, 3):
        raise ValueError(f"expected rot of shape (..., 3, 3), got {tuple(rot.shape)}")


def angles(a: Array | float, b: Array | float, c: Array | float) -> tuple[Backend, list[Array]]:
    """Return the backend and three broadcast angles, which are NumPy arrays if all of them are numbers."""
    if all(isinstance(angle, (int, float)) for angle in (a, b, c)):
        a = np.asarray(float(a))
    backend, a, b, c = floating(a=a, b=b, c=c)
    check_broadcast("shapes of a, b and c", a.shape, b.shape, c.shape)
    return backend, backend.xp.broadcast_arrays(a, b, c)
