r"""Bases of the symmetric couplings of several copies of one feature, as tables.

A polynomial :math:`B_M(x) = \sum_{i \le j \le k} c_{M,ijk}\, x_i x_j x_k` in the components of a feature that rotates
as an irrep L is a coupling of x with itself. All such polynomials are linear combinations of chains of couplings of
two, :math:`((x^{(a)} x^{(b)})_l\, x^{(c)})_L`. Chains of irreps :math:`a \le b \le c` are orthonormalised one after the
other as symmetric tensors, and linearly dependent ones are left out. The inner product is :math:`\langle c, c' \rangle
= \sum_{ijk} c_{ijk} c'_{ijk} / \mu_{ijk}`, where :math:`\mu` counts the permutations of i, j, k. The fixed order makes
the basis the same on all machines.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.conventions import parity_names
from e3any.so3 import clebsch_gordan_for_degrees

__all__ = [
    "couplings_of_irreps",
    "irreps_of",
    "monomial_indices",
    "num_couplings",
    "num_couplings_of_irreps",
    "symmetric_couplings",
]

# The rest of a linearly dependent chain is rounding; the rest of an independent one is a fair part of its norm.
_DEPENDENT = 1e-6

Chain = NDArray[np.float64]
# Degree, parity and first component.
Irrep = tuple[int, int, int]


@cache
def _monomials(size: int, order: int) -> dict[tuple[int, ...], int]:
    """Return the index of every product of components."""
    return {m: n for n, m in enumerate(itertools.combinations_with_replacement(range(size), order))}


def monomial_indices(size: int, order: int) -> NDArray[np.intp]:
    """Return, for every product of components, the index of the product of all but the last, and the last."""
    shorter = _monomials(size, order - 1)
    return np.asarray([(shorter[m[:-1]], m[-1]) for m in _monomials(size, order)], np.intp).reshape(-1, 2)


@host_table
def num_couplings(max_degree: int, num_parities: int, order: int, degree: int, parity: int | None) -> int:
    """Return how many couplings :func:`symmetric_couplings` has."""
    return len(symmetric_couplings(max_degree, num_parities, order, degree, parity, True)) // (2 * degree + 1)


@cache
def symmetric_couplings(
    max_degree: int, num_parities: int, order: int, degree: int, parity: int | None, cartesian_order: bool
) -> NDArray[np.float64]:
    """Return the coefficients of the polynomials of one order that rotate as an irrep.

    Parameters
    ----------
    max_degree, num_parities : int
        Layout of the features.
    order : int
        Order of the polynomials.
    degree, parity : int
        The irrep; parity 0 is even, None that of SO(3), for which parities are not looked at.
    cartesian_order : bool
        Order of components, see :mod:`e3any.conventions`.

    Returns
    -------
    array of shape (K * (2l+1), monomials)
        The components of K polynomials.
    """
    return couplings_of_irreps(irreps_of(max_degree, num_parities), order, degree, parity, cartesian_order)


@host_table
def num_couplings_of_irreps(irreps: tuple[Irrep, ...], order: int, degree: int, parity: int | None) -> int:
    """Return how many couplings :func:`couplings_of_irreps` has."""
    return len(couplings_of_irreps(irreps, order, degree, parity, True)) // (2 * degree + 1)


@cache
def couplings_of_irreps(
    irreps: tuple[Irrep, ...], order: int, degree: int, parity: int | None, cartesian_order: bool
) -> NDArray[np.float64]:
    """Return what :func:`symmetric_couplings` does, for any irreps (degree, parity, first component)."""
    size = max(first + 2 * l + 1 for l, _, first in irreps)
    rows = []
    for block in itertools.combinations_with_replacement(range(len(irreps)), order):
        if parity is None or sum(irreps[i][1] for i in block) % 2 == parity:
            rows += _independent(block, list(irreps), size, degree, cartesian_order)
    table = np.concatenate(rows) if rows else np.zeros((0, len(_monomials(size, order))))
    table.setflags(write=False)
    return table


@host_table
def irreps_of(max_degree: int, num_parities: int) -> tuple[Irrep, ...]:
    """List (degree, parity, first component) of the irreps of a feature, parity by parity."""
    size = (max_degree + 1) ** 2
    named = parity_names(max_degree, num_parities)
    return tuple((l, p if num_parities == 2 else l % 2, p * size + l * l) for p, l, _ in named)


def _independent(
    block: tuple[int, ...], irreps: list[tuple[int, int, int]], size: int, degree: int, cartesian_order: bool
) -> list[NDArray[np.float64]]:
    """Return orthonormal polynomials (2l+1, monomials) of a few irreps."""
    used = [irreps[i] for i in block]
    where, permutations = _monomials_of(used, size)
    kept: list[NDArray[np.float64]] = []
    for chain in _chains([l for l, _, _ in used], degree, cartesian_order):
        c = np.zeros((2 * degree + 1, len(permutations)))
        np.add.at(c.T, np.asarray(where), chain.reshape(-1, 2 * degree + 1))
        c = c / np.sqrt(permutations)
        norm = float(np.linalg.norm(c))
        for _ in range(2):  # twice is enough against rounding: https://doi.org/10.1007/s00211-005-0615-4
            for other in kept:
                c = c - np.vdot(other, c) / (2 * degree + 1) * other
        if np.linalg.norm(c) > _DEPENDENT * max(1.0, norm):
            kept.append(c * math.sqrt(2 * degree + 1) / np.linalg.norm(c))
    table = [np.zeros((2 * degree + 1, len(_monomials(size, len(block))))) for _ in kept]
    numbers = _numbers_of(used, size)
    for full, c in zip(table, kept, strict=True):
        full[:, numbers] = c * np.sqrt(permutations)
    return table


def _products(used: list[tuple[int, int, int]]) -> Iterator[tuple[int, ...]]:
    """Yield the sorted components of all products of one component of each irrep."""
    ranges = [range(first, first + 2 * l + 1) for l, _, first in used]
    return (tuple(sorted(m)) for m in itertools.product(*ranges))


def _numbers_of(used: list[tuple[int, int, int]], size: int) -> list[int]:
    """Return the indices of the distinct products of irreps among all products."""
    numbers = _monomials(size, len(used))
    return [numbers[m] for m in dict.fromkeys(_products(used))]


def _monomials_of(used: list[tuple[int, int, int]], size: int) -> tuple[list[int], NDArray[np.float64]]:
    """Return the index of every product among the distinct products, and the numbers of permutations of these."""
    position = {m: n for n, m in enumerate(dict.fromkeys(_products(used)))}
    counts = [math.factorial(len(m)) / math.prod(map(math.factorial, Counter(m).values())) for m in position]
    return [position[m] for m in _products(used)], np.asarray(counts)


def _chains(degrees: list[int], degree: int, cartesian_order: bool) -> Iterator[Chain]:
    """Yield the chains of couplings of irreps, of shape (2 l1 + 1, 2 l2 + 1, ..., 2 l + 1)."""
    *others, last = degrees
    if not others:
        if last == degree:
            yield np.eye(2 * degree + 1)
        return
    for l in range(abs(degree - last), degree + last + 1):
        cg = clebsch_gordan_for_degrees(l, last, degree, cartesian_order=cartesian_order)
        for chain in _chains(others, l, cartesian_order):
            yield np.tensordot(chain, cg, axes=1)
