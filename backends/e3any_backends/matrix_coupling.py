r"""Couplings by products of matrices, and their emitter for eager libraries.

A feature of degrees 0..L, weighted by degree, is written as one d x d matrix of every parity,
:math:`X_{ik} = \sum_{lm} w_l C_{iklm} x_{lm}`; the matrices of two features are multiplied, and the product is
projected back in the same way. The number of products is of the order :math:`L^4`, that of all paths of degrees of the
order :math:`L^6`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from e3any_backends.coupling import SparseForm, merged_axes
from e3any_backends.tables import Tables

if TYPE_CHECKING:
    from e3any_backends.generic import Array, Backend

__all__ = ["PRODUCTS", "MatrixCoupling", "MatrixForm", "couple_matrices_by_contraction", "couple_matrices_by_matmul"]
__all__ += ["matrix_product_form"]

#: The parities of both factors in every product; the parity of the product is their sum.
PRODUCTS = ((0, 0), (1, 1), (0, 1), (1, 0))


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
    block_parities : tuple of int
        The parity of each block of matrices: (0, 1) for a factor.
    """

    coefficients: NDArray[np.float64]
    degrees: NDArray[np.intp]
    num_parities: int
    block_parities: tuple[int, ...]

    @cached_property
    def mask(self) -> NDArray[np.float64] | None:
        """Which components, of shape (blocks, components, 1, 1), belong to a block; None if all do."""
        if self.num_parities == 2:
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
            kept = np.full(degrees.shape, True) if self.num_parities == 2 else degrees % 2 == parity
            first = parity * num if self.num_parities == 2 else 0
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


def couple_matrices_by_contraction(
    backend: Backend, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
) -> Array:
    """Couple two features by contractions of sparse forms; see :meth:`Backend.couple_matrices`."""
    xp, rank = backend.xp, x.ndim - 2
    x, y, *scales = (merged_axes(xp, a, 2, rank) for a in (x, y, *weights))
    left = backend.contract((x, scales[0]), coupling.x.number, "form", 1)
    right = backend.contract((y, scales[1]), coupling.y.number, "form", 1)
    product = backend.multiply_matrices(left, right, coupling)
    z = backend.contract((product[None, ...], scales[2]), coupling.z.number, "form", 0)
    components = z.shape[-2] // coupling.z.num_parities
    return xp.reshape(z, (*z.shape[:-2], coupling.z.num_parities, components, z.shape[-1]))


def couple_matrices_by_matmul(
    backend: Backend, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
) -> Array:
    """Couple two features by few large operations; see :meth:`Backend.couple_matrices`."""
    xp = backend.xp
    left, shape = _to_matrices(backend, x, weights[0], coupling.x)
    right, other = _to_matrices(backend, y, weights[1], coupling.y)
    d = math.isqrt(left.shape[1])
    left = xp.reshape(left, (2, d, d, *shape))
    right = xp.reshape(right, (2, d, d, *other))
    blocks = [_multiply(left[p, ...], right[q, ...], d) for p, q in PRODUCTS]
    lead = tuple(blocks[0].shape[2:])
    flat = xp.reshape(xp.stack(blocks), (len(PRODUCTS), d * d, math.prod(lead)))
    coefficients = backend.table_of(coupling.z, "coefficients", like=flat)
    rows = backend.matmul(xp.matrix_transpose(coefficients), flat, precision="highest")
    rows = xp.reshape(rows, (*rows.shape[:2], *lead)) * _component_weights(backend, weights[2], coupling.z, len(lead))
    parities = [rows[0, ...] + rows[1, ...], rows[2, ...] + rows[3, ...]]
    if coupling.z.num_parities == 1:  # what has another parity than its degree has been masked
        return xp.moveaxis(parities[0] + parities[1], (0,), (-2,))[..., None, :, :]
    return xp.moveaxis(xp.stack(parities), (0, 1), (-3, -2))


def _to_matrices(backend: Backend, x: Array, w: Array, form: MatrixForm) -> tuple[Array, tuple[int, ...]]:
    """Return matrices of shape (2, d * d, lead * F), and (*lead, F)."""
    xp = backend.xp
    x = xp.moveaxis(x, (-3, -2), (0, 1))
    lead = tuple(x.shape[2:])
    x = x * _component_weights(backend, w, form, len(lead))
    x = xp.reshape(x, (*x.shape[:2], math.prod(lead)))
    return backend.matmul(backend.table_of(form, "coefficients", like=x), x, precision="highest"), lead


def _component_weights(backend: Backend, w: Array, form: MatrixForm, rank: int) -> Array:
    """Return weights (blocks, components, 1, ..., F) from those of degrees (blocks, degrees, F)."""
    xp = backend.xp
    w = backend.select(w, backend.table_of(form, "degrees", like=w), axis=1)
    w = xp.reshape(w, (*w.shape[:2], *(1,) * (rank - 1), w.shape[-1]))
    if form.num_parities == 2:
        return w
    mask = backend.table_of(form, "mask", like=w)
    return w * xp.reshape(mask, (*mask.shape[:2], *(1,) * rank))


def _multiply(left: Array, right: Array, size: int) -> Array:
    """Multiply matrices, whose rows and columns are the first two axes."""
    total = left[:, 0, None, ...] * right[None, 0, ...]
    for k in range(1, size):
        total = total + left[:, k, None, ...] * right[None, k, ...]
    return total
