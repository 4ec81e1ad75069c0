r"""Coefficients of the recursions that harmonics are computed by.

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

__all__ = ["azimuthal_coefficient", "polar_coefficients"]


def azimuthal_coefficient(m: int) -> float:
    """Return what :math:`a_{m-1} (x + iy)^{m-1}` is multiplied with, beside x + iy; 1 for m = 0 and m = 1."""
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
        For l > m what :math:`z q_{l-1} + e_{l-1}` and :math:`z e_{l-1} - \rho^2 q_{l-1}` are multiplied with; for
        l = m the starts :math:`q_m` and :math:`e_m / z`.
    """
    if l == m:
        return factors[m], 2 * m * factors[m]
    first = math.sqrt((l - m) / (l + m)) * factors[l] / factors[l - 1]
    return first, first * (l + m) / (l + 1 - m)
