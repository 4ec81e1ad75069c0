r"""Coefficients and tables of the recursions and gradients of harmonics.

With :math:`c_m + i s_m = (x + iy)^m`, a solid harmonic of degree l and order m is
:math:`\mathcal N_l \Pi_l^{|m|}(z)` times :math:`c_m` or :math:`s_{|m|}`. Both factors are computed by recursion, with
:math:`a_m = \sqrt{2 (2m-1)!! / (2m)!!}` moved from the polar to the azimuthal one:

.. math::
    a_m (x + iy)^m &= \sqrt{\tfrac{2m-1}{2m}} \, (x + iy) \, a_{m-1} (x + iy)^{m-1} \\
    \Pi_l &= \sqrt{\tfrac{l-m}{l+m}} \, (z \Pi_{l-1} + e_{l-1}) \\
    e_l &= \sqrt{\tfrac{l-m}{l+m}} \, \tfrac{l+m}{l+1-m} \, (z e_{l-1} - \rho^2 \Pi_{l-1})

from :math:`\Pi_m = a_m` and :math:`e_m = 2 m z a_m`, where :math:`\rho^2 = x^2 + y^2`. This is the recursion of the
associated Legendre functions (https://dlmf.nist.gov/14.10.E3), in Racah's normalisation, for the functions and their
differences :math:`e_l \propto z \Pi_l - r^2 \Pi_{l-1}`. Near the poles these are small, and :math:`\rho^2` is precise
where :math:`r^2 - z^2` is not: up to degree 12, errors grow by an order of magnitude less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["HarmonicsTables", "azimuthal_coefficient", "harmonics_tables", "polar_coefficients"]


def azimuthal_coefficient(m: int) -> float:
    """Return the factor of the azimuthal recursion from m - 1 to m, beside x + iy; 1 for m = 0 and m = 1."""
    return math.sqrt((2 * m - 1) / (2 * m)) if m > 1 else 1.0


def polar_coefficients(l: int, m: int, factors: Sequence[float]) -> tuple[float, float]:
    r"""Return the coefficients of one step of the polar recursion of order m >= 0.

    Parameters
    ----------
    l, m : int
        Degree and order.
    factors : sequence of float
        Factor :math:`\mathcal N_l` of every degree.

    Returns
    -------
    q, e : float
        For l > m the factors of :math:`z q_{l-1} + e_{l-1}` and :math:`z e_{l-1} - \rho^2 q_{l-1}`; for l = m the
        starts :math:`q_m` and :math:`e_m / z`.
    """
    if l == m:
        return factors[m], 2 * m * factors[m]
    first = math.sqrt((l - m) / (l + m)) * factors[l] / factors[l - 1]
    return first, first * (l + m) / (l + 1 - m)


class HarmonicsTables(NamedTuple):
    r"""Coefficients of the recursions and of the gradients, as arrays.

    ================  ===================  =========================================================================
    attribute         shape                content
    ================  ===================  =========================================================================
    ``positions``     ((L+1)**2,)          position in the result of each component, degree by degree and m = -l..l
    ``azimuthal``     (L+1,)               :func:`azimuthal_coefficient` of every m
    ``polar``         (L+1, L+1, 2)        :func:`polar_coefficients` of order m and degree l at [m, l]
    ``lower``         ((L+1)**2, 5)        the gradient of the harmonic at a position is a combination of harmonics of
                                           the next lower degree: their positions, two for x, two for y, one for z
    ``coefficients``  ((L+1)**2, 5)        their coefficients
    ``limits``        (5,), or (0,)        lengths at which vectors are rescaled before they are normalised, see below;
                                           empty for solid harmonics
    ================  ===================  =========================================================================

    The square of a very small or large number is not in range. With s for the largest of \|x\|, \|y\| and \|z\|:

    ======  ========================================================
    limit   meaning
    ======  ========================================================
    0       vectors with s below count as zero
    1, 2    vectors with s below limit 1 are multiplied by limit 2
    3, 4    vectors with s above limit 3 are multiplied by limit 4
    ======  ========================================================
    """

    positions: NDArray[np.int32]
    azimuthal: NDArray[np.floating]
    polar: NDArray[np.floating]
    lower: NDArray[np.int32]
    coefficients: NDArray[np.floating]
    limits: NDArray[np.floating]


@lru_cache(maxsize=256)
def harmonics_tables(
    factors: tuple[float, ...], order: tuple[int, ...], unit: bool, dtype: DTypeLike
) -> HarmonicsTables:
    r"""Return the tables of harmonics.

    Parameters
    ----------
    factors : tuple of float
        Factor :math:`\mathcal N_l` of every degree.
    order : tuple of int
        The position of each component in the result.
    unit : bool
        Whether vectors are normalised first.
    dtype : dtype
        Dtype of the coefficients.
    """
    degrees = range(len(factors))
    azimuthal = np.asarray([azimuthal_coefficient(m) for m in degrees])
    polar = np.zeros((len(factors), len(factors), 2))
    lower, coefficients = np.zeros((len(order), 5), np.int32), np.zeros((len(order), 5))
    for l in degrees:
        for m in range(l + 1):
            polar[m, l] = polar_coefficients(l, m, factors)
        for m in range(-l, l + 1):
            for column, (neighbour, gradient) in enumerate(_gradient(l, m)):
                if l > 0 and abs(neighbour) < l:
                    lower[order[l * l + l + m], column] = order[(l - 1) ** 2 + l - 1 + neighbour]
                    # A quotient of integers of any size is rounded once.
                    norm = math.sqrt(_squared_norm(l, m) / _squared_norm(l - 1, neighbour))
                    coefficients[order[l * l + l + m], column] = gradient * norm * factors[l] / factors[l - 1]
    return HarmonicsTables(
        np.asarray(order, np.int32),
        azimuthal.astype(dtype),
        polar.astype(dtype),
        lower,
        coefficients.astype(dtype),
        np.asarray(_limits(dtype) if unit else [], dtype),
    )


def _limits(dtype: DTypeLike) -> list[float]:
    """Return the limits, see :class:`HarmonicsTables`."""
    info = np.finfo(dtype)
    far = 2.0 ** (info.maxexp // 2)  # squares of numbers between 1 / far and far are in range
    # XLA flushes subnormal numbers to zero: squares that change the norm of a small vector have to be normal.
    digits = 2.0 ** (info.nmant // 2 + 4)
    least = np.nextafter(info.smallest_normal, info.dtype.type(1))
    # The largest number, about far**2, becomes far / 4: the sum of three such squares is in range. So is that of three
    # squares below far / 16, which are not rescaled.
    return [float(least), digits / far, 2 * digits * far, far / 16, 1 / (4 * far)]


def _squared_norm(l: int, m: int) -> int:
    r"""Return the square of a harmonic over a part of :math:`\rho_l^{|m|}`, see :func:`_gradient`."""
    return (2 if m else 1) * math.factorial(l - abs(m)) * math.factorial(l + abs(m))


def _gradient(l: int, m: int) -> list[tuple[int, float]]:
    r"""Return pairs of order and coefficient of the gradient: two for x, two for y, one for z.

    With :math:`\rho_l^m = r^l P_l^m e^{im\phi} / (l+m)!` it is :math:`\partial_z \rho_l^m = \rho_{l-1}^m`,
    :math:`\partial_x \rho_l^m = (\rho_{l-1}^{m-1} - \rho_{l-1}^{m+1}) / 2` and
    :math:`\partial_y \rho_l^m = i (\rho_{l-1}^{m-1} + \rho_{l-1}^{m+1}) / 2`. Orders m < 0 stand for imaginary parts.
    These are the ladder relations of solid harmonics; https://arxiv.org/abs/2302.08381 derives them for real ones.
    """
    if m == 0:
        return [(1, -1.0), (0, 0.0), (-1, -1.0), (0, 0.0), (0, 1.0)]
    if m > 0:
        below = -0.5 if m > 1 else 0.0  # the imaginary part of order 0 vanishes
        return [(m - 1, 0.5), (m + 1, -0.5), (1 - m, below), (-m - 1, -0.5), (m, 1.0)]
    below = 0.5 if m < -1 else 0.0
    return [(m + 1, below), (m - 1, -0.5), (-m - 1, 0.5), (1 - m, 0.5), (m, 1.0)]
