r"""The table of couplings that every tensor product reads, and its emitter for eager libraries.

A coupling is a list of *paths*. Path p takes a block of components of x, a block of y and adds to a block of z:

.. math:: z_n \mathrel{+}= w_p \sum_{l,m} C^{(p)}_{lmn} \, x_l \, y_m .

Two emitters read the one table: few large matrix products (here, for libraries that run one operation at a time)
and an unrolled sum over the non-zero coefficients (``_jax_coupling.py``, for compilers).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from e3any_backends.tables import Tables, attribute, lookup, tables_of

if TYPE_CHECKING:
    from e3any_backends.generic import Array, Backend

__all__ = [
    "FORMS",
    "Block",
    "Coupling",
    "MergedTables",
    "Path",
    "SparseForm",
    "contract_entries",
    "couple_by_matmul",
    "couple_pairs_by_matmul",
    "feature_shapes",
    "merged_axes",
    "merged_number",
]


#: Names of attributes of tables that are forms.
FORMS = ("product_form", "pair_form", "form")


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
class Coupling(Tables):
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

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The matrices of the table, one for each pair of blocks of x and y; a small table is one matrix."""
        if self.num_x * self.num_y <= _MERGED_PAIRS:
            return (_merged(self),)
        groups = groupby(self.paths, key=lambda path: (_ends(path.x), _ends(path.y)))
        return tuple(_block(list(members)) for _, members in groups)

    @cached_property
    def row_paths(self) -> NDArray[np.intp]:
        """The path that each row of the matrices of :attr:`blocks`, taken together, belongs to."""
        return np.repeat(np.arange(self.num_paths), [path.z.stop - path.z.start for path in self.paths])

    @cached_property
    def row_sums(self) -> NDArray[np.float64]:
        """The matrix of shape (num_z, rows) that adds rows to the components that they belong to."""
        rows = [n for path in self.paths for n in range(path.z.start, path.z.stop)]
        sums: NDArray[np.float64] = np.equal.outer(np.arange(self.num_z), np.asarray(rows, int)).astype(np.float64)
        return sums


class MergedTables(Tables, ABC):
    """Tables of couplings of features for which there is also one table of all parities."""

    @property
    @abstractmethod
    def merged(self) -> Coupling:
        """The table of components of all parities, with a path for every weight of a kernel."""


def merged_number(number: int) -> int:
    """Return the number of the merged table of the tables of a number."""
    tables: MergedTables = tables_of(number)
    return tables.merged.number


@dataclass(frozen=True, eq=False)
class Block(Tables):
    """Several paths as one matrix.

    Parameters
    ----------
    x, y : slice
        The components whose products are its columns.
    matrix : array of shape (rows, len(x) * len(y))
        Coefficients, the rows of all paths below each other.
    """

    x: slice
    y: slice
    matrix: NDArray[np.float64]


# Up to this many pairs of components, one multiplication by a matrix with many zeros beats many small ones.
_MERGED_PAIRS = 100


def _block(paths: list[Path]) -> Block:
    """Merge paths that share their blocks of x and y."""
    matrices = [path.coefficients.reshape(-1, path.coefficients.shape[2]).T for path in paths]
    return Block(paths[0].x, paths[0].y, np.concatenate(matrices))


def _merged(coupling: Coupling) -> Block:
    """Merge all paths."""
    rows = []
    for path in coupling.paths:
        matrix = np.zeros((path.z.stop - path.z.start, coupling.num_x, coupling.num_y))
        matrix[:, path.x, path.y] = path.coefficients.transpose(2, 0, 1)
        rows.append(matrix.reshape(len(matrix), -1))
    everything = np.concatenate(rows) if rows else np.zeros((0, coupling.num_x * coupling.num_y))
    return Block(slice(0, coupling.num_x), slice(0, coupling.num_y), everything)


def merged_axes(xp: Any, x: Array, num: int, rank: int) -> Array:
    """Merge the ``num`` axes in front of the last one; put axes of length one in front for a rank of the others."""
    lead = tuple(x.shape[: x.ndim - num - 1])
    size = math.prod(x.shape[x.ndim - num - 1 : -1])
    return xp.reshape(x, (*(1,) * (rank - len(lead)), *lead, size, x.shape[-1]))


