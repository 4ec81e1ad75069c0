r"""The table of couplings that every tensor product reads.

A coupling is a list of *paths*. Path p couples a block of components of x and a block of y to a block of z:

.. math:: z_n \mathrel{+}= w_p \sum_{l,m} C^{(p)}_{lmn} \, x_l \, y_m .

For example, x and y with degrees 0 and 1 have a path from the blocks of degree 1 (components 1-3) to degree 0: the
scalar product of vectors. Two algorithms read the table: a few large matrix products
(:mod:`e3any_backends.references.contractions`), and contractions of its sparse form, unrolled for compilers or by a
kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from e3any_backends.forms.tables import Tables

__all__ = ["Block", "Coupling", "CouplingPlan", "Path", "SparseForm", "feature_shapes"]


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
class SparseForm(Tables):
    r"""The non-zero coefficients of a multilinear form :math:`\sum_e c_e \prod_s v^s_{i_s(e)}`.

    Parameters
    ----------
    columns : tuple of integer arrays
        ``columns[s][e]`` is the component :math:`i_s(e)` of slot s in entry e.
    sizes : tuple of int
        Number of components of each slot.
    values : array
        The coefficient :math:`c_e` of each entry.
    plan : CouplingPlan, optional
        The plan of which the form is the table of all parities.
    """

    columns: tuple[NDArray[np.intp], ...]
    sizes: tuple[int, ...]
    values: NDArray[np.float64]
    plan: CouplingPlan | None = field(default=None, repr=False)


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
        """The path of each row of all matrices of :attr:`blocks`."""
        return np.repeat(np.arange(self.num_paths), [path.z.stop - path.z.start for path in self.paths])

    @cached_property
    def row_sums(self) -> NDArray[np.float64]:
        """The matrix of shape (num_z, rows) that adds rows to their components."""
        # Weights act between the matrices of the blocks and this one: so all matrices are constants.
        rows = [n for path in self.paths for n in range(path.z.start, path.z.stop)]
        sums: NDArray[np.float64] = np.equal.outer(np.arange(self.num_z), np.asarray(rows, int)).astype(np.float64)
        return sums


@dataclass(frozen=True, eq=False)
class CouplingPlan(Tables):
    """How two features of given layouts couple to a third.

    Parameters
    ----------
    kernel_shape : tuple of int
        Shape (P1, L1+1, P2, L2+1, P3, L3+1) of the weights without the axis of features.
    coupling : Coupling
        Table of paths, free of parity.
    weight_index : integer array of shape (S, R, paths)
        Position, in the flattened kernel, of the weight of each path for the parities s and r.
    weight_mask : array of shape (S, R, paths, 1)
        Zero where a path is forbidden for s and r.
    is_masked : bool
        Whether any path is forbidden.
    num_classes : int
        Number of blocks of the output, one per class of paths.
    """

    kernel_shape: tuple[int, ...]
    coupling: Coupling
    weight_index: NDArray[np.intp]
    weight_mask: NDArray[np.float64]
    is_masked: bool
    num_classes: int

    @cached_property
    def merged(self) -> Coupling:
        """The table of components of all parities, with a path for every weight, forbidden ones included."""
        p1, n1, p2, n2, p3, n3 = self.kernel_shape
        coefficients = {}
        for (*_, number), weight in np.ndenumerate(self.weight_index):
            if self.weight_mask[*_, number, 0]:
                coefficients[int(weight)] = self.coupling.paths[number].coefficients
        # Forbidden paths have no entries and cost nothing. With them the table takes the weights of a layer as they
        # are: no operation selects some.
        paths = []
        for number, (i, l1, j, l2, k, l3) in enumerate(np.ndindex(*self.kernel_shape)):
            x, y, z = (_degree_of_parity(p, l, n) for p, l, n in ((i, l1, n1), (j, l2, n2), (k, l3, n3)))
            forbidden = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
            paths.append(Path(x, y, z, coefficients.get(number, forbidden)))
        return Coupling(tuple(paths), p1 * n1**2, p2 * n2**2, p3 * n3**2)

    @cached_property
    def product_form(self) -> SparseForm:
        """The form of :attr:`merged` in the slots (x, y, z, path)."""
        return replace(self.merged.product_form, plan=self)

    @cached_property
    def pair_form(self) -> SparseForm:
        """The form of :attr:`merged` in the slots (pair, z, path)."""
        return replace(self.merged.pair_form, plan=self)


def _degree_of_parity(parity: int, degree: int, num_degrees: int) -> slice:
    """Return the slice of a degree among the components of both parities."""
    first = parity * num_degrees**2
    return slice(first + degree**2, first + (degree + 1) ** 2)


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


# Up to so many pairs of components, one product with a matrix that has many zeros is faster than many small products.
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


def feature_shapes(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return shapes (1, *lead, components, F), all of one rank, for those of features or pairs and of a kernel.

    =========  ===============================================
    operand    shape
    =========  ===============================================
    features   (..., P, (L+1)**2, F)
    pairs      (..., (L1+1)**2, P2, (L2+1)**2, F)
    kernel     (P1, L1+1, P2, L2+1, P3, L3+1, F)
    =========  ===============================================
    """
    counts = (2, 2, 6) if len(shapes) == 3 else (3, 6)
    leads = [shape[: -num - 1] for shape, num in zip(shapes, counts, strict=True)]
    rank = 1 + max(len(lead) for lead in leads)
    return [
        (*(1,) * (rank - len(lead)), *lead, math.prod(shape[len(lead) : -1]), shape[-1])
        for shape, lead in zip(shapes, leads, strict=True)
    ]


def _ends(s: slice) -> tuple[int, int]:
    return s.start, s.stop
