"""Orders of components, and numbers of components and monomials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from e3any.checks import check_degree
from e3any.conventions import cartesian_permutation
from e3any_flax.e3x_errors import in_words_of_e3x
from e3any_flax.types import Array


def _check_degree_is_positive_or_zero(degree: int) -> None:
    """Raise a ValueError unless ``degree`` is an integer >= 0."""
    with in_words_of_e3x():
        check_degree(degree, "degree")


def _cartesian_permutation_for_degree(l: int) -> Array:
    """Return the permutation of the components of a degree to Cartesian order."""
    _check_degree_is_positive_or_zero(l)
    return jnp.asarray(cartesian_permutation(l))


def _cartesian_permutation(max_degree: int) -> Array:
    """Return the permutation of the components of all degrees to Cartesian order."""
    _check_degree_is_positive_or_zero(max_degree)
    return jnp.asarray(np.concatenate([l**2 + cartesian_permutation(l) for l in range(max_degree + 1)]))


def _cartesian_permutation_wigner_d_entries(max_degree: int) -> Array:
    """Return the permutation of the entries of all Wigner-D matrices, flattened, to Cartesian order."""
    _check_degree_is_positive_or_zero(max_degree)
    firsts = itertools.accumulate(map(_number_of_wigner_d_entries_of_degree, range(max_degree)), initial=0)
    return jnp.asarray(np.concatenate([first + _permuted_entries(l) for l, first in enumerate(firsts)]))


def _permuted_entries(l: int) -> NDArray[np.intp]:
    permutation, size = cartesian_permutation(l), 2 * l + 1
    return np.ravel(size * permutation[:, None] + permutation)


def _number_of_cartesian_monomials_of_degree(degree: int) -> int:
    return math.comb(degree + 2, 2)


def _number_of_spherical_harmonics_of_degree(degree: int) -> int:
    return 2 * degree + 1


def _number_of_rotation_matrix_monomials_of_degree(degree: int) -> int:
    return math.comb(degree + 8, 8)


def _number_of_wigner_d_entries_of_degree(degree: int) -> int:
    return (2 * degree + 1) ** 2


def _total_number_of_cartesian_monomials(max_degree: int) -> int:
    return math.comb(max_degree + 3, 3)


def _total_number_of_spherical_harmonics(max_degree: int) -> int:
    return (max_degree + 1) ** 2


def _total_number_of_rotation_matrix_monomials(max_degree: int) -> int:
    return math.comb(max_degree + 9, 9)


def _total_number_of_wigner_d_entries(max_degree: int) -> int:
    return sum(map(_number_of_wigner_d_entries_of_degree, range(max_degree + 1)))


def _partitions(n: int, k: int, l: int = 0) -> Iterator[tuple[int, ...]]:
    """Yield all ascending k-tuples of integers >= l whose sum is n."""
    return (p for p in itertools.combinations_with_replacement(range(l, n + 1), k) if sum(p) == n and k > 0)


def _multicombinations(n: int, k: int) -> Iterator[tuple[int, ...]]:
    """Yield all k-tuples of integers >= 0 whose sum is n, those with the same integers one after the other."""
    bars = itertools.combinations(range(n + k - 1), k - 1)
    tuples = (tuple(b - a - 1 for a, b in itertools.pairwise((-1, *bar, n + k - 1))) for bar in bars)
    return iter(sorted(tuples, key=lambda t: (sorted(t), t)))


def _monomial_powers_of_degree(degree: int) -> Iterator[tuple[int, ...]]:
    """Yield the powers of x, y and z in all monomials of a degree."""
    return _multicombinations(degree, 3)


def _rotation_matrix_powers_of_degree(degree: int) -> Iterator[tuple[int, ...]]:
    """Yield the powers of nine variables in all monomials of a degree."""
    return _multicombinations(degree, 9)


def _integer_powers(x: Array, max_degree: int) -> Array:
    """Return the powers 0 to max_degree of an array along its axis -2, which has length 1."""
    return x ** jnp.arange(max_degree + 1)[:, None]
