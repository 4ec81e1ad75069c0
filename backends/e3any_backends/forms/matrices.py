r"""Tables of couplings by products of matrices.

A feature of degrees 0..L, weighted by degree, is written as one d x d matrix of every parity,
:math:`X_{ik} = \sum_{lm} w_l C_{iklm} x_{lm}`; the matrices of two features are multiplied, and the product is
projected back in the same way. The number of products is of the order :math:`L^4`, that of all paths of degrees of the
order :math:`L^6`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from e3any_backends.forms.couplings import SparseForm
from e3any_backends.forms.tables import Tables

__all__ = ["PRODUCTS", "MatrixCoupling", "MatrixForm", "has_all_degrees", "matrix_product_form"]

#: The parities of both factors in every product; the parity of the product is their sum.
PRODUCTS = ((0, 0), (1, 1), (0, 1), (1, 0))


def has_all_degrees(form: MatrixForm) -> bool:
    """Return whether each block has all degrees. It is no property, because ``torch.compile`` cannot trace one."""
    return form.num_parities == 2 or None in form.block_parities


@dataclass(frozen=True, eq=False)
class MatrixForm(Tables):
    """The change between components and matrices for one feature.

    Parameters
    ----------
    coefficients : array of shape (d * d, components)
        The entries of the matrix of each component.
    degrees : integer array of shape (components,)
        The degree of each component.
    num_parities : int
        Length of the parity axis of the feature. With 1, a component has the parity of its degree.
    block_parities : tuple of int or None
        The parity of each block of matrices: (0, 1) for a factor. None is for a product of irreps of SO(3), which have
        no parity.
    """

    coefficients: NDArray[np.float64]
    degrees: NDArray[np.intp]
    num_parities: int
    block_parities: tuple[int | None, ...]

    @cached_property
    def mask(self) -> NDArray[np.float64] | None:
        """Which components, of shape (blocks, components, 1, 1), belong to a block; None if all do."""
        if has_all_degrees(self):
            return None
        present = self.degrees % 2 == np.asarray(self.block_parities)[:, None]
        mask: NDArray[np.float64] = present[:, :, None, None].astype(np.float64)
        return mask

    @cached_property
    def form(self) -> SparseForm:
        """The form in the slots (components of all parities, entries of all blocks, weights of all blocks)."""
        entries, components = np.nonzero(self.coefficients)
        values = self.coefficients[entries, components]
        columns: list[list[NDArray[np.intp]]] = [[], [], [], []]
        (size, num), num_degrees = self.coefficients.shape, int(self.degrees.max()) + 1
        for block, parity in enumerate(self.block_parities):
            degrees = self.degrees[components]
            kept = np.full(degrees.shape, True) if has_all_degrees(self) else degrees % 2 == parity
            first = num if self.num_parities == 2 and parity else 0
            columns[0].append(components[kept] + first)
            columns[1].append(entries[kept] + block * size)
            columns[2].append(degrees[kept] + block * num_degrees)
            columns[3].append(np.flatnonzero(kept))
        *slots, kept_entries = (np.concatenate(c) for c in columns)
        blocks = len(self.block_parities)
        return SparseForm(
            tuple(slots), (self.num_parities * num, blocks * size, blocks * num_degrees), values[kept_entries]
        )


@dataclass(frozen=True, eq=False)
class MatrixCoupling(Tables):
    """A coupling of two features by products of matrices; two are equal only if they are the same object.

    Parameters
    ----------
    x, y, z : MatrixForm
        The changes of both factors, with blocks of both parities, and of the product, with a block for each of
        :data:`PRODUCTS`.
    """

    x: MatrixForm
    y: MatrixForm
    z: MatrixForm

    @property
    def size(self) -> int:
        """Number d of rows of the matrices."""
        return math.isqrt(self.x.coefficients.shape[0])

    @cached_property
    def product_form(self) -> SparseForm:
        """The products of the matrices of both parities, see :func:`matrix_product_form`."""
        return matrix_product_form(self.size, parities=True)


def matrix_product_form(size: int, parities: bool) -> SparseForm:
    """Return the product of matrices as a form in the slots (left, right, product).

    Parameters
    ----------
    size : int
        Number of rows.
    parities : bool
        Whether slots hold the matrices of both parities, and of all :data:`PRODUCTS`; one matrix each otherwise.
    """
    i, k, j = (index.ravel() for index in np.meshgrid(*[np.arange(size)] * 3, indexing="ij"))
    number, products = size**2, PRODUCTS if parities else PRODUCTS[:1]
    columns = (
        np.concatenate([i * size + k + p * number for p, _ in products]),
        np.concatenate([k * size + j + q * number for _, q in products]),
        np.concatenate([i * size + j + b * number for b in range(len(products))]),
    )
    factors = (2 if parities else 1) * number
    return SparseForm(columns, (factors, factors, len(products) * number), np.ones(len(columns[0])))
