"""Gaussians with equally spaced centres."""

from __future__ import annotations

import math

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.nn.radial.arguments import scaled

__all__ = ["basic_gaussian", "gaussian"]


def basic_gaussian(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return Gaussians of a distance, with equally spaced centres between 0 and the limit.

    .. math::
        g_k(t) = \exp\left(-\sqrt{2K}\,(K-1) \left(t - \frac{k}{K-1}\right)^2\right) \qquad
        t = x / x_\mathrm{max} \qquad k = 0, \dots, K - 1

    For K = 1 the function is the constant 1.

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit :math:`x_\mathrm{max} > 0`, in the unit of ``x``: give the cut-off. By default it is 1, and far above
        it all functions are zero. Arrays can be traced and differentiated.

    Returns
    -------
    array of shape (..., num)
        Values of the functions, between 0 and 1.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``limit`` is a number that is not positive or an array that does not
        broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``limit`` is neither a number nor an array of its library.
    """
    return gaussian(*scaled(x, num, limit), num)


def gaussian(backend: Backend, t: Array, num: int) -> Array:
    """Return the functions along a new last axis."""
    xp = backend.xp
    if num == 1:
        return xp.ones_like(t)[..., None]
    rate = math.sqrt(2 * num) * (num - 1)
    distance = t[..., None] - backend.aligned(backend.table(_centres, num, like=t), t[..., None])
    # Beyond, the exponential is zero, but its derivatives would multiply it by infinity.
    reach = math.sqrt(-math.log(float(xp.finfo(t.dtype).smallest_normal)) / rate)
    inside = xp.abs(distance) < reach
    distance = xp.where(inside, distance, xp.zeros_like(distance))
    values = xp.exp(-rate * (distance * distance))
    return xp.where(inside, values, xp.zeros_like(values))


def _centres(num: int) -> NDArray[np.float64]:
    return np.linspace(0.0, 1.0, num)
