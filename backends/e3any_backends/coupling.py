"""The table of couplings that every tensor product reads, and its emitter for eager libraries.

A coupling is a list of *paths*. Path p takes a block of components of x, a block of y and adds to a block of z:

.. math:: z_n \\mathrel{+}= w_p \\sum_{l,m} C^{(p)}_{lmn} \\, x_l \\, y_m .

Two emitters read the one table: few large matrix products (here, for libraries that run one operation at a time)
and an unrolled sum over the non-zero coefficients (``_jax_coupling.py``, for compilers).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

if TYPE_CHECKING:
    from e3any_backends.generic import Array, Backend

__all__ = ["Coupling", "Path", "SparseForm", "couple_by_matmul", "couple_pairs_by_matmul"]


@dataclass(frozen=True, eq=False)
class Path:
    """One way in which a block of x and a block of y couple to a block of z.

    Parameters
    ----------
    x, y, z : slice
        Components of the three features.
    coefficients : array of shape (len(x), len(y), len(z))
        Coupling coefficients in float64.
    """

    x: slice
    y: slice
    z: slice
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SparseForm:
    """The non-zero coefficients of a multilinear form, one index column a slot.

    Parameters
    ----------
    columns : tuple of integer arrays
        ``columns[s][e]`` is the component that entry e takes from slot s.
    sizes : tuple of int
        Number of components of each slot.
    values : array
        The coefficient of each entry.
    """

    columns: tuple[NDArray[np.intp], ...]
    sizes: tuple[int, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Coupling:
    """A table of couplings; two tables are equal only if they are the same object.

    Parameters
    ----------
    paths : tuple of Path
        Paths in the order of their weights, those with the same blocks of x and y next to each other.
    num_x, num_y, num_z : int
        Number of components of the three features.
    """

    paths: tuple[Path, ...]
    num_x: int
    num_y: int
    num_z: int

    @property
    def num_paths(self) -> int:
        """Number of paths, that is of weights."""
        return len(self.paths)

    @cached_property
    def product_form(self) -> SparseForm:
        """The form in the slots (x, y, z, path)."""
        columns: list[list[NDArray[np.intp]]] = [[], [], [], []]
        values = []
        for number, path in enumerate(self.paths):
            i, j, k = np.nonzero(path.coefficients)
            values.append(path.coefficients[i, j, k])
            entry = (i + path.x.start, j + path.y.start, k + path.z.start, np.full_like(i, number))
            for column, indices in zip(columns, entry, strict=True):
                column.append(indices)
        return SparseForm(
            tuple(np.concatenate(c) if c else np.zeros(0, np.intp) for c in columns),
            (self.num_x, self.num_y, self.num_z, self.num_paths),
            np.concatenate(values) if values else np.zeros(0),
        )

    @cached_property
    def pair_form(self) -> SparseForm:
        """The form in the slots (pair, z, path), where pair (i, j) has the number ``i * num_y + j``."""
        i, j, k, path = self.product_form.columns
        sizes = (self.num_x * self.num_y, self.num_z, self.num_paths)
        return SparseForm((i * self.num_y + j, k, path), sizes, self.product_form.values)

    def blocks(self) -> Iterator[tuple[slice, slice, NDArray[np.float64], list[tuple[int, slice]]]]:
        """Yield, for each pair of blocks of x and y, the matrix to all that it couples to.

        Yields
        ------
        x, y : slice
            The two blocks.
        matrix : array of shape (rows, len(x) * len(y))
            Coefficients of all paths of the pair below each other.
        targets : list of (int, slice)
            Number of the path and its block of z, in the order of the rows.
        """
        numbered = list(enumerate(self.paths))
        for (x, y), group in groupby(numbered, key=lambda n: (_ends(n[1].x), _ends(n[1].y))):
            members = list(group)
            matrices = [p.coefficients.reshape(-1, p.coefficients.shape[2]).T for _, p in members]
            yield slice(*x), slice(*y), np.concatenate(matrices), [(n, p.z) for n, p in members]


def couple_by_matmul(backend: Backend, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
    """Couple two features by one matrix product per pair of blocks; see :meth:`Backend.couple`."""
    xp = backend.xp
    x, y = xp.moveaxis(x, -2, 0), xp.moveaxis(y, -2, 0)

    def products(block_x: slice, block_y: slice) -> Array:
        return x[block_x, None, ...] * y[None, block_y, ...]

    return _contract_blocks(backend, products, w, coupling)


def couple_pairs_by_matmul(backend: Backend, pairs: Array, w: Array, coupling: Coupling) -> Array:
    """Couple sums of products by one matrix product per pair of blocks; see :meth:`Backend.couple_pairs`."""
    pairs = backend.xp.moveaxis(pairs, (-3, -2), (0, 1))

    def products(block_x: slice, block_y: slice) -> Array:
        return pairs[block_x, block_y, ...]

    return _contract_blocks(backend, products, w, coupling)


def _contract_blocks(backend: Backend, products: Any, w: Array, coupling: Coupling) -> Array:
    xp = backend.xp
    w = xp.moveaxis(w, -2, 0)
    sums: dict[tuple[int, int], Array] = {}
    for block_x, block_y, matrix, targets in coupling.blocks():
        block = products(block_x, block_y)
        trailing = tuple(block.shape[2:])
        flat = xp.reshape(block, (matrix.shape[1], math.prod(trailing)))
        rows = xp.matmul(backend.constant(matrix, like=flat), flat)
        rows = xp.reshape(rows, (matrix.shape[0], *trailing))
        first = 0
        for path, z in targets:
            last = first + z.stop - z.start
            term = _sum_first(xp, rows[first:last, ...] * w[path : path + 1, ...])
            key = _ends(z)
            sums[key] = sums[key] + term if key in sums else term
            first = last
    return _assemble(backend, sums, w, coupling.num_z)


def _sum_first(xp: Any, term: Array) -> Array:
    """Sum over the axis behind the components."""
    return term[:, 0, ...] if term.shape[1] == 1 else xp.sum(term, axis=1)


def _assemble(backend: Backend, sums: dict[tuple[int, int], Array], w: Array, num_z: int) -> Array:
    """Put blocks of z behind each other, with zeros where no path ends."""
    xp = backend.xp
    shape = next(iter(sums.values())).shape[1:] if sums else w.shape[2:]
    parts: list[Array] = []
    position = 0
    for start, stop in [*sorted(sums), (num_z, num_z)]:
        if start > position:
            parts.append(xp.zeros((start - position, *shape), dtype=w.dtype, device=device(w)))
        if stop > start:
            parts.append(sums[start, stop])
        position = stop
    return xp.moveaxis(xp.concat(parts, axis=0), 0, -2)


def _ends(s: slice) -> tuple[int, int]:
    return s.start, s.stop
