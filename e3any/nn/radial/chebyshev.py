"""Chebyshev polynomials of the first kind."""

from __future__ import annotations

from e3any_backends import Array, Backend

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
        The limit :math:`x_\mathrm{max} > 0`. Arrays may be traced and differentiated.

    Returns
    -------
    array of shape (..., num)
        Values of the functions, between -1 and 1.

    Raises
    ------
    ValueError
        If ``num`` is no integer >= 1, or ``limit`` is a number that is not positive.
    TypeError
        If ``x`` is no floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> basic_chebyshev(np.asarray(1.0), num=3)
    array([1., 1., 1.])
    """
    backend, t = scaled(x, num, limit)
    xp = backend.xp
    return chebyshev(
        backend, 2.0 * xp.where(t > 1.0, xp.ones_like(t), xp.where(t < 0.0, xp.zeros_like(t), t)) - 1.0, num
    )


def chebyshev(backend: Backend, y: Array, num: int) -> Array:
    """Return the polynomials of degrees below ``num`` along a new last axis, for y between -1 and 1."""
    # By recursion: the arc cosine has no derivatives at the ends.
    polynomials = [backend.xp.ones_like(y), y]
    while len(polynomials) < num:
        polynomials.append(2.0 * y * polynomials[-1] - polynomials[-2])
    return backend.xp.stack(polynomials[:num], axis=-1)
