"""Bernstein polynomials."""

from __future__ import annotations

import math

import numpy as np
from e3any_backends import Array, Backend

from e3any.nn.radial.arguments import scaled

__all__ = ["basic_bernstein", "bernstein"]

# Powers below this one are products instead of exponentials: derivatives of lower orders are precise at the ends.
_EXACT_POWERS = 5
# Stands in for the logarithm of zero: the exponential of a few times this is zero in every dtype.
_LOG_ZERO = -1000.0


def basic_bernstein(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return Bernstein polynomials of a distance.

    .. math::
        B_k(u) = \binom{K-1}{k} u^k (1 - u)^{K-1-k} \qquad u = x / x_\mathrm{max} \qquad k = 0, \dots, K - 1

    Parameters
    ----------
    x : array of shape (...)
        Distances. Below 0 and above the limit, functions keep the values they have there.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit :math:`x_\mathrm{max} > 0`, in the unit of ``x``: give the cut-off. By default it is 1, and all
        distances above 1 give the same values, [0, ..., 0, 1]. Arrays can be traced and differentiated.

    Returns
    -------
    array of shape (..., num)
        Values of the functions, which are not negative and sum to one.

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
    >>> basic_bernstein(np.asarray(0.5), num=3)
    array([0.25, 0.5 , 0.25])

    Distances up to a cut-off of 5 need a limit of 5. Without it they are all beyond the limit:

    >>> basic_bernstein(np.asarray([1.5, 2.5]), num=3, limit=5.0)
    array([[0.49, 0.42, 0.09],
           [0.25, 0.5 , 0.25]])
    >>> basic_bernstein(np.asarray([1.5, 2.5]), num=3)
    array([[0., 0., 1.],
           [0., 0., 1.]])
    """
    return bernstein(*scaled(x, num, limit), num)


def bernstein(backend: Backend, u: Array, num: int) -> Array:
    """Return the polynomials of degree ``num - 1`` along a new last axis, constant outside of [0, 1]."""
    xp = backend.xp
    if num == 1:
        return xp.ones_like(u)[..., None]
    # Mappings leave the interval by rounding; the slack keeps their derivatives there.
    slack = float(xp.finfo(u.dtype).eps)
    u = xp.where(u < -slack, xp.zeros_like(u), xp.where(u > 1.0 + slack, xp.ones_like(u), u))
    return (_by_products if num < 2 * _EXACT_POWERS else _by_exponentials)(backend, u, num - 1)


def _by_products(backend: Backend, u: Array, n: int) -> Array:
    """Return polynomials of a low degree."""
    u_powers, v_powers = _powers(backend, u, n), _powers(backend, 1.0 - u, n)
    slots = [math.comb(n, k) * (u_powers[k] * v_powers[n - k]) for k in range(n + 1)]
    return backend.xp.stack(slots, axis=-1)


def _by_exponentials(backend: Backend, u: Array, n: int) -> Array:
    """Return polynomials as exponentials of logarithms, which libraries fuse and differentiate best."""
    # Low powers of u and of 1 - u are products: their derivatives do not vanish at zero, where the logarithm has none.
    # Derivatives of higher powers do vanish there.
    xp = backend.xp
    # Below this, exact zeros: the fourth power of the inverse, which derivatives contain, is finite above.
    tiny = min(float(xp.finfo(u.dtype).smallest_normal) ** (1.0 / _EXACT_POWERS), 1e-7)
    half, vanish = xp.full_like(u, 0.5), xp.full_like(u, _LOG_ZERO)
    inner_u, inner_v = u > tiny, 1.0 - u > tiny
    log_u = xp.where(inner_u, xp.log(xp.where(inner_u, u, half)), vanish)[..., None]
    log_v = xp.where(inner_v, xp.log1p(-xp.where(inner_v, u, half)), vanish)[..., None]
    exponents = backend.table(_exponents, n, like=u)
    k_u, k_v, log_binomial = (backend.aligned(exponents[i, ...], log_u) for i in range(3))
    first, last = _EXACT_POWERS, n + 1 - _EXACT_POWERS
    low = xp.stack(_powers(backend, u, first - 1), axis=-1)
    high = xp.stack(_powers(backend, 1.0 - u, first - 1)[::-1], axis=-1)
    low = low * xp.exp(log_v * k_v[..., :first] + log_binomial[..., :first])
    high = high * xp.exp(log_u * k_u[..., last:] + log_binomial[..., last:])
    middle = xp.exp(log_u * k_u[..., first:last] + (log_v * k_v[..., first:last] + log_binomial[..., first:last]))
    return xp.concat([low, middle, high], axis=-1)


def _powers(backend: Backend, t: Array, degree: int) -> list[Array]:
    """Return the powers 0..degree, by few multiplications."""
    powers = [backend.xp.ones_like(t), t]
    for k in range(2, degree + 1):
        powers.append(powers[k // 2] * powers[k - k // 2])
    return powers


def _exponents(n: int) -> np.ndarray:
    """Return factors of log u and log(1 - u), and logarithms of binomials."""
    k = np.arange(n + 1.0)
    return np.stack([k, n - k, np.asarray([math.log(math.comb(n, i)) for i in range(n + 1)])])