def feature_shapes(shapes: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the shapes of one rank, of one axis of components, for those of features and a kernel of six axes.

    The factors are two features, or one of pairs of components, (..., (L1+1)**2, P2, (L2+1)**2, F).
    """
    counts = (2, 2, 6) if len(shapes) == 3 else (3, 6)
    leads = [shape[: -num - 1] for shape, num in zip(shapes, counts, strict=True)]
    rank = 1 + max(len(lead) for lead in leads)
    return [
        (*(1,) * (rank - len(lead)), *lead, math.prod(shape[len(lead) : -1]), shape[-1])
        for shape, lead in zip(shapes, leads, strict=True)
    ]


def contract_entries(backend: Backend, operands: Sequence[Array], form: SparseForm, output: int) -> Array:
    """Contract a form, entry by entry; see :meth:`Backend.contract`."""
    xp, like = backend.xp, operands[0]
    slots = [slot for slot in range(len(form.sizes)) if slot != output]
    products = backend.constant(form.values[:, None], like=like)
    for operand, slot in zip(operands, slots, strict=True):
        products = products * backend.select(
            operand, backend.index(form.columns[slot], like=like), axis=operand.ndim - 2
        )
    to_components = np.zeros((form.sizes[output], len(form.values)))
    to_components[form.columns[output], np.arange(len(form.values))] = 1
    return backend.matmul(backend.constant(to_components, like=like), xp.sum(products, axis=0), precision="highest")


def couple_by_matmul(backend: Backend, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
    """Couple two features by one matrix product per pair of blocks; see :meth:`Backend.couple`."""
    xp = backend.xp
    x, y = _components_first(xp, x), _components_first(xp, y)

    def products(block_x: slice, block_y: slice) -> Array:
        return x[block_x, None, ...] * y[None, block_y, ...]

    return _contract_blocks(backend, products, w, coupling)


def couple_pairs_by_matmul(backend: Backend, pairs: Array, w: Array, coupling: Coupling) -> Array:
    """Couple sums of products by one matrix product per pair of blocks; see :meth:`Backend.couple_pairs`."""
    pairs = backend.xp.moveaxis(pairs, (-3, -2), (0, 1))

    def products(block_x: slice, block_y: slice) -> Array:
        return pairs[block_x, block_y, ...]

    return _contract_blocks(backend, products, w, coupling)


def _contract_blocks(
    backend: Backend, products: Callable[[slice, slice], Array], w: Array, coupling: Coupling
) -> Array:
    xp = backend.xp
    w = _components_first(xp, w)
    rows = []
    for block in lookup(attribute, coupling.number, "blocks"):
        pairs = products(block.x, block.y)
        matrix = backend.table_of(block, "matrix", like=pairs)
        trailing = tuple(pairs.shape[2:])
        pairs = xp.reshape(pairs, (matrix.shape[1], math.prod(trailing)))
        row = backend.matmul(matrix, pairs, precision="highest")
        rows.append(xp.reshape(row, (matrix.shape[0], *trailing)))
    stacked = rows[0] if len(rows) == 1 else xp.concat(rows, axis=0)
    weighted = stacked * backend.select(w, backend.table_of(coupling, "row_paths", like=w), axis=0)
    # Axis 1, behind the rows, is to be summed over.
    summed = weighted[:, 0, ...] if weighted.shape[1] == 1 else xp.sum(weighted, axis=1)
    shape = tuple(summed.shape[1:])
    flat = xp.reshape(summed, (summed.shape[0], math.prod(shape)))
    z = backend.matmul(backend.table_of(coupling, "row_sums", like=flat), flat, precision="highest")
    return xp.moveaxis(xp.reshape(z, (coupling.num_z, *shape)), (0,), (-2,))


def _components_first(xp: Any, x: Array) -> Array:
    return xp.moveaxis(x, (-2,), (0,))  # PyTorch has no vmap of the function of single axes


def _ends(s: slice) -> tuple[int, int]:
    return s.start, s.stop
