"""Repulsion of atoms at short distances."""

from __future__ import annotations

from typing import Any

from e3any_backends import Array

from e3any.checks import check_broadcast, check_number, floating_backend, shown
from e3any.nn.cutoffs import check_positive

__all__ = ["zbl_repulsion"]

# Coefficients and exponents of the screening function, and its length for atoms of charge 1 in angstrom.
_SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
_LENGTH = 0.46850
_POWER = 0.23
_SHORTEST = 1e-3


def zbl_repulsion(
    distances: Array, numbers1: Array, numbers2: Array, *, coulomb: float = 14.399645, length: float = 1.0
) -> Array:
    r"""Return the repulsion of pairs of atoms of Ziegler, Biersack and Littmark.

    .. math::
        V(r) = \frac{e^2}{4\pi\epsilon_0} \frac{Z_1 Z_2}{r}\, \phi\Bigl(\frac ra\Bigr) \qquad
        a = \frac{0.46850\ \text{Å}}{Z_1^{0.23} + Z_2^{0.23}}

    .. math::
        \phi(x) = 0.18175\, e^{-3.19980 x} + 0.50986\, e^{-0.94229 x} + 0.28022\, e^{-0.40290 x}
        + 0.02817\, e^{-0.20162 x}

    (`LAMMPS, pair_style zbl <https://docs.lammps.org/pair_zbl.html>`_). Multiply it by a cut-off, for example
    :func:`e3any.nn.polynomial_cutoff`, and take half of it where a list has every pair twice.

    Parameters
    ----------
    distances : array of shape (...)
        Distances r. Those below 1e-3 Å count as 1e-3 Å, so that values and derivatives are finite for padding.
    numbers1, numbers2 : integer arrays of shape (...)
        Atomic numbers of both atoms.
    coulomb : float
        The constant :math:`e^2 / 4\pi\epsilon_0`, in the units of energies and distances; by default in eV Å.
    length : float
        One Å in the unit of distances, for example 1.8897261 for distances in bohr.

    Returns
    -------
    array of shape (...)
        Energies of pairs, by default in eV.

    Raises
    ------
    ValueError
        If shapes do not broadcast, or a number is not positive.
    TypeError
        If ``distances`` are not a floating-point array, numbers are not integer arrays of its library, or a constant is
        not a number.

    Examples
    --------
    >>> import numpy as np
    >>> zbl_repulsion(np.asarray([1.0]), np.asarray([6]), np.asarray([8])).round(3)
    array([18.937])
    """
    backend = floating_backend(numbers1, numbers2, distances=distances)
    for name, value in (("coulomb", coulomb), ("length", length)):
        check_number(value, name)
        check_positive(value, name)
    for name, numbers in (("numbers1", numbers1), ("numbers2", numbers2)):
        _check_numbers(backend, numbers, name)
    shapes = [tuple(x.shape) for x in (distances, numbers1, numbers2)]
    check_broadcast("shapes of distances and numbers", *shapes)
    backend.check_devices(distances, numbers1, numbers2)
    xp, rank = backend.xp, max(map(len, shapes))
    z1, z2, r = (
        _of_rank(xp, x, rank)
        for x in (xp.astype(numbers1, distances.dtype), xp.astype(numbers2, distances.dtype), distances)
    )
    r = xp.where(r < _SHORTEST * length, xp.full_like(r, _SHORTEST * length), r)
    x = r * (z1**_POWER + z2**_POWER) / (_LENGTH * length)
    screening = [factor * xp.exp(-exponent * x) for factor, exponent in _SCREENING]
    return coulomb * z1 * z2 / r * (screening[0] + screening[1] + screening[2] + screening[3])


def _check_numbers(backend: Any, numbers: Any, name: str) -> None:
    if not hasattr(numbers, "shape") or not backend.is_integer(numbers):
        raise TypeError(f"expected {name} to be an integer array, got {shown(numbers)}")


def _of_rank(xp: Any, x: Array, rank: int) -> Array:
    """Add leading axes of length 1."""
    return xp.reshape(x, ((1,) * (rank - x.ndim) + tuple(x.shape)))
