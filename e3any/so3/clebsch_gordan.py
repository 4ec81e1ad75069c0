r"""Clebsch-Gordan coefficients of real harmonics, from a closed formula in exact integers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from e3any_backends import Array
from numpy.typing import NDArray

from e3any.checks import check_degree
from e3any.config import cartesian_order_or_default
from e3any.conventions import cartesian_permutation, degree_slice

__all__ = ["clebsch_gordan", "clebsch_gordan_for_degrees"]

# A float64 matrix product of integers is exact as long as no partial sum exceeds 2**53.
_EXACT_FLOAT_BITS = 53


def clebsch_gordan_for_degrees(
    degree1: int, degree2: int, degree3: int, cartesian_order: bool | None = None, xp: Any = None
) -> Array:
    r"""Return the coefficients that couple two degrees to a third one.

    .. math::
        z^{(l_3)}_{m_3} = \sum_{m_1 m_2} C_{m_1 m_2 m_3} \, x^{(l_1)}_{m_1} y^{(l_2)}_{m_2} \qquad
        \sum_{m_1 m_2} C_{m_1 m_2 m_3} C_{m_1 m_2 m_3'} = \delta_{m_3 m_3'}

    Parameters
    ----------
    degree1, degree2, degree3 : int
        The degrees :math:`l_1, l_2, l_3`. All coefficients are zero unless
        :math:`|l_1 - l_2| \le l_3 \le l_1 + l_2`.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.
    xp : namespace, optional
        Array API namespace of the result; NumPy if not given.

    Returns
    -------
    array of shape (2*degree1 + 1, 2*degree2 + 1, 2*degree3 + 1)
        The coefficients: float64, or the widest floating-point dtype that ``xp`` allows.

    Raises
    ------
    ValueError
        If a degree is not an integer >= 0.

    Notes
    -----
    The complex coefficients are, with :math:`a = l_1+l_2-l_3`, :math:`b = l_1-l_2+l_3`,
    :math:`c = -l_1+l_2+l_3`,

    .. math::
        \langle l_1 m_1 l_2 m_2 | l_3 m_3 \rangle = S \sqrt{K \Big/
        \tbinom{2l_1}{l_1+m_1} \tbinom{2l_2}{l_2+m_2} \tbinom{2l_3}{l_3+m_3}} \\
        S = \sum_k (-1)^k \tbinom{a}{k} \tbinom{b}{l_1-m_1-k} \tbinom{c}{l_2+m_2-k} \qquad
        K = \frac{(2l_3+1)\,(2l_1)!\,(2l_2)!\,(2l_3)!}{(l_1+l_2+l_3+1)!\;a!\,b!\,c!}

    which is Racah's formula (https://dlmf.nist.gov/34.2.E4) in binomials. S is an exact integer. A coefficient is
    therefore accurate to a few units in the last place at any degree, and exactly zero where it should be.

    Examples
    --------
    >>> clebsch_gordan_for_degrees(1, 1, 0)[:, :, 0].round(3)
    array([[0.577, 0.   , 0.   ],
           [0.   , 0.577, 0.   ],
           [0.   , 0.   , 0.577]])
    """
    degrees = (degree1, degree2, degree3)
    for number, degree in enumerate(degrees, 1):
        check_degree(degree, f"degree{number}")
    cartesian_order = cartesian_order_or_default(cartesian_order)
    table = _coefficients(*(int(degree) for degree in degrees))
    if cartesian_order:
        table = table[np.ix_(*(cartesian_permutation(degree) for degree in degrees))]
    else:
        table = table.copy()
    return table if xp is None else xp.asarray(table)


def clebsch_gordan(
    max_degree1: int,
    max_degree2: int,
    max_degree3: int,
    cartesian_order: bool | None = None,
    xp: Any = None,
) -> Array:
    """Return the coefficients that couple all degrees, see :func:`clebsch_gordan_for_degrees`.

    Parameters
    ----------
    max_degree1, max_degree2, max_degree3 : int
        Largest degrees L1 and L2 of the factors and L3 of the product.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.
    xp : namespace, optional
        Array API namespace of the result; NumPy if not given.

    Returns
    -------
    array of shape ((L1+1)**2, (L2+1)**2, (L3+1)**2)
        The coefficients. Paths that change parity, such as (1, 1, 1), are included.

    Raises
    ------
    ValueError
        If a degree is not an integer >= 0.

    Examples
    --------
    >>> clebsch_gordan(2, 2, 1).shape
    (9, 9, 4)
    """
    max_degrees = (max_degree1, max_degree2, max_degree3)
    for number, degree in enumerate(max_degrees, 1):
        check_degree(degree, f"max_degree{number}")
    table = np.zeros([(degree + 1) ** 2 for degree in max_degrees])
    for l1 in range(max_degree1 + 1):
        for l2 in range(max_degree2 + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, max_degree3) + 1):
                table[degree_slice(l1), degree_slice(l2), degree_slice(l3)] = _coefficients(l1, l2, l3)
    if cartesian_order_or_default(cartesian_order):
        table = table[np.ix_(*map(_cartesian_permutation_to, max_degrees))]
    return table if xp is None else xp.asarray(table)


def _cartesian_permutation_to(max_degree: int) -> NDArray[np.intp]:
    """Return the permutation to Cartesian order of an axis that holds all degrees."""
    return np.concatenate([l**2 + cartesian_permutation(l) for l in range(max_degree + 1)])


@lru_cache(maxsize=4096)
def _coefficients(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Return the coefficients of real harmonics in the order m = -l..l, read-only."""
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        real = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    else:
        table = _scatter_orders(_complex_coefficients(l1, l2, l3), l1, l2, l3)
        for axis, degree in enumerate((l1, l2, l3)):
            table = _to_real_harmonics(table, axis, degree, conjugate=axis == 2)
        # A table is real or imaginary as a whole. The phase i**(l1+l2-l3), that of harmonics i**l Y, makes it
        # real.
        phase = (1, 1j, -1, -1j)[(l1 + l2 - l3) % 4]
        # Adding zero turns -0.0 into 0.0.
        real = (phase * table).real + 0.0
    real.flags.writeable = False
    return real


