"""Functions that gates and radial functions share, precise with all their derivatives."""

from __future__ import annotations

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.checks import check_broadcast, shown

__all__ = ["mean_decay", "mean_decay_and_rest", "nodes", "scalar_like", "sigmoid", "softplus", "weights"]


def nodes() -> NDArray[np.float64]:
    """Return the nodes of a Gauss-Legendre rule on [0, 1]."""
    return 0.5 * (1.0 + np.polynomial.legendre.leggauss(8)[0])


def weights() -> NDArray[np.float64]:
    """Return the weights of the rule, which sum to one."""
    return 0.5 * np.polynomial.legendre.leggauss(8)[1]


def scalar_like(backend: Backend, value: Array | float, like: Array) -> Array | float:
    """Return a parameter as a Python float, or as an array of the dtype and the number of axes of ``like``."""
    if isinstance(value, (int, float, np.generic)):
        if value != value:
            raise ValueError(f"expected a number or an array, got {value}")
        return float(value)
    if not backend.owns(value):
        raise TypeError(f"expected a number or an array of {backend.xp.__name__}, got {shown(value)}")
    check_broadcast("shapes of a parameter and an array", value.shape, like.shape)
    return backend.aligned(backend.promote(value, like, dtype=like.dtype)[0], like)


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
    r"""Return :math:`(1 - e^{-y}) / y = \int_0^1 e^{-ys} ds`; see :func:`mean_decay_and_rest`."""
    return mean_decay_and_rest(backend, y)[0]


def mean_decay_and_rest(backend: Backend, y: Array) -> tuple[Array, Array]:
    r"""Return :math:`f(y) = (1 - e^{-y}) / y = \int_0^1 e^{-ys} ds`, and the rest :math:`1 - f(y)`."""
    # Near zero, the rest y * integral of (1 - s) exp(-ys) is computed first, by quadrature. This has no cancellation,
    # so that all derivatives are as precise as the value, and the value does not exceed one for y >= 0.
    xp = backend.xp
    small = xp.abs(y) < 3.0
    near = xp.where(small, y, xp.zeros_like(y))
    far = xp.where(small, xp.full_like(y, 3.0), y)
    at, falling = (backend.aligned(backend.table(f, like=y), y[..., None]) for f in (nodes, _falling_weights))
    rest = near * xp.sum(xp.exp(-near[..., None] * at) * falling, axis=-1, dtype=y.dtype)
    decay = xp.where(small, 1.0 - rest, -xp.expm1(-far) / far)
    return decay, xp.where(small, rest, 1.0 - decay)


def _falling_weights() -> NDArray[np.float64]:
    return weights() * (1.0 - nodes())
