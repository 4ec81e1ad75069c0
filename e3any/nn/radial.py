r"""Radial basis functions: Bernstein polynomials of a distance or of a mapped distance.

.. math::
    B_k(u) = \binom{K-1}{k} u^k (1 - u)^{K-1-k} \qquad k = 0, \dots, K - 1

Derivatives are finite everywhere, at the ends of the interval as well.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from e3any_backends import Array, Backend

from e3any.nn._functions import mean_decay, scalar_like
from e3any.nn.cutoffs import check_positive, checked_backend

__all__ = [
    "ReciprocalMapping",
    "basic_bernstein",
    "exponential_bernstein",
    "exponential_mapping",
    "reciprocal_bernstein",
    "reciprocal_mapping",
]

ReciprocalMapping = Literal["shifted", "damped", "cuspless"]

# Powers below this one are multiplied out: derivatives of orders below it are precise at the ends.
_EXACT_POWERS = 5
# Stands in for the logarithm of zero: the exponential of a few times this is zero in every dtype.
_LOG_ZERO = -1000.0


def basic_bernstein(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return Bernstein polynomials :math:`B_k(x / x_\mathrm{max})`.

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
        Values of the functions, which are not negative and sum to one.

    Raises
    ------
    ValueError
        If ``num`` is no integer >= 1, or ``limit`` is a number that is not positive.
    TypeError
        If ``x`` is no floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> basic_bernstein(np.asarray(0.5), num=3)
    array([0.25, 0.5 , 0.25])
    """
    backend = checked_backend(x)
    check_num(num)
    check_positive(limit, "limit")
    return _bernstein(backend, x / scalar_like(backend, limit, x), num)


def reciprocal_bernstein(
    x: Array, num: int, kind: ReciprocalMapping = "shifted", use_reciprocal_weighting: bool = False
) -> Array:
    r"""Return Bernstein polynomials :math:`B_k(1 - \rho(x))` of a reciprocal mapping.

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    kind : {'shifted', 'damped', 'cuspless'}, optional
        The mapping :math:`\rho`, see :func:`reciprocal_mapping`.
    use_reciprocal_weighting : bool, optional
        Whether the functions are multiplied by :math:`\rho(x)`.

    Returns
    -------
    array of shape (..., num)
        Values of the functions.

    Raises
    ------
    ValueError
        If ``num`` is no integer >= 1, or ``kind`` is unknown.
    TypeError
        If ``x`` is no floating-point array.
    """
    backend = checked_backend(x)
    check_num(num)
    mapping = reciprocal_mapping(x, kind)
    functions = _bernstein(backend, 1.0 - mapping, num)
    return functions * mapping[..., None] if use_reciprocal_weighting else functions


def exponential_bernstein(
    x: Array,
    num: int,
    gamma: Array | float = 1.0,
    cuspless: bool = False,
    use_exponential_weighting: bool = False,
) -> Array:
    r"""Return Bernstein polynomials :math:`B_k(1 - \epsilon(x))` of an exponential mapping.

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    gamma : float or array, optional
        Rate :math:`\gamma` of the mapping. Arrays may be traced and differentiated.
    cuspless : bool, optional
        Which mapping :math:`\epsilon`, see :func:`exponential_mapping`.
    use_exponential_weighting : bool, optional
        Whether the functions are multiplied by :math:`\epsilon(x)`.

    Returns
    -------
    array of shape (..., num)
        Values of the functions.

    Raises
    ------
    ValueError
        If ``num`` is no integer >= 1.
    TypeError
        If ``x`` is no floating-point array.
    """
    backend = checked_backend(x)
    check_num(num)
    mapping = exponential_mapping(x, gamma, cuspless)
    functions = _bernstein(backend, 1.0 - mapping, num)
    return functions * mapping[..., None] if use_exponential_weighting else functions


