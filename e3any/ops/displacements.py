"""Vectors along the edges of graphs whose nodes can have periodic images."""

from __future__ import annotations

from typing import Any

import numpy as np
from e3any_backends import Array, backend_of
from numpy.typing import NDArray

from e3any.checks import check_vectors, floating_backend
from e3any.ops.index_lists import check_sparse_list, gather_dst, gather_src, index_kind

__all__ = ["displacements"]


def displacements(
    positions: Array,
    cell: Array | None = None,
    shifts: Array | None = None,
    strain: Array | None = None,
    *,
    adj_idx: Array | None = None,
    dst_idx: Array | None = None,
    src_idx: Array | None = None,
) -> Array:
    r"""Return the vector of every edge, from the receiving node to the sending node.

    .. math:: r_e = (r_{s(e)} - r_{d(e)} + n_e C) \Bigl(1 + \frac{\epsilon + \epsilon^T}{2}\Bigr)

    with positions as rows, the vectors of the cell as rows of C, the numbers :math:`n_e` of cells that an edge crosses,
    and a strain :math:`\epsilon`. If an energy E depends on these vectors, :math:`-\partial E / \partial r` are the
    forces, and :math:`\partial E / \partial \epsilon` at :math:`\epsilon = 0`, divided by the volume, is the stress.

    Parameters
    ----------
    positions : array of shape (..., N, 3)
        Positions of nodes.
    cell : array of shape (..., 3, 3), optional
        Vectors of the periodic cell, as rows, in the unit of the positions.
    shifts : array of shape (..., E, 3) or (..., N, M, 3), optional
        Cells between the two nodes of every edge, along the vectors of the cell; by default none.
    strain : array of shape (..., 3, 3), optional
        A homogeneous deformation. Its antisymmetric part, a rotation, is ignored.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    dst_idx, src_idx : integer arrays of shape (..., E), optional
        Sparse list.

    Returns
    -------
    array of shape (..., E, 3) or (..., N, M, 3)
        The vectors, differentiable with respect to positions, cell and strain. Padding, edges from or to a node that
        does not exist, has a constant vector. It is not zero, because functions of distances such as sin(x) / x have no
        derivative there. Layers ignore padding.

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    TypeError
        If a list is not an integer array, half of a sparse list is missing, or another argument is not an array of real
        numbers of the same library.
    ValueError
        If shapes do not fit, or only one of ``cell`` and ``shifts`` is given.

    Examples
    --------
    >>> import numpy as np
    >>> dst_idx, src_idx = np.asarray([0, 0]), np.asarray([1, 0])
    >>> shifts, positions = np.asarray([[0, 0, 0], [1, 0, 0]]), np.asarray([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    >>> displacements(positions, 2 * np.eye(3), shifts, dst_idx=dst_idx, src_idx=src_idx)
    array([[1., 0., 0.],
           [2., 0., 0.]])
    """
    kind = index_kind(adj_idx=adj_idx, dst_idx=dst_idx, src_idx=src_idx)
    if kind == "sparse":
        check_sparse_list(dst_idx, src_idx)
    lists = {"adj_idx": adj_idx, "dst_idx": dst_idx, "src_idx": src_idx}
    _check(positions, cell, shifts, strain, kind, adj_idx if kind == "dense" else dst_idx)
    vectors = gather_src(positions, **lists) - gather_dst(positions, **lists)
    if shifts is not None:
        shifts = backend_of(positions, shifts).xp.astype(shifts, vectors.dtype)
        vectors = vectors + _transform(shifts, cell, kind)
    if strain is not None:
        symmetric = (strain + backend_of(strain).xp.matrix_transpose(strain)) / 2
        vectors = vectors + _transform(vectors, symmetric, kind)
    backend, num = backend_of(vectors), positions.shape[-2]
    present: Any = True
    for idx in (adj_idx, dst_idx, src_idx):
        if idx is not None:
            present = present & (idx >= 0) & (idx < num)
    return backend.xp.where(present[..., None], vectors, backend.table(_of_padding, like=vectors))


def _of_padding() -> NDArray[np.float64]:
    """Return the vector of padding: along no axis, and of a length (1.35) that is not a usual cut-off."""
    return np.asarray([0.5, 0.75, 1.0])


def _check(
    positions: Array, cell: Array | None, shifts: Array | None, strain: Array | None, kind: str, idx: Any
) -> None:
    """Raise an error unless the arguments fit a list of edges."""
    matrices = {name: x for name, x in (("cell", cell), ("strain", strain)) if x is not None}
    backend = floating_backend(positions=positions, **matrices)
    backend_of(positions, idx)
    check_vectors(positions, "positions")
    if (cell is None) != (shifts is None):
        given = "cell" if shifts is None else "shifts"
        raise ValueError(f"expected both cell and shifts or neither, got only {given}")
    if shifts is not None:
        backend_of(positions, shifts)
        if not (backend.is_integer(shifts) or backend.is_floating(shifts)):
            raise TypeError(f"expected shifts of real numbers, got dtype {shifts.dtype}")
        if tuple(shifts.shape) != (*idx.shape, 3):
            raise ValueError(f"expected shifts of shape {(*idx.shape, 3)}, got {tuple(shifts.shape)}")
    batch = tuple(idx.shape[: idx.ndim - (2 if kind == "dense" else 1)])
    if tuple(positions.shape[:-2]) != batch or positions.ndim != len(batch) + 2:
        expected = ", ".join([*map(str, batch), "N", "3"])
        raise ValueError(f"expected positions of shape ({expected}), got {tuple(positions.shape)}")
    for name, x in matrices.items():
        if tuple(x.shape) != (*batch, 3, 3):
            raise ValueError(f"expected {name} of shape {(*batch, 3, 3)}, got {tuple(x.shape)}")


def _transform(rows: Array, matrix: Array, kind: str) -> Array:
    """Multiply rows of edges by the matrix (..., 3, 3) of their graph, in full precision."""
    backend = backend_of(rows, matrix)
    matrix = matrix[..., None, :, :] if kind == "dense" else matrix
    return backend.matmul(rows, matrix, precision="highest")
