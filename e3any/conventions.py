r"""The choices that fix every number in this library.

Irreps
    Degree :math:`l` has :math:`2l+1` components; the block of degree l in an axis of length
    :math:`(L+1)^2` is ``[l**2 : (l+1)**2]``.

Order of components
    In Cartesian order (the default) the orders run :math:`m = l, -l, l-1, -(l-1), \dots, 1, -1, 0`, so that degree 1
    is :math:`x, y, z`. Otherwise they run :math:`m = -l, \dots, l`, so that degree 1 is :math:`y, z, x`.

Parity
    An axis of length 2 holds even (``+``) and odd (``-``) parity, every degree in both. An axis of length 1 holds
    proper tensors only, whose parity is :math:`(-1)^l`.

Spherical harmonics
    Real, with polar axis z and without the Condon-Shortley phase (https://dlmf.nist.gov/14.30 has complex harmonics
    with it):

    .. math::
        Y_l^m \propto \begin{cases} \sin(|m|\varphi) P_l^{|m|}(\cos\theta) & m < 0 \\
        \cos(m\varphi) P_l^{m}(\cos\theta) & m \ge 0 \end{cases}

    ``'racah'`` (also ``'schmidt'``, the default): the harmonics of one degree have norm 1 at every direction.
    ``'4pi'``: times :math:`\sqrt{2l+1}`. ``'orthonormal'``: times :math:`\sqrt{(2l+1)/4\pi}`.

Rotations
    Act on row vectors from the right: :math:`r' = r R`, :math:`Y(rR) = Y(r) D(R)`, :math:`D(RS) = D(R) D(S)`. The
    Cartesian block of degree 1 of D is R itself.

Clebsch-Gordan coefficients
    Real, for the harmonics above: :math:`\sum_{m_1 m_2} C_{m_1 m_2 m_3} C_{m_1 m_2 m_3'} = \delta_{m_3 m_3'}`.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from e3any_backends.forms.components import component_degrees as component_degrees
from numpy.typing import NDArray

from e3any.config import Normalization

#: Version of the conventions on this page; written to checkpoints.
VERSION = 1

#: Names of the two parities, in the order of the parity axis.
PARITIES = ("+", "-")


def degree_slice(degree: int) -> slice:
    """Return the slice of the components of a degree in an axis of length (L+1)^2."""
    return slice(degree**2, (degree + 1) ** 2)


@cache
def cartesian_permutation(degree: int) -> NDArray[np.intp]:
    """Return the positions, in the order m = -l..l, of the components in Cartesian order.

    ``x[cartesian_permutation(l)]`` puts the 2l+1 components x of degree l into Cartesian order.
    """
    orders = [sign * m for m in range(degree, 0, -1) for sign in (1, -1)] + [0]
    return np.asarray([m + degree for m in orders], dtype=np.intp)


def normalization_factor(normalization: Normalization, degree: int) -> float:
    """Return the factor that takes harmonics of a degree from Racah's normalisation to another one."""
    if normalization == "4pi":
        return math.sqrt(2 * degree + 1)
    if normalization == "orthonormal":
        return math.sqrt((2 * degree + 1) / (4 * math.pi))
    return 1.0


def parity_names(max_degree: int, num_parities: int) -> list[tuple[int, int, str]]:
    """List (index on the parity axis, degree, name such as ``'1-'``) of every block of a feature, by parity."""
    if num_parities == 1:
        return [(0, l, f"{l}{PARITIES[l % 2]}") for l in range(max_degree + 1)]
    return [(p, l, f"{l}{PARITIES[p]}") for p in range(2) for l in range(max_degree + 1)]
