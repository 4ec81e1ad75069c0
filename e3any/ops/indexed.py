r"""Gathering from, and reductions over, neighbourhoods.

Neighbourhoods are given by a *dense* list, ``adj_idx`` of shape (..., N, M) with the neighbours of each of N nodes,
or by a *sparse* list, ``dst_idx`` and ``src_idx`` of shape (..., E) with the receiving and the sending node of each
of E edges. Leading axes are a batch. Numbers outside [0, N) are padding in either list: gathering gives zeros there,
and reductions leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from e3any_backends import Array, Backend, backend_of

__all__ = [
    "dense_pairwise_indices",
    "gather_dst",
    "gather_src",
    "index_kind",
    "indexed_max",
    "indexed_min",
    "indexed_softmax",
    "indexed_sum",
    "sparse_pairwise_indices",
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
        If ``dst_idx`` and ``src_idx`` differ in shape.
    TypeError
        If an index list is no integer array.
    """
    dense, sparse = adj_idx is not None, dst_idx is not None or src_idx is not None
    if dense == sparse:
        given = "both" if dense else "neither"
        raise RuntimeError(f"expected either adj_idx or dst_idx and src_idx, got {given}")
    for name, idx in (("adj_idx", adj_idx), ("dst_idx", dst_idx), ("src_idx", src_idx)):
        if idx is not None and not backend_of(idx).is_integer(idx):
            raise TypeError(f"expected {name} to be an integer array, got dtype {idx.dtype}")
    if dst_idx is not None and src_idx is not None and tuple(dst_idx.shape) != tuple(src_idx.shape):
        raise ValueError(
            f"expected dst_idx and src_idx of one shape, got {tuple(dst_idx.shape)} and {tuple(src_idx.shape)}"
        )
    return "dense" if dense else "sparse"


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
        If ``num`` is smaller than 1.
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
        If ``num`` is smaller than 1.
    """
    dst, src = _pairs(num, mask_self)
    return xp.asarray(dst), xp.asarray(src)


def _pairs(num: int, mask_self: bool) -> tuple[Any, Any]:
    if num < 1:
        raise ValueError(f"expected num >= 1, got {num}")
    dst, src = (i.ravel() for i in np.meshgrid(*2 * [np.arange(num, dtype=np.int32)], indexing="ij"))
    keep = dst != src if mask_self else np.ones(num * num, bool)
    return dst[keep], src[keep]


def gather_src(inputs: Array, *, adj_idx: Array | None = None, src_idx: Array | None = None, **_: Any) -> Array:
    """Return for every edge the values of the node that sends.

    Parameters
    ----------
    inputs : array of shape (..., N, *rest)
        Values of nodes.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    src_idx : integer array of shape (..., E), optional
        Sparse list.

    Returns
    -------
    array of shape (..., N, M, *rest) or (..., E, *rest)
        Values of edges; zero for padding.

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    ValueError
        If shapes do not fit.
    """
    if index_kind(adj_idx=adj_idx, src_idx=src_idx) == "sparse":
        return _gather(inputs, src_idx, batch_ndim=src_idx.ndim - 1)  # type: ignore[union-attr]
    return _gather(inputs, adj_idx, batch_ndim=adj_idx.ndim - 2)  # type: ignore[union-attr]


def gather_dst(inputs: Array, *, adj_idx: Array | None = None, dst_idx: Array | None = None, **_: Any) -> Array:
    """Return for every edge the values of the node that receives.

    Parameters
    ----------
    inputs : array of shape (..., N, *rest)
        Values of nodes.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    dst_idx : integer array of shape (..., E), optional
        Sparse list.

    Returns
    -------
    array of shape (..., N, 1, *rest) or (..., E, *rest)
        Values of edges. With a dense list those of all neighbours are equal: the axis has length 1.

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    ValueError
        If shapes do not fit.
    """
    if index_kind(adj_idx=adj_idx, dst_idx=dst_idx) == "sparse":
        return _gather(inputs, dst_idx, batch_ndim=dst_idx.ndim - 1)  # type: ignore[union-attr]
    ndim = adj_idx.ndim  # type: ignore[union-attr]
    if inputs.ndim < ndim - 1 or tuple(inputs.shape[: ndim - 1]) != tuple(adj_idx.shape[:-1]):  # type: ignore[union-attr]
        raise ValueError(
            f"expected inputs of shape (..., N, *rest) for adj_idx of shape {tuple(adj_idx.shape)}, "  # type: ignore[union-attr]
            f"got {tuple(inputs.shape)}"
        )
    return backend_of(inputs, adj_idx).xp.expand_dims(inputs, axis=ndim - 1)


def _gather(inputs: Array, idx: Array, batch_ndim: int) -> Array:
    backend = backend_of(inputs, idx)
    xp = backend.xp
    batch = tuple(idx.shape[:batch_ndim])
    if batch_ndim < 0 or inputs.ndim < batch_ndim + 1 or tuple(inputs.shape[:batch_ndim]) != batch:
        raise ValueError(
            f"expected inputs of shape {(*batch, 'N', '...')} for indices of shape {tuple(idx.shape)}, "
            f"got {tuple(inputs.shape)}"
        )
    num, rest = inputs.shape[batch_ndim], tuple(inputs.shape[batch_ndim + 1 :])
    flat = xp.reshape(inputs, (math.prod(batch) * num, *rest)) if batch else inputs
    rows = backend.take(flat, xp.reshape(_offset(backend, idx, batch_ndim, num), (-1,)))
    return xp.reshape(rows, (*idx.shape, *rest))


def _offset(backend: Backend, idx: Array, batch_ndim: int, num: int) -> Array:
    """Number the nodes of a whole batch: b * num + idx; padding stays out of range."""
    if batch_ndim == 0:
        return idx
    xp = backend.xp
    batch = tuple(idx.shape[:batch_ndim])
    first = backend.constant(np.arange(math.prod(batch)) * num, like=idx)
    first = xp.reshape(first, (*batch, *(1,) * (idx.ndim - batch_ndim)))
    valid = (idx >= 0) & (idx < num)
    return xp.where(valid, idx + first, xp.full_like(idx, -1))


def indexed_sum(
    inputs: Array,
    keepdims: bool | None = None,
    *,
    adj_idx: Array | None = None,
    where: Array | None = None,
    dst_idx: Array | None = None,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    **_: Any,
) -> Array:
    """Sum values of edges over neighbourhoods; empty ones give zero.

    Parameters
    ----------
    inputs : array of shape (..., N, M, *rest) or (..., E, *rest)
        Values of edges.
    keepdims : bool, optional
        Whether results are laid out so that they broadcast to ``inputs``: with an axis of length 1 for a dense
        list, gathered to the edges for a sparse one.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    where : bool array of shape (..., N, M), optional
        Which edges count; required with a dense list.
    dst_idx : integer array of shape (..., E), optional
        Sparse list; numbers outside [0, num_segments) are padding.
    num_segments : int, optional
        Number of nodes N; required with a sparse list.
    indices_are_sorted : bool
        A promise that ``dst_idx`` ascends.

    Returns
    -------
    array of shape (..., N, *rest)
        The sums.

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    TypeError
        If ``where`` or ``num_segments`` is missing, or ``inputs`` are no numbers.
    ValueError
        If shapes do not fit.
    """
    kind = _check_reduction(inputs, adj_idx, where, dst_idx, num_segments)
    if kind == "dense":
        backend = backend_of(inputs, adj_idx, where)
        masked = _masked(backend, inputs, where, backend.xp.zeros_like(inputs))
        axis = adj_idx.ndim - 1  # type: ignore[union-attr]
        return backend.xp.sum(masked, axis=axis, keepdims=bool(keepdims), dtype=inputs.dtype)

    def reduce(backend: Backend, flat: Array, segments: Array, num: int) -> Array:
        return backend.segment_sum(flat, segments, num, indices_are_sorted and dst_idx.ndim == 1)  # type: ignore[union-attr]

    return _reduce_segments(inputs, dst_idx, num_segments, bool(keepdims), reduce)


def indexed_max(
    inputs: Array,
    keepdims: bool | None = None,
    *,
    adj_idx: Array | None = None,
    where: Array | None = None,
    dst_idx: Array | None = None,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    **_: Any,
) -> Array:
    """Return the largest values of edges over neighbourhoods.

    Empty neighbourhoods give the lowest number of the dtype for a dense list, and minus infinity (the lowest number
    for integers) for a sparse one. Parameters, results and errors are those of :func:`indexed_sum`.
    """
    kind = _check_reduction(inputs, adj_idx, where, dst_idx, num_segments)
    if kind == "dense":
        backend = backend_of(inputs, adj_idx, where)
        lowest = backend.xp.full_like(inputs, backend.lowest(inputs))
        masked = _masked(backend, inputs, where, lowest)
        return backend.xp.max(masked, axis=adj_idx.ndim - 1, keepdims=bool(keepdims))  # type: ignore[union-attr]

    def reduce(backend: Backend, flat: Array, segments: Array, num: int) -> Array:
        return backend.segment_max(flat, segments, num)

    return _reduce_segments(inputs, dst_idx, num_segments, bool(keepdims), reduce)


def indexed_min(
    inputs: Array,
    keepdims: bool | None = None,
    *,
    adj_idx: Array | None = None,
    where: Array | None = None,
    dst_idx: Array | None = None,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    **_: Any,
) -> Array:
    """Return the smallest values of edges over neighbourhoods.

    The negative of :func:`indexed_max` of negative values, whose parameters, results and errors it shares.
    """
    return -indexed_max(
        -inputs,
        keepdims,
        adj_idx=adj_idx,
        where=where,
        dst_idx=dst_idx,
        num_segments=num_segments,
        indices_are_sorted=indices_are_sorted,
    )


def indexed_softmax(
    inputs: Array,
    multiplicative_mask: Array | None = None,
    *,
    adj_idx: Array | None = None,
    where: Array | None = None,
    dst_idx: Array | None = None,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    **_: Any,
) -> Array:
    r"""Return the softmax of values of edges over neighbourhoods.

    .. math:: \mathrm{softmax}(x)_{ij} = \frac{c_{ij} e^{x_{ij}}}{\sum_{k \in \mathcal N(i)} c_{ik} e^{x_{ik}}}

    Parameters
    ----------
    inputs : array of shape (..., N, M, *rest) or (..., E, *rest)
        Values of edges.
    multiplicative_mask : array of the shape of ``inputs``, optional
        Factors c, such as a smooth cut-off; one by default.
    adj_idx, where, dst_idx, num_segments, indices_are_sorted
        See :func:`indexed_sum`.

    Returns
    -------
    array of the shape of ``inputs``
        The softmax; zero for padding and where all factors c of a neighbourhood are zero.

    Raises
    ------
    RuntimeError, TypeError
        See :func:`indexed_sum`.
    ValueError
        If shapes do not fit, or ``inputs`` are no floating-point numbers.
    """
    backend = backend_of(inputs)
    xp = backend.xp
    if multiplicative_mask is not None and tuple(multiplicative_mask.shape) != tuple(inputs.shape):
        raise ValueError(
            f"expected multiplicative_mask of shape {tuple(inputs.shape)}, got {tuple(multiplicative_mask.shape)}"
        )
    if not backend.is_floating(inputs):
        raise ValueError(f"expected inputs of floating-point numbers, got dtype {inputs.dtype}")
    lists: dict[str, Any] = {"adj_idx": adj_idx, "where": where, "dst_idx": dst_idx, "num_segments": num_segments}
    lists["indices_are_sorted"] = indices_are_sorted
    # The largest value changes nothing but keeps the exponential from overflowing.
    largest = backend.stop_gradient(indexed_max(inputs, True, **lists))
    counts = _counting_edges(backend, inputs, where, dst_idx, num_segments)
    shifted = xp.where(counts, inputs - largest, xp.zeros_like(inputs))
    numerator = xp.where(counts, xp.exp(shifted), xp.zeros_like(inputs))
    if multiplicative_mask is not None:
        numerator = numerator * multiplicative_mask
    denominator = indexed_sum(numerator, True, **lists)
    return numerator / xp.where(denominator == 0, xp.ones_like(denominator), denominator)


def _counting_edges(
    backend: Backend, inputs: Array, where: Array | None, dst_idx: Array | None, num_segments: int | None
) -> Array:
    """Return which edges are no padding, in a shape that broadcasts to that of ``inputs``."""
    mask = where if dst_idx is None else (dst_idx >= 0) & (dst_idx < num_segments)
    return backend.xp.reshape(mask, (*mask.shape, *(1,) * (inputs.ndim - mask.ndim)))  # type: ignore[union-attr]


def _check_reduction(
    inputs: Array, adj_idx: Array | None, where: Array | None, dst_idx: Array | None, num_segments: int | None
) -> Literal["dense", "sparse"]:
    kind = index_kind(adj_idx=adj_idx, dst_idx=dst_idx)
    backend = backend_of(inputs)
    if not (backend.is_floating(inputs) or backend.is_integer(inputs)):
        raise TypeError(f"expected inputs of real numbers, got dtype {inputs.dtype}")
    name, idx = ("adj_idx", adj_idx) if kind == "dense" else ("dst_idx", dst_idx)
    if kind == "dense" and where is None:
        raise TypeError("expected where with a dense index list, got None")
    if kind == "sparse" and num_segments is None:
        raise TypeError("expected num_segments with a sparse index list, got None")
    if tuple(inputs.shape[: idx.ndim]) != tuple(idx.shape):  # type: ignore[union-attr]
        raise ValueError(
            f"expected inputs whose shape begins with that of {name}, {tuple(idx.shape)}, "  # type: ignore[union-attr]
            f"got {tuple(inputs.shape)}"
        )
    if kind == "dense" and tuple(where.shape) != tuple(adj_idx.shape):  # type: ignore[union-attr]
        raise ValueError(
            f"expected where of shape {tuple(adj_idx.shape)}, got {tuple(where.shape)}"  # type: ignore[union-attr]
        )
    return kind


def _masked(backend: Backend, inputs: Array, where: Array | None, otherwise: Array) -> Array:
    mask = backend.xp.reshape(where, (*where.shape, *(1,) * (inputs.ndim - where.ndim)))  # type: ignore[union-attr]
    return backend.xp.where(mask, inputs, otherwise)


def _reduce_segments(
    inputs: Array,
    dst_idx: Array,
    num_segments: int | None,
    keepdims: bool,
    reduce: Callable[[Backend, Array, Array, int], Array],
) -> Array:
    """Reduce over the segments of a whole batch at once."""
    backend = backend_of(inputs, dst_idx)
    xp, num = backend.xp, int(num_segments)  # type: ignore[arg-type]
    batch, rest = tuple(dst_idx.shape[:-1]), tuple(inputs.shape[dst_idx.ndim :])
    flat = xp.reshape(inputs, (math.prod(dst_idx.shape), *rest))
    segments = xp.reshape(_offset(backend, dst_idx, len(batch), num), (-1,))
    result = xp.reshape(reduce(backend, flat, segments, math.prod(batch) * num), (*batch, num, *rest))
    return gather_src(result, src_idx=dst_idx) if keepdims else result
