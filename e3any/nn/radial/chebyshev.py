"""Chebyshev polynomials of the first kind."""

from __future__ import annotations

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.nn.radial.arguments import scaled

__all__ = ["basic_chebyshev", "chebyshev"]


def basic_chebyshev(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return Chebyshev polynomials of a distance.

    .. math::
        T_k(y) = \cos(k \arccos y) \qquad y = 2 x / x_\mathrm{max} - 1 \qquad k = 0, \dots, K - 1

    Parameters
    ----------
    x : array of shape (...)
        Distances. Below 0 and above the limit, functions keep the values they have there.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit :math:`x_\mathrm{max} > 0`, in the unit of ``x``: give the cut-off. By default it is 1, and all
        distances above 1 give the same values, [1, ..., 1]. Arrays can be traced and differentiated.

    Returns
    -------
    array of shape (..., num)
        Values of the functions, between -1 and 1.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``limit`` is a number that is not positive or an array that does not
        broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``limit`` is neither a number nor an array of its library.

    Examples
    --------
    >>> import numpy as np
    >>> basic_chebyshev(np.asarray(1.0), num=3)
    array([1., 1., 1.])
    """
    backend, t = scaled(x, num, limit)
    xp = backend.xp
    t = xp.where(t > 1.0, xp.ones_like(t), xp.where(t < 0.0, xp.zeros_like(t), t))
    return chebyshev(backend, t, 1.0 - t, num)


def chebyshev(backend: Backend, t: Array, rest: Array, num: int) -> Array:
    r"""Return the polynomials :math:`T_k(2t - 1)` along a new last axis, for t between 0 and 1 and the rest 1 - t."""
    # Recursion T_{k+1} = T_k + d_{k+1}, d_{k+1} = d_k + 2 (y - 1) T_k, which is precise for y near 1. For y < 0,
    # T_k(y) = (-1)^k T_k(-y). The arc cosine would have no derivatives at the ends.
    xp = backend.xp
    lower = t < 0.5
    factor = -4.0 * xp.where(lower, t, rest)  # 2 (|y| - 1)
    polynomial, difference = xp.ones_like(t), 0.5 * factor
    polynomials = [polynomial]
    for _ in range(1, num):
        polynomial = polynomial + difference
        difference = difference + factor * polynomial
        polynomials.append(polynomial)
    values = xp.stack(polynomials, axis=-1)
    signs = backend.aligned(backend.table(_signs, num, like=t), values)
    return xp.where(lower[..., None], values * signs, values)


def _signs(num: int) -> NDArray[np.float64]:
    return np.asarray([(-1.0) ** k for k in range(num)])