def reciprocal_mapping(x: Array, kind: ReciprocalMapping = "shifted") -> Array:
    r"""Map distances to (0, 1], with a tail of 1/x.

    .. math::
        \rho_\mathrm{shifted}(x) = \frac{1}{x + 1} \qquad \rho_\mathrm{damped}(x) = \frac{1 - e^{-x}}{x}
        \qquad \rho_\mathrm{cuspless}(x) = \frac{1}{x + e^{-x}}

    Parameters
    ----------
    x : array
        Distances.
    kind : {'shifted', 'damped', 'cuspless'}, optional
        Which mapping; the derivative of the last one is zero at x = 0.

    Returns
    -------
    array of the shape of ``x``
        Values of the mapping.

    Raises
    ------
    ValueError
        If ``kind`` is unknown.
    TypeError
        If ``x`` is no floating-point array.
    """
    backend = checked_backend(x)
    if kind not in get_args(ReciprocalMapping):
        raise ValueError(f"expected kind to be one of {get_args(ReciprocalMapping)}, got {kind!r}")
    if kind == "damped":
        return mean_decay(backend, x)
    return 1.0 / (x + (1.0 if kind == "shifted" else backend.xp.exp(-x)))


def exponential_mapping(x: Array, gamma: Array | float = 1.0, cuspless: bool = False) -> Array:
    r"""Map distances to (0, 1], with an exponential tail.

    .. math::
        \epsilon(x) = e^{-\gamma x} \qquad \epsilon_\mathrm{cuspless}(x) = e^{-\gamma (x + e^{-x} - 1)}

    Parameters
    ----------
    x : array
        Distances.
    gamma : float or array, optional
        Rate :math:`\gamma`. Arrays may be traced and differentiated.
    cuspless : bool, optional
        Whether to take the second form, whose derivative is zero at x = 0.

    Returns
    -------
    array of the shape of ``x``
        Values of the mapping.

    Raises
    ------
    TypeError
        If ``x`` is no floating-point array.
    """
    backend = checked_backend(x)
    y = x + backend.xp.expm1(-x) if cuspless else x
    return backend.xp.exp(-scalar_like(backend, gamma, x) * y)


def check_num(num: Any) -> None:
    """Raise a ValueError unless ``num`` is an integer >= 1."""
    if isinstance(num, bool) or not isinstance(num, int | np.integer) or num < 1:
        raise ValueError(f"expected num to be an integer >= 1, got {num!r}")


def _bernstein(backend: Backend, u: Array, num: int) -> Array:
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
    """Return polynomials as exponentials of logarithms, which libraries fuse and differentiate best.

    Low powers of u and of 1 - u are multiplied out: differentiated a few times, they do not vanish at zero,
    where their logarithms have no derivatives. Higher powers vanish there.
    """
    xp = backend.xp
    # Below this, exact zeros: the fourth power of the inverse, which derivatives contain, is finite above.
    tiny = min(float(xp.finfo(u.dtype).smallest_normal) ** (1.0 / _EXACT_POWERS), 1e-7)
    half, vanish = xp.full_like(u, 0.5), xp.full_like(u, _LOG_ZERO)
    inner_u, inner_v = u > tiny, 1.0 - u > tiny
    log_u = xp.where(inner_u, xp.log(xp.where(inner_u, u, half)), vanish)[..., None]
    log_v = xp.where(inner_v, xp.log1p(-xp.where(inner_v, u, half)), vanish)[..., None]
    exponents = backend.table(_exponents, n, like=u)
    k_u, k_v, log_binomial = (exponents[i, ...] for i in range(3))
    first, last = _EXACT_POWERS, n + 1 - _EXACT_POWERS
    low = xp.stack(_powers(backend, u, first - 1), axis=-1)
    high = xp.stack(_powers(backend, 1.0 - u, first - 1)[::-1], axis=-1)
    low = low * xp.exp(log_v * k_v[:first] + log_binomial[:first])
    high = high * xp.exp(log_u * k_u[last:] + log_binomial[last:])
    middle = xp.exp(log_u * k_u[first:last] + (log_v * k_v[first:last] + log_binomial[first:last]))
    return xp.concat([low, middle, high], axis=-1)


def _powers(backend: Backend, t: Array, degree: int) -> list[Array]:
    """Return the powers 0..degree by few multiplications."""
    powers = [backend.xp.ones_like(t), t]
    for k in range(2, degree + 1):
        powers.append(powers[k // 2] * powers[k - k // 2])
    return powers


def _exponents(n: int) -> np.ndarray:
    """Return factors of log u and log(1 - u), and logarithms of binomials."""
    k = np.arange(n + 1.0)
    return np.stack([k, n - k, np.asarray([math.log(math.comb(n, i)) for i in range(n + 1)])])
