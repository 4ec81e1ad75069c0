"""Lists of neighbours, and the values of nodes gathered along their edges."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_flag, check_integer, shown

__all__ = [
    "dense_pairwise_indices",
    "dense_to_sparse_indices",
    "gather_dst",
    "gather_src",
    "index_kind",
    "sparse_pairwise_indices",
    "sparse_to_dense_indices",
]


def index_kind(
    *, adj_idx: Array | None = None, dst_idx: Array | None = None, src_idx: Array | None = None
) -> Literal["dense", "sparse"]:
    """Return which kind of index list is given.

    Parameters
    ----------
    adj_idx, dst_idx, src_idx : integer arrays, optional
        Index lists.

    Returns
    -------
    {'dense', 'sparse'}
        The kind.

    Raises
    ------
    RuntimeError
        If neither or both kinds are given.
    ValueError
        If ``dst_idx`` and ``src_idx`` differ in shape, or a list has too few axes.
    TypeError
        If an index list is not an integer array.
    """
    dense, sparse = adj_idx is not None, dst_idx is not None or src_idx is not None
    if dense == sparse:
        given = "both" if dense else "neither"
        raise RuntimeError(f"expected either adj_idx or dst_idx and src_idx, got {given}")
    backend = backend_of(adj_idx, dst_idx, src_idx)
    for name, idx, min_ndim in (("adj_idx", adj_idx, 2), ("dst_idx", dst_idx, 1), ("src_idx", src_idx, 1)):
        if idx is None:
            continue
        if not backend.is_integer(idx):
            raise TypeError(f"expected {name} to be an integer array, got dtype {idx.dtype}")
        if idx.ndim < min_ndim:
            raise ValueError(f"expected {name} to have at least {min_ndim} axes, got shape {tuple(idx.shape)}")
    if dst_idx is not None and src_idx is not None and dst_idx.shape != src_idx.shape:
        raise ValueError(
            f"expected dst_idx and src_idx of one shape, got {tuple(dst_idx.shape)} and {tuple(src_idx.shape)}"
        )
    return "dense" if dense else "sparse"


def check_sparse_list(dst_idx: Array | None, src_idx: Array | None) -> None:
    """Raise an error unless both halves of a sparse list are given and fit each other."""
    if dst_idx is None or src_idx is None:
        raise TypeError("expected both dst_idx and src_idx, got only one of them")
    index_kind(dst_idx=dst_idx, src_idx=src_idx)


def holding(idx: Array, largest: int) -> Array:
    """Return integers in a dtype that holds a number: their own, or else int32 or int64."""
    xp = backend_of(idx).xp
    if largest <= int(xp.iinfo(idx.dtype).max):
        return idx
    return xp.astype(idx, xp.int32 if largest <= int(xp.iinfo(xp.int32).max) else xp.int64)


def dense_pairwise_indices(num: int, mask_self: bool = True, *, xp: Any = np) -> Array:
    """Return the dense list of all pairs of ``num`` nodes.

    Parameters
    ----------
    num : int
        Number of nodes.
    mask_self : bool
        Whether to leave out the pairs of a node with itself.
    xp : namespace
        Array library of the result.

    Returns
    -------
    integer array of shape (num, num - 1) or (num, num)
        The neighbours of each node, ascending.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``mask_self`` is neither True nor False.

    Examples
    --------
    >>> dense_pairwise_indices(3)
    array([[1, 2],
           [0, 2],
           [0, 1]])
    """
    return xp.asarray(_pairs(num, mask_self)[1].reshape(num, -1))


def sparse_pairwise_indices(num: int, mask_self: bool = True, *, xp: Any = np) -> tuple[Array, Array]:
    """Return the sparse list of all pairs of ``num`` nodes, ``dst_idx`` ascending.

    Parameters
    ----------
    num : int
        Number of nodes.
    mask_self : bool
        Whether to leave out the pairs of a node with itself.
    xp : namespace
        Array library of the result.

    Returns
    -------
    dst_idx, src_idx : integer arrays of shape (num * (num - 1),) or (num**2,)
        The two nodes of each pair.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``mask_self`` is neither True nor False.
    """
    dst, src = _pairs(num, mask_self)
    return xp.asarray(dst), xp.asarray(src)


def _pairs(num: Any, mask_self: bool) -> tuple[Any, Any]:
    check_integer(num, "num", least=1)
    check_flag(mask_self, "mask_self")
    nodes = np.arange(num, dtype=np.int64)
    dst, src = np.repeat(nodes, num), np.tile(nodes, num)
    return (dst[dst != src], src[dst != src]) if mask_self else (dst, src)


def dense_to_sparse_indices(adj_idx: Array, pad_idx: int | None = None) -> tuple[Array, Array]:
    """Convert a dense list to a sparse one. The number of edges depends on values, so ``jax.jit`` can't compile this.

    Parameters
    ----------
    adj_idx : integer array of shape (..., N, M)
        Dense list.
    pad_idx : int, optional
        Entries >= ``pad_idx`` and negative entries are padding. The default is the largest entry plus one.

    Returns
    -------
    dst_idx, src_idx : integer arrays of shape (..., E)
        The edges, ``dst_idx`` ascending. E is the largest number of edges of any list in the batch; shorter lists are
        filled with ``pad_idx``. If the dtype of the list is too small for ``pad_idx`` or N, they are int32 or int64.

    Raises
    ------
    RuntimeError
        If no list is given.
    TypeError
        If the list is not an integer array.
    ValueError
        If it has fewer than two axes, or ``pad_idx`` is not an integer >= 0.
    """
    index_kind(adj_idx=adj_idx)
    if pad_idx is not None:
        check_integer(pad_idx, "pad_idx")
    backend = backend_of(adj_idx)
    xp, (*batch, num, width) = backend.xp, adj_idx.shape
    if 0 in adj_idx.shape:
        empty = xp.reshape(adj_idx, (-1,))[:0]
        return (xp.reshape(empty, (*batch, 0)),) * 2 if math.prod(batch) else (xp.zeros_like(adj_idx)[..., 0],) * 2
    pad = int(xp.max(adj_idx)) + 1 if pad_idx is None else int(pad_idx)
    # Comparisons need a dtype that holds the padding, too: it would wrap around to a negative number.
    edges = holding(xp.reshape(adj_idx, (math.prod(batch), num * width)), max(pad, num - 1))
    present = (edges >= 0) & (edges < pad)
    count = int(xp.max(xp.count_nonzero(present, axis=1)))
    # Edges first, padding last, both in their order.
    order = xp.argsort(xp.astype(~present, xp.int32), axis=1, stable=True)[:, :count]
    flat = _in_batch(backend, order, num * width)
    src_idx, kept = (xp.reshape(xp.take(xp.reshape(x, (-1,)), flat), order.shape) for x in (edges, present))
    dst_idx = xp.astype(order // width, src_idx.dtype)
    padding = xp.full_like(dst_idx, pad)
    dst_idx, src_idx = xp.where(kept, dst_idx, padding), xp.where(kept, src_idx, padding)
    return xp.reshape(dst_idx, (*batch, count)), xp.reshape(src_idx, (*batch, count))


def sparse_to_dense_indices(dst_idx: Array, src_idx: Array, pad_idx: int | None = None) -> Array:
    """Convert a sparse list to a dense one. Its width depends on values, so ``jax.jit`` can't compile this.

    Parameters
    ----------
    dst_idx, src_idx : integer arrays of shape (..., E)
        Sparse list.
    pad_idx : int, optional
        The number N of nodes; entries >= N and negative entries are padding. The default is the largest entry of
        ``dst_idx`` plus one.

    Returns
    -------
    integer array of shape (..., N, M)
        The sending nodes of every node, in the order of the list. M is the largest number of neighbours; other entries
        are ``pad_idx``, in int32 or int64 if the dtype of the list is too small for it.

    Raises
    ------
    TypeError
        If the lists are not integer arrays, or one of them is missing.
    ValueError
        If the lists differ in shape, or have no axis, or ``pad_idx`` is not an integer >= 0.
    """
    check_sparse_list(dst_idx, src_idx)
    if pad_idx is not None:
        check_integer(pad_idx, "pad_idx")
    backend = backend_of(dst_idx, src_idx)
    xp, (*batch, num_edges) = backend.xp, dst_idx.shape
    if 0 in dst_idx.shape:
        return xp.reshape(xp.reshape(dst_idx, (-1,))[:0], (*batch, 0, 0))
    num, many = int(xp.max(dst_idx)) + 1 if pad_idx is None else int(pad_idx), math.prod(batch)
    dst = xp.reshape(backend.as_index(dst_idx), (many, num_edges))
    # An extra node in every list of the batch collects the padding.
    dst = xp.where((dst >= 0) & (dst < num), dst, xp.full_like(dst, num))
    node = _in_batch(backend, dst, num + 1)
    order = xp.argsort(node, stable=True)
    counts = backend.segment_sum(xp.ones_like(node), node, many * (num + 1))
    starts = xp.reshape(xp.cumulative_sum(counts) - counts, (many, num + 1))[:, :num]
    counts = xp.reshape(counts, (many, num + 1))[:, :num]
    width = int(xp.max(counts)) if num else 0
    position = xp.arange(width, dtype=counts.dtype, device=backend.device(counts))[None, None, :]
    present = position < counts[..., None]
    which = xp.where(present, starts[..., None] + position, xp.zeros_like(position))
    src_idx = xp.take(xp.reshape(src_idx, (-1,)), order)
    rows = holding(xp.reshape(xp.take(src_idx, xp.reshape(which, (-1,))), which.shape), num)
    return xp.reshape(xp.where(present, rows, xp.full_like(rows, num)), (*batch, num, width))


def _in_batch(backend: Backend, x: Array, size: int) -> Array:
    """Return positions (batch, K), each below ``size``, as positions in the flattened batch, of shape (batch * K,)."""
    first = backend.xp.arange(x.shape[0], dtype=x.dtype, device=backend.device(x)) * size
    return backend.xp.reshape(x + first[:, None], (-1,))


def gather_src(inputs: Array, *, adj_idx: Array | None = None, src_idx: Array | None = None, **_: Any) -> Array:
    """Return the values of the sending node of every edge.

    Parameters
    ----------
    inputs : array of shape (..., N, ...)
        Values of nodes.
    adj_idx : integer array of shape (..., N', M), optional
        Dense list. The N' receiving nodes need not be the sending nodes.
    src_idx : integer array of shape (..., E), optional
        Sparse list.
    **_
        Ignored, so that both ends of an index list can be passed: ``gather_src(x, **index_list)``.

    Returns
    -------
    array of shape (..., N', M, ...) or (..., E, ...)
        Values of edges; zero for padding, entries outside [0, N).

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    TypeError
        If the list is not an integer array, or ``inputs`` is not an array.
    ValueError
        If shapes do not fit.
    """
    if index_kind(adj_idx=adj_idx, src_idx=src_idx) == "sparse":
        return _gather(inputs, src_idx, "src_idx", 1)
    return _gather(inputs, adj_idx, "adj_idx", 2)


def gather_dst(inputs: Array, *, adj_idx: Array | None = None, dst_idx: Array | None = None, **_: Any) -> Array:
    """Return the values of the receiving node of every edge.

    Parameters
    ----------
    inputs : array of shape (..., N, ...)
        Values of nodes.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    dst_idx : integer array of shape (..., E), optional
        Sparse list.
    **_
        Ignored, so that both ends of an index list can be passed: ``gather_dst(x, **index_list)``.

    Returns
    -------
    array of shape (..., N, 1, ...) or (..., E, ...)
        Values of edges. All edges of a row of a dense list have the same receiving node, so this axis has length 1.

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    TypeError
        If the list is not an integer array, or ``inputs`` is not an array.
    ValueError
        If shapes do not fit.
    """
    if index_kind(adj_idx=adj_idx, dst_idx=dst_idx) == "sparse":
        return _gather(inputs, dst_idx, "dst_idx", 1)
    nodes = _shape(adj_idx)[:-1]
    backend = backend_of(inputs, adj_idx)
    _check_is_array(inputs)
    if tuple(inputs.shape[: len(nodes)]) != nodes:
        raise ValueError(f"expected inputs whose shape begins with {nodes}, as adj_idx, got {tuple(inputs.shape)}")
    return backend.xp.expand_dims(inputs, axis=len(nodes))


def _check_is_array(inputs: Any) -> None:
    if not hasattr(inputs, "shape"):
        raise TypeError(f"expected inputs to be an array, got {shown(inputs)}")


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape)


def _gather(inputs: Array, idx: Any, name: str, list_ndim: int) -> Array:
    """Gather along the axis after the batch axes. The batch axes of ``idx`` come before its last ``list_ndim`` axes."""
    backend = backend_of(inputs, idx)
    _check_is_array(inputs)
    xp, batch = backend.xp, tuple(idx.shape[: idx.ndim - list_ndim])
    if inputs.ndim <= len(batch) or tuple(inputs.shape[: len(batch)]) != batch:
        expected = ", ".join([*map(str, batch), "N", "..."])
        raise ValueError(
            f"expected inputs of shape ({expected}) with {name} of shape {tuple(idx.shape)}, got {tuple(inputs.shape)}"
        )
    num, rest = inputs.shape[len(batch)], tuple(inputs.shape[len(batch) + 1 :])
    flat = xp.reshape(inputs, (math.prod(batch) * num, *rest)) if batch else inputs
    rows = backend.take(flat, xp.reshape(number_batch(backend, idx, len(batch), num), (-1,)))
    return xp.reshape(rows, (*idx.shape, *rest))


def number_batch(backend: Backend, idx: Array, batch_ndim: int, num: int) -> Array:
    """Number the nodes of all graphs of a batch consecutively, b * num + idx; padding becomes -1."""
    if batch_ndim == 0:
        return idx
    xp, batch = backend.xp, tuple(idx.shape[:batch_ndim])
    numbers = backend.as_index(idx)  # the dtype of idx can be too small for the numbers of the batch
    first = xp.arange(math.prod(batch), dtype=numbers.dtype, device=backend.device(idx)) * num
    first = xp.reshape(first, (*batch, *(1,) * (idx.ndim - batch_ndim)))
    valid = (numbers >= 0) & (numbers < num)
    numbers = numbers + first
    return xp.where(valid, numbers, xp.full_like(numbers, -1))