def _complex_coefficients(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    r"""Return :math:`\langle l_1 m_1 l_2 m_2 | l_3\, m_1{+}m_2 \rangle` as a matrix over m1 and m2."""
    orders = np.arange(-l1, l1 + 1)[:, None] + np.arange(-l2, l2 + 1)[None, :]
    inside = np.abs(orders) <= l3
    roots3 = _binomial_roots(l3)[np.where(inside, orders, 0) + l3]
    scale = math.sqrt(_prefactor(l1, l2, l3)) / _binomial_roots(l1)[:, None] / _binomial_roots(l2) / roots3
    return np.where(inside, scale * _sums(l1, l2, l3), 0.0)


def _sums(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Return the integers S over m1 and m2: a matrix product over k."""
    a, b, c = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3
    # All terms together are at most 2**(a+b+c) = 2**(l1+l2+l3).
    dtype = np.float64 if l1 + l2 + l3 <= _EXACT_FLOAT_BITS else object
    k = np.arange(a + 1)
    signed = _binomials(a, dtype) * (1 - 2 * (k % 2))
    left = _pick(_binomials(b, dtype), np.arange(2 * l1, -1, -1)[:, None] - k)
    right = _pick(_binomials(c, dtype), np.arange(2 * l2 + 1) - k[:, None])
    sums: NDArray[np.float64] = ((left * signed) @ right).astype(np.float64)
    return sums


def _prefactor(l1: int, l2: int, l3: int) -> float:
    """Return K, a quotient of integers that is rounded once."""
    f = math.factorial
    numerator = (2 * l3 + 1) * f(2 * l1) * f(2 * l2) * f(2 * l3)
    return numerator / (f(l1 + l2 + l3 + 1) * f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(-l1 + l2 + l3))


def _binomials(n: int, dtype: Any) -> NDArray[Any]:
    return np.asarray([math.comb(n, k) for k in range(n + 1)], dtype=dtype)


@lru_cache(maxsize=256)
def _binomial_roots(degree: int) -> NDArray[np.float64]:
    r"""Return :math:`\tbinom{2l}{l+m}^{1/2}` for m = -l..l."""
    return np.sqrt(_binomials(2 * degree, object).astype(np.float64))


def _pick(values: NDArray[Any], indices: NDArray[np.intp]) -> NDArray[Any]:
    """Return ``values[indices]``, zero where an index is out of range."""
    inside = (indices >= 0) & (indices < len(values))
    return values[np.where(inside, indices, 0)] * inside


def _scatter_orders(matrix: NDArray[np.float64], l1: int, l2: int, l3: int) -> NDArray[np.complex128]:
    """Scatter a matrix over (m1, m2) to an array over (m1, m2, m3), which is zero unless m3 = m1 + m2."""
    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1), dtype=np.complex128)
    i, j = np.nonzero(matrix)
    table[i, j, (i - l1) + (j - l2) + l3] = matrix[i, j]
    return table


def _to_real_harmonics(table: NDArray[np.complex128], axis: int, degree: int, conjugate: bool) -> NDArray[Any]:
    r"""Replace complex by real harmonics along an axis.

    .. math::
        Y_{m} = \tfrac{1}{\sqrt2} \big((-1)^m Z^m + Z^{-m}\big) \qquad
        Y_{-m} = \tfrac{i}{\sqrt2} \big(Z^{-m} - (-1)^m Z^m\big) \qquad m > 0

    where the complex harmonics Z have the Condon-Shortley phase.
    """
    same, other = _real_harmonics_phases(degree)
    if conjugate:
        same, other = same.conj(), other.conj()
    shape = [1, 1, 1]
    shape[axis] = -1
    reverse = (slice(None),) * axis + (slice(None, None, -1),)
    return same.reshape(shape) * table + other.reshape(shape) * table[reverse]


@lru_cache(maxsize=256)
def _real_harmonics_phases(degree: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Return, for m = -l..l, the coefficients of the complex harmonics m and -m in the real harmonic m."""
    m = np.arange(-degree, degree + 1)
    sign = 1 - 2 * (m % 2)
    root = math.sqrt(0.5)
    same = np.where(m > 0, sign * root, np.where(m < 0, 1j * root, 1.0))
    other = np.where(m > 0, root, np.where(m < 0, -1j * sign * root, 0.0))
    return same.astype(np.complex128), other.astype(np.complex128)
