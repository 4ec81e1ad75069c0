"""Functions that gates and radial functions share, precise with all their derivatives."""

from __future__ import annotations

import numpy as np
from e3any_backends import Array, Backend

__all__ = ["NODES", "WEIGHTS", "mean_decay", "scalar_like", "sigmoid", "softplus"]

# Gauss-Legendre rule on [0, 1].
_x, _w = np.polynomial.legendre.leggauss(8)
NODES, WEIGHTS = 0.5 * (1.0 + _x), 0.5 * _w


def scalar_like(backend: Backend, value: Array | float, like: Array) -> Array | float:
    """Return a parameter that does not widen the dtype of ``like``: a Python float, or a cast array."""
    if isinstance(value, int | float | np.generic):
        return float(value)
    return backend.promote(value, dtype=like.dtype)[0]


def sigmoid(backend: Backend, t: Array) -> Array:
    r"""Return :math:`1 / (1 + e^{-t})`, to full relative precision on both sides."""
    xp = backend.xp
    negative = t < 0
    e = xp.exp(xp.where(negative, t, -t))
    return xp.where(negative, e, xp.ones_like(e)) / (1.0 + e)


def softplus(backend: Backend, t: Array) -> Array:
    r"""Return :math:`\log(1 + e^t)`."""
    xp = backend.xp
    negative = t < 0
    return xp.where(negative, xp.zeros_like(t), t) + xp.log1p(xp.exp(xp.where(negative, t, -t)))


def mean_decay(backend: Backend, y: Array) -> Array:
    r"""Return :math:`(1 - e^{-y}) / y = \int_0^1 e^{-ys} ds`.

    Near zero from :math:`1 - y \int_0^1 (1-s)\, e^{-ys} ds` by quadrature, which has no cancellation: all
    derivatives are as precise as the value, and the value does not exceed one for :math:`y \ge 0`.
    """
    xp = backend.xp
    small = xp.abs(y) < 3.0
    near = xp.where(small, y, xp.zeros_like(y))
    far = xp.where(small, xp.full_like(y, 3.0), y)
    weights = backend.constant(WEIGHTS * (1.0 - NODES), like=y)
    terms = xp.exp(-near[..., None] * backend.constant(NODES, like=y)) * weights
    return xp.where(small, 1.0 - near * xp.sum(terms, axis=-1, dtype=y.dtype), -xp.expm1(-far) / far)
