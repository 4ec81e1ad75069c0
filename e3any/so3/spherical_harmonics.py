"""Real spherical and solid harmonics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from e3any_backends import Array, Backend
from e3any_backends.tables import host_table

from e3any.checks import check_degree, check_flag, check_vectors, floating_backend
from e3any.config import Normalization, cartesian_order_or_default, normalization_or_default
from e3any.conventions import cartesian_permutation, normalization_factor
from e3any.ops.safe import unit_components

__all__ = ["solid_harmonics", "spherical_harmonics"]


def spherical_harmonics(
    r: Array,
    max_degree: int,
    r_is_normalized: bool = False,
    cartesian_order: bool | None = None,
    normalization: Normalization | None = None,
) -> Array:
    r"""Evaluate all real spherical harmonics up to a degree.

    .. math::
        Y_l^m(\vec r) = \mathcal N_l \, \Pi_l^{|m|}(z) \begin{cases} s_{|m|}(x, y) & m < 0 \\
        c_m(x, y) & m \ge 0 \end{cases} \qquad c_m + i s_m = (x + i y)^m

    at the unit vector of :math:`\vec r`. Phases, order and the normalisations are those of
    :mod:`e3any.conventions`.

    Parameters
    ----------
    r : array of shape (..., 3)
        Vectors. At a zero vector, degree 0 has its usual value and all others are zero; derivatives of every
        order are finite there.
    max_degree : int
        Largest degree L.
    r_is_normalized : bool
        Whether the vectors have norm 1 already. Where they have not, the result is that of
        :func:`solid_harmonics` (times :math:`\mathcal N_l`).
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.
    normalization : {'racah', 'schmidt', '4pi', 'orthonormal'}, optional
        Normalisation; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2)
        The harmonics, of the library, dtype and device of ``r``.

    Raises
    ------
    ValueError
        If the last axis of ``r`` is not of length 3, ``max_degree`` is no integer >= 0, the normalization is
        unknown, or a flag neither True nor False.
    TypeError
        If ``r`` is no floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> spherical_harmonics(np.asarray([0.0, 3.0, 4.0]), max_degree=1)
    array([1. , 0. , 0.6, 0.8])
    """
    backend = _checked_backend(r, max_degree)
    check_flag(r_is_normalized, "r_is_normalized")
    normalization = normalization_or_default(normalization)
    cartesian_order = cartesian_order_or_default(cartesian_order)
    factors = [normalization_factor(normalization, l) for l in range(max_degree + 1)]
    unit = not r_is_normalized and max_degree > 0
    return _evaluate(backend, r, factors, cartesian_order, unit)


def solid_harmonics(r: Array, max_degree: int, cartesian_order: bool | None = None) -> Array:
    r"""Evaluate all real regular solid harmonics up to a degree.

    .. math::
        R_l^m(\vec r) = \lVert\vec r\rVert^l \, Y_l^m(\vec r)

    with Racah's normalisation: homogeneous polynomials of degree l in x, y, z.

    Parameters
    ----------
    r : array of shape (..., 3)
        Vectors.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2)
        The harmonics, of the library, dtype and device of ``r``.

    Raises
    ------
    ValueError
        If the last axis of ``r`` is not of length 3, or ``max_degree`` is no integer >= 0.
    TypeError
        If ``r`` is no floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> solid_harmonics(np.asarray([1.0, 2.0, 3.0]), max_degree=1)
    array([1., 1., 2., 3.])
    """
    backend = _checked_backend(r, max_degree)
    return _evaluate(backend, r, [1.0] * (max_degree + 1), cartesian_order_or_default(cartesian_order), unit=False)


def _checked_backend(r: Array, max_degree: int) -> Backend:
    backend = floating_backend(r=r)
    check_vectors(r)
    check_degree(max_degree)
    return backend


def _evaluate(backend: Backend, r: Array, factors: list[float], cartesian_order: bool, unit: bool) -> Array:
    """Evaluate harmonics of vectors, normalised first if ``unit``; those of 16 bits in float32, as parts overflow."""
    wide = backend.widened(r)
    if wide.dtype != r.dtype:
        return backend.xp.astype(_evaluate(backend, wide, factors, cartesian_order, unit), r.dtype)

    plain = _Plain(backend, tuple(factors), cartesian_order, unit)
    if len(factors) == 1:  # a constant
        return plain(r)
    return backend.harmonics(plain, r, plain.factors, _places(len(factors), cartesian_order), unit)


@dataclass(frozen=True)
class _Plain:
    """The function of vectors that :func:`_evaluate` evaluates; equal ones compare equal."""

    backend: Backend
    factors: tuple[float, ...]
    cartesian_order: bool
    unit: bool

    def __call__(self, r: Array) -> Array:
        vector = self.backend.components(r)
        if self.unit:
            vector = list(self.backend.store(*unit_components(self.backend, vector)))
        return _harmonics(self.backend, vector, self.factors, self.cartesian_order)


def _harmonics(backend: Backend, vector: list[Array], factors: Sequence[float], cartesian_order: bool) -> Array:
    """Multiply azimuthal and polar parts; ``factors[l]`` scales degree l."""
    # Every slot is an array over the points: compilers fuse this into one loop, and constants stay Python
    # numbers, which never widen a dtype.
    xp = backend.xp
    max_degree = len(factors) - 1
    x, y, z = vector
    cosines, sines = _azimuthal(x, y, max_degree)
    rho2 = x * x + y * y if max_degree > 1 else None
    polar = [_polar(z, rho2, m, factors) for m in range(max_degree + 1)]
    slots = [xp.full_like(z, factors[0])]
    for l in range(1, max_degree + 1):
        negative = [polar[m][l - m] * sines[m] for m in range(l, 0, -1)]
        positive = [polar[m][l - m] * cosines[m] for m in range(1, l + 1)]
        degree = [*negative, polar[0][l], *positive]
        slots += [degree[i] for i in _in_cartesian_order(l)] if cartesian_order else degree
    return xp.stack(slots, axis=-1)


@host_table
def _places(num_degrees: int, cartesian_order: bool) -> tuple[int, ...]:
    """Return the position of each component, degree by degree and m = -l..l, in the result."""
    if not cartesian_order:
        return tuple(range(num_degrees**2))
    return tuple(l * l + _in_cartesian_order(l).index(i) for l in range(num_degrees) for i in range(2 * l + 1))


@host_table
def _in_cartesian_order(degree: int) -> list[int]:
    """Return the position, among orders -l..l, of each component in Cartesian order."""
    positions: list[int] = cartesian_permutation(degree).tolist()
    return positions


def _azimuthal(x: Array, y: Array, max_degree: int) -> tuple[list[Array], list[Array]]:
    r"""Return :math:`a_m \mathrm{Re}\,(x + iy)^m` and :math:`a_m \mathrm{Im}\,(x + iy)^m` by multiplication.

    With :math:`a_m = \sqrt{2 (2m-1)!! / (2m)!!}` these are the harmonics of degree and order m. Entry 0 is
    not used.
    """
    cosines, sines = [x, x], [y, y]
    for m in range(2, max_degree + 1):
        a = math.sqrt((2 * m - 1) / (2 * m))
        c, s = a * cosines[-1], a * sines[-1]
        cosines.append(c * x - s * y)
        sines.append(c * y + s * x)
    return cosines, sines


def _polar(z: Array, rho2: Array, m: int, factors: Sequence[float]) -> list[Array | float]:
    r"""Return :math:`q_{lm} = \mathcal N_l \Pi_l^m(z) / a_m` for l = m..L by recursion in l.

    .. math::
        \Pi_l = \sqrt{\tfrac{l-m}{l+m}} \, (z \Pi_{l-1} + e_{l-1}), \quad
        e_l = \sqrt{\tfrac{l-m}{l+m}} \, \tfrac{l+m}{l+1-m} \, (z e_{l-1} - \rho^2 \Pi_{l-1}), \quad
        \Pi_m = a_m, \quad e_m = 2 m z a_m

    with :math:`\rho^2 = x^2 + y^2`. This is the recursion of the associated Legendre functions
    (https://dlmf.nist.gov/14.10.E3), in Racah's normalisation, for the functions and their differences
    :math:`e_l \propto z \Pi_l - r^2 \Pi_{l-1}`. Near the poles these are small, and :math:`\rho^2` is precise where
    :math:`r^2 - z^2` is not: errors grow by an order of magnitude less up to degree 12.
    """
    q: list[Array | float] = [factors[m]]
    e: Array | float = (2 * m * factors[m]) * z if m else 0.0
    for l in range(m + 1, len(factors)):
        first, previous = math.sqrt((l - m) / (l + m)) * (factors[l] / factors[l - 1]), q[-1]
        q.append((first * (2 * m + 1) * factors[m]) * z if l == m + 1 else first * (z * previous + e))
        if l + 1 < len(factors):
            e = (first * (l + m) / (l + 1 - m)) * (z * e - rho2 * previous)
    return q
