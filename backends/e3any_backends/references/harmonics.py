"""Spherical and solid harmonics by recursion; see :mod:`e3any_backends.forms.harmonics` for the formulas."""

from __future__ import annotations

from collections.abc import Sequence

from e3any_backends.arrays import Array, Arrays
from e3any_backends.forms.harmonics import azimuthal_coefficient, polar_coefficients
from e3any_backends.references.norms import unit_components

__all__ = ["harmonics_by_recursion"]


def harmonics_by_recursion(
    arrays: Arrays, r: Array, factors: Sequence[float], order: Sequence[int], unit: bool
) -> Array:
    """Evaluate harmonics; see :meth:`~e3any_backends.generic.Backend.harmonics`."""
    vector = arrays.components(r)
    if unit:
        vector = list(arrays.store(*unit_components(arrays, vector)))
    return arrays.xp.stack(_ordered(_components(arrays, vector, factors), order), axis=-1)


def _ordered(components: list[Array], order: Sequence[int]) -> list[Array]:
    """Return each component at its position."""
    found = list(components)
    for component, position in zip(components, order, strict=True):
        found[position] = component
    return found


def _components(arrays: Arrays, vector: list[Array], factors: Sequence[float]) -> list[Array]:
    """Return the components, degree by degree and m = -l..l; ``factors[l]`` scales degree l."""
    # Every component is an array over the points: compilers fuse this into one loop, and constants stay Python
    # numbers, which never widen a dtype.
    max_degree = len(factors) - 1
    x, y, z = vector
    cosines, sines = _azimuthal(x, y, max_degree)
    rho2 = x * x + y * y if max_degree > 1 else None
    polar = [_polar(z, rho2, m, factors) for m in range(max_degree + 1)]
    found = [arrays.xp.full_like(z, factors[0])]
    for l in range(1, max_degree + 1):
        found += [polar[m][l - m] * sines[m] for m in range(l, 0, -1)]
        found.append(polar[0][l])
        found += [polar[m][l - m] * cosines[m] for m in range(1, l + 1)]
    return found


def _azimuthal(x: Array, y: Array, max_degree: int) -> tuple[list[Array], list[Array]]:
    r"""Return :math:`a_m \mathrm{Re}\,(x + iy)^m` and :math:`a_m \mathrm{Im}\,(x + iy)^m`; entry 0 is not used."""
    cosines, sines = [x, x], [y, y]
    for m in range(2, max_degree + 1):
        a = azimuthal_coefficient(m)
        c, s = a * cosines[-1], a * sines[-1]
        cosines.append(c * x - s * y)
        sines.append(c * y + s * x)
    return cosines, sines


def _polar(z: Array, rho2: Array, m: int, factors: Sequence[float]) -> list[Array | float]:
    r"""Return :math:`q_{lm} = \mathcal N_l \Pi_l^m(z) / a_m` for l = m..L."""
    start, start_e = polar_coefficients(m, m, factors)
    q: list[Array | float] = [start]
    e: Array | float = start_e * z if m else 0.0
    for l in range(m + 1, len(factors)):
        by_q, by_e = polar_coefficients(l, m, factors)
        previous = q[-1]
        q.append((by_q * (2 * m + 1) * start) * z if l == m + 1 else by_q * (z * previous + e))
        if l + 1 < len(factors):
            e = by_e * (z * e - rho2 * previous)
    return q
