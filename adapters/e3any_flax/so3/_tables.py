"""Lookup tables that e3x computes with sympy and stores on disk. Here functions compute them on demand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e3any import so3
from e3any_flax.so3._common import (
    _check_degree_is_positive_or_zero,
    _monomial_powers_of_degree,
    _rotation_matrix_powers_of_degree,
)

Table = dict[str, Any]


def _generate_clebsch_gordan_lookup_table(max_degree: int, num_processes: int = 1) -> Table:
    """Return the coefficients of :func:`e3any.so3.clebsch_gordan`, components in the order m = -l..l."""
    _check_degree_is_positive_or_zero(max_degree)
    return {"max_degree": max_degree, "cg": so3.clebsch_gordan(*(max_degree,) * 3, cartesian_order=False)}


def _generate_tensor_conversion_lookup_table(max_degree: int, num_processes: int = 1) -> Table:
    """Return matrices from irreps to the independent entries of symmetric tensors, and back, for every degree."""
    _check_degree_is_positive_or_zero(max_degree)
    degrees = range(max_degree + 1)
    return {"max_degree": max_degree, "s2t": list(map(_to_tensor, degrees)), "t2s": list(map(_to_irreps, degrees))}


def _generate_spherical_harmonics_lookup_table(max_degree: int, num_processes: int = 1) -> Table:
    """Return the powers of monomials, and the matrix from them to solid harmonics."""
    _check_degree_is_positive_or_zero(max_degree)
    powers = [p for l in range(max_degree + 1) for p in _monomial_powers_of_degree(l)]
    matrix = np.zeros((len(powers), (max_degree + 1) ** 2))
    for l in range(max_degree + 1):
        # A harmonic polynomial has one coefficient for every independent entry of a symmetric tensor.
        for entry, row in zip(_entries(l), _to_irreps(l), strict=True):
            matrix[powers.index(_powers(entry, 3)), l**2 : (l + 1) ** 2] = row
    return {"max_degree": max_degree, "ls": np.asarray(powers), "cm": matrix}


def _entries(degree: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations_with_replacement(range(3), degree))


def _powers(entry: tuple[int, ...], variables: int) -> tuple[int, ...]:
    return tuple(entry.count(variable) for variable in range(variables))


def _to_tensor(degree: int) -> NDArray[np.float64]:
    """Return the matrix from components to independent entries."""
    tensors = so3.irreps_to_tensor(np.eye(2 * degree + 1), degree, cartesian_order=False)
    return np.stack([tensors[:, *(entry or (0,))] for entry in _entries(degree)], axis=1)


def _to_irreps(degree: int) -> NDArray[np.float64]:
    """Return the matrix from independent entries to components."""
    tensors = np.zeros((len(_entries(degree)), *((3,) * degree or (1,))))
    for number, entry in enumerate(_entries(degree)):
        for permutation in set(itertools.permutations(entry)):
            tensors[number, *(permutation or (0,))] = 1.0
    matrix: NDArray[np.float64] = so3.tensor_to_irreps(tensors, degree, cartesian_order=False)
    return matrix


def _generate_wigner_d_lookup_table(max_degree: int, num_processes: int = 1) -> Table:
    """Return the powers of monomials of a rotation matrix, and the matrix from them to all Wigner-D matrices."""
    _check_degree_is_positive_or_zero(max_degree)
    powers = [p for l in range(max_degree + 1) for p in _rotation_matrix_powers_of_degree(l)]
    rows = {p: row for row, p in enumerate(powers)}
    blocks = [_wigner_d_block(l, rows) for l in range(max_degree + 1)]
    return {"max_degree": max_degree, "ls": np.asarray(powers), "cm": np.concatenate(blocks, axis=1)}


def _wigner_d_block(degree: int, rows: dict[tuple[int, ...], int]) -> NDArray[np.float64]:
    """Return the columns of a degree: entries of D are the rotated tensor of one component, seen by another."""
    tensors, irreps = _to_tensor(degree), _to_irreps(degree)
    numbers = {entry: number for number, entry in enumerate(_entries(degree))}
    shares = irreps / np.asarray([len(set(itertools.permutations(entry))) for entry in numbers])[:, None]
    block = np.zeros((len(rows), 2 * degree + 1, 2 * degree + 1))
    for i, j in itertools.product(itertools.product(range(3), repeat=degree), repeat=2):
        variables = tuple(3 * row + column for row, column in zip(i, j, strict=True))
        here, there = numbers[tuple(sorted(i))], numbers[tuple(sorted(j))]
        block[rows[_powers(variables, 9)]] += np.outer(tensors[:, here], shares[there])
    return block.reshape(len(rows), -1)
