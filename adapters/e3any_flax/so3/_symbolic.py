"""Polynomials and coefficients as expressions of sympy, which must be installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from e3any.so3 import clebsch_gordan_for_degrees
from e3any_flax.so3._tables import _generate_spherical_harmonics_lookup_table

sympy: Any = import_module("sympy")

_XYZ = sympy.symbols("x y z")
_ROTATION = sympy.symbols("r:3(:3)")


def _root(x: float) -> Any:
    """Return a number whose square is rational as an exact expression."""
    return (1 if x >= 0.0 else -1) * sympy.sqrt(sympy.Rational(x * x).limit_denominator(10**8))


def _spherical_harmonics(l: int, m: int) -> Any:
    """Return a harmonic of Racah's normalisation as a polynomial of x, y and z."""
    table = _generate_spherical_harmonics_lookup_table(l)
    terms = zip(table["ls"].tolist(), table["cm"][:, l**2 + l + m].tolist(), strict=True)
    return sympy.Poly({tuple(powers): _root(c) for powers, c in terms if abs(c) > 1e-12}, *_XYZ)


def _clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int, m3: int) -> Any:
    """Return a coefficient that couples real harmonics; zero if there is no such component."""
    if any(abs(m) > l for l, m in ((l1, m1), (l2, m2), (l3, m3))):
        return sympy.Integer(0)
    table = clebsch_gordan_for_degrees(l1, l2, l3, cartesian_order=False)
    return _root(float(table[l1 + m1, l2 + m2, l3 + m3]))


def _rotate_xyz_polynomial(p: Any) -> Any:
    """Return a polynomial of x, y and z at the vector that is rotated by the matrix r00, ..., r22."""
    rotated = sympy.Matrix(3, 3, _ROTATION) * sympy.Matrix(_XYZ)
    return sympy.Poly(p.as_expr().subs(dict(zip(_XYZ, rotated, strict=True)), simultaneous=True), *_XYZ)


def _polynomial_dot_product(p1: Any, p2: Any, gens: Sequence[Any] = _ROTATION) -> Any:
    """Return the inner product of two polynomials of one degree in which harmonics are orthonormal."""
    degree, others = p1.total_degree(), p2.as_dict()
    if degree != p2.total_degree():
        return sympy.Integer(0)
    terms = (
        c * others[p] / sympy.multinomial_coefficients(3, degree)[p] for p, c in p1.as_dict().items() if p in others
    )
    scale = sympy.Rational(2**degree, math.comb(2 * degree, degree))
    return sympy.Poly(scale * sum(terms, sympy.Integer(0)), *gens)
