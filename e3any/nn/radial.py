r"""Radial basis functions: Bernstein polynomials of a distance or of a mapped distance.

.. math::
    B_k(u) = \binom{K-1}{k} u^k (1 - u)^{K-1-k} \qquad k = 0, \dots, K - 1

They are products alone, of non-negative factors: nothing cancels, and derivatives of every order are finite
at the ends of the interval.
"""

from __future__ import annotations

import functools
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

# Up to this degree, powers and binomials stay far from the smallest and largest float32 numbers.
_MAX_PRODUCT_DEGREE = 63


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
    # Polynomials lie along the first axis until the end: loops over points are long and contiguous.
    ends = xp.stack([1.0 - u, u], axis=0)
    factors = -(-(num - 1) // _MAX_PRODUCT_DEGREE)
    degree = (num - 1) // factors
    b = _scale(backend, _monomials(backend, ends, degree), _binomials(degree))
    if factors > 1:
        b = _balanced_power(backend, b, factors)
    for _ in range(num - 1 - degree * factors):
        b = _elevate(backend, b, ends)
    return xp.moveaxis(b, 0, -1)


def _monomials(backend: Backend, ends: Array, degree: int) -> Array:
    r"""Return :math:`u^k v^{n-k}` for k = 0..n, given (v, u), by doubling the degree n.

    The first rows of degree n + d are those of degree n times :math:`v^d`, the last ones those times
    :math:`u^d`, where d is n or n + 1.
    """
    xp = backend.xp
    steps = [degree >> shift for shift in range(degree.bit_length() - 2, -1, -1)]
    b, power = ends, ends
    for target in steps:
        d = target - (b.shape[0] - 1)
        factor = power if target % 2 == 0 else power * ends
        b = xp.concat([factor[:1, ...] * b[:d, ...], factor[1:, ...] * b], axis=0)
        if target != degree:
            power = power * factor
    return b


def _balanced_power(backend: Backend, b: Array, factors: int) -> Array:
    """Return the polynomials of ``factors`` times the degree, as products of neighbours in ``b``.

    Where the product is not negligible no factor is, so that nothing underflows on the way.
    """
    xp = backend.xp
    degree = b.shape[0] - 1
    num = factors * degree + 1
    repeated = xp.broadcast_to(b[:, None, ...], (degree + 1, factors, *b.shape[1:]))
    repeated = xp.reshape(repeated, (factors * (degree + 1), *b.shape[1:]))
    product = repeated[:num, ...]
    for shift in range(1, factors):
        product = product * repeated[shift : shift + num, ...]
    return _scale(backend, product, _binomial_ratios(degree, factors))


def _elevate(backend: Backend, b: Array, ends: Array) -> Array:
    r"""Return the polynomials of the next degree, :math:`v B_k + u B_{k-1}`."""
    xp = backend.xp
    zero = xp.zeros_like(b[:1, ...])
    return xp.concat([ends[:1, ...] * b, zero], axis=0) + xp.concat([zero, ends[1:, ...] * b], axis=0)


def _scale(backend: Backend, b: Array, table: np.ndarray) -> Array:
    """Multiply polynomials by a number each."""
    return b * backend.constant(np.reshape(table, (-1, *(1,) * (b.ndim - 1))), like=b)


@functools.lru_cache
def _binomials(degree: int) -> np.ndarray:
    return np.asarray([float(math.comb(degree, k)) for k in range(degree + 1)])


@functools.lru_cache
def _binomial_ratios(degree: int, factors: int) -> np.ndarray:
    """Return the binomials of the product divided by the product of those of its factors."""
    table = []
    for k in range(factors * degree + 1):
        parts = math.prod(math.comb(degree, (k + shift) // factors) for shift in range(factors))
        table.append(math.comb(factors * degree, k) / parts)
    return np.asarray(table)
