"""Contractions of sparse forms, and couplings of features by matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from e3any_backends.arrays import Array, Arrays, Namespace
from e3any_backends.forms.couplings import Coupling, SparseForm
from e3any_backends.forms.tables import attribute, lookup

__all__ = ["contract_entries", "couple_by_matmul", "couple_pairs_by_matmul", "merged_axes"]


def merged_axes(xp: Namespace, x: Array, num: int, rank: int) -> Array:
    """Merge the ``num`` axes before the last one, and prepend axes of length one up to ``rank`` other axes."""
    lead = tuple(x.shape[: x.ndim - num - 1])
    size = math.prod(x.shape[x.ndim - num - 1 : -1])
    return xp.reshape(x, (*(1,) * (rank - len(lead)), *lead, size, x.shape[-1]))


def contract_entries(arrays: Arrays, operands: Sequence[Array], form: SparseForm, output: int) -> Array:
    """Contract a form, entry by entry; see :meth:`~e3any_backends.generic.Backend.contract`."""
    xp, like = arrays.xp, operands[0]
    slots = [slot for slot in range(len(form.sizes)) if slot != output]
    products = arrays.constant(form.values[:, None], like=like)
    for operand, slot in zip(operands, slots, strict=True):
        products = products * arrays.select(operand, arrays.index(form.columns[slot], like=like), axis=operand.ndim - 2)
    to_components = np.zeros((form.sizes[output], len(form.values)))
    to_components[form.columns[output], np.arange(len(form.values))] = 1
    return arrays.matmul(arrays.constant(to_components, like=like), xp.sum(products, axis=0), precision="highest")


def couple_by_matmul(arrays: Arrays, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
    """Couple two features by a matrix product for every pair of blocks; see :meth:`.Backend.couple`."""
    xp = arrays.xp
    x, y = _components_first(xp, x), _components_first(xp, y)

    def products(block_x: slice, block_y: slice) -> Array:
        return x[block_x, None, ...] * y[None, block_y, ...]

    return _contract_blocks(arrays, products, w, coupling)


def couple_pairs_by_matmul(arrays: Arrays, pairs: Array, w: Array, coupling: Coupling) -> Array:
    """Couple sums of products by a matrix product for every pair of blocks; see :meth:`.Backend.couple_pairs`."""
    pairs = arrays.xp.moveaxis(pairs, (-3, -2), (0, 1))

    def products(block_x: slice, block_y: slice) -> Array:
        return pairs[block_x, block_y, ...]

    return _contract_blocks(arrays, products, w, coupling)


def _contract_blocks(arrays: Arrays, products: Callable[[slice, slice], Array], w: Array, coupling: Coupling) -> Array:
    xp = arrays.xp
    w = _components_first(xp, w)
    rows = []
    for block in lookup(attribute, coupling.number, "blocks"):
        pairs = products(block.x, block.y)
        matrix = arrays.table_of(block, "matrix", like=pairs)
        trailing = tuple(pairs.shape[2:])
        pairs = xp.reshape(pairs, (matrix.shape[1], math.prod(trailing)))
        row = arrays.matmul(matrix, pairs, precision="highest")
        rows.append(xp.reshape(row, (matrix.shape[0], *trailing)))
    stacked = rows[0] if len(rows) == 1 else xp.concat(rows, axis=0)
    weighted = stacked * arrays.select(w, arrays.table_of(coupling, "row_paths", like=w), axis=0)
    # Axis 1, after that of rows, is summed over.
    summed = weighted[:, 0, ...] if weighted.shape[1] == 1 else xp.sum(weighted, axis=1)
    shape = tuple(summed.shape[1:])
    flat = xp.reshape(summed, (summed.shape[0], math.prod(shape)))
    z = arrays.matmul(arrays.table_of(coupling, "row_sums", like=flat), flat, precision="highest")
    return xp.moveaxis(xp.reshape(z, (coupling.num_z, *shape)), (0,), (-2,))


def _components_first(xp: Namespace, x: Array) -> Array:
    return xp.moveaxis(x, (-2,), (0,))  # PyTorch has no rule of vmap for integers here
