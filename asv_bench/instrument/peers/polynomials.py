"""Couplings as polynomials of cuequivariance, for its JAX and PyTorch packages."""

from __future__ import annotations

from typing import Any

import cuequivariance as cue

from ..irreps import Irrep, couplings


def product(first: list[Irrep], second: list[Irrep], out: list[Irrep], width: int, filters: bool) -> Any:
    """Return the polynomial of weights, first and second factor.

    Filters have one feature, other factors as many as the first. There is a weight for every path and feature; all
    operands have their components before their features.
    """
    paths = couplings(first, second, out)
    kinds = [[cue.O3(a.degree, a.parity) for a in operand] for operand in (first, second, out)]
    polynomial = cue.SegmentedTensorProduct.from_subscripts(f"u,iu,j{'' if filters else 'u'},ku+ijk")
    for _ in paths:
        polynomial.add_segment(0, (width,))
    for operand, irreps in enumerate(kinds, 1):
        for irrep in irreps:
            polynomial.add_segment(operand, (irrep.dim,) if filters and operand == 2 else (irrep.dim, width))
    for number, (i, j, k) in enumerate(paths):
        for table in cue.clebsch_gordan(kinds[0][i], kinds[1][j], kinds[2][k]):
            polynomial.add_path(number, i, j, k, c=table)
    return cue.SegmentedPolynomial.eval_last_operand(polynomial)


def harmonics(max_degree: int) -> Any:
    """Return the polynomial of spherical harmonics of unit vectors."""
    return cue.descriptors.spherical_harmonics(cue.SO3(1), list(range(max_degree + 1))).polynomial
