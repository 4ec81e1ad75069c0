r"""Reductions over neighbourhoods.

Neighbourhoods are given by a *dense* list, ``adj_idx`` of shape (..., N, M) with the neighbours of each of N
nodes, or by a *sparse* list, ``dst_idx`` of shape (..., E) with the receiving node of each of E edges.
Leading axes are a batch. Entries of a sparse list outside [0, num_segments) are padding and ignored. With a dense
list, the mask ``where`` alone says which edges count, because the list does not tell how many nodes there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_flag, check_size, floating_backend

# Exported from this module as well.
from e3any.ops.index_lists import gather_src as gather_src
from e3any.ops.index_lists import index_kind as index_kind
from e3any.ops.index_lists import number_batch

__all__ = ["indexed_max", "indexed_min", "indexed_softmax", "indexed_sum"]


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
    r"""Sum values of edges over neighbourhoods, :math:`y_i = \sum_{j \in \mathcal N(i)} x_{ij}`.

    Parameters
    ----------
    inputs : array of shape (..., N, M, ...) or (..., E, ...)
        Values of edges.
    keepdims : bool, optional
        Whether results broadcast to ``inputs``: with a dense list they keep an axis of length 1, with a sparse
        list they are gathered to the edges.
    adj_idx : integer array of shape (..., N, M), optional
        Dense list.
    where : bool array of shape (..., N, M), optional
        Which edges count; required with a dense list.
    dst_idx : integer array of shape (..., E), optional
        Sparse list; entries outside [0, num_segments) are padding.
    num_segments : int, optional
        Number of nodes N; required with a sparse list.
    indices_are_sorted : bool
        Promise that ``dst_idx`` is in ascending order.
    **_
        Ignored, so that both ends of an index list can be passed: ``indexed_sum(x, **index_list)``.

    Returns
    -------
    array of shape (..., N, ...)
        The sums; zero for empty neighbourhoods. With ``keepdims`` of shape (..., N, 1, ...) or
        (..., E, ...).

    Raises
    ------
    RuntimeError
        If neither or both kinds of list are given.
    TypeError
        If ``where`` or ``num_segments`` is missing, a list is not an integer array, ``where`` is not a bool array, or
        ``inputs`` are not real numbers.
    ValueError
        If shapes do not fit, ``num_segments`` is not an integer >= 0, a flag is neither True nor False, or tensors are
        on different devices.
    """
    idx = _checked_list(inputs, adj_idx, where, dst_idx, num_segments, keepdims, indices_are_sorted)
    if adj_idx is not None:
        xp = backend_of(inputs, idx, where).xp
        masked = xp.where(_rows_like(where, inputs), inputs, xp.zeros_like(inputs))
        return xp.sum(masked, axis=idx.ndim - 1, keepdims=bool(keepdims), dtype=inputs.dtype)

    def reduce(backend: Backend, flat: Array, segments: Array, num: int) -> Array:
        # Segments of a batch are not sorted: padding is -1.
        return backend.segment_sum(flat, segments, num, indices_are_sorted and idx.ndim == 1)

    return _reduce_segments(inputs, idx, num_segments, keepdims, reduce)


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
    r"""Return the largest values of edges, :math:`y_i = \max_{j \in \mathcal N(i)} x_{ij}`.

    An empty neighbourhood gives the lowest finite number of the dtype for a dense list, and minus infinity (for
    integers, the lowest integer) for a sparse one. Parameters, results and errors are those of :func:`indexed_sum`.
    """
    idx = _checked_list(inputs, adj_idx, where, dst_idx, num_segments, keepdims, indices_are_sorted)
    if adj_idx is None:
        return _reduce_segments(inputs, idx, num_segments, keepdims, _segment_max)
    backend = backend_of(inputs, idx, where)
    xp, axis = backend.xp, idx.ndim - 1
    lowest = backend.constant(backend.lowest(inputs), like=inputs)
    if inputs.shape[axis] == 0:  # libraries raise for the maximum of an empty axis
        shape = (*inputs.shape[:axis], *(1,) * bool(keepdims), *inputs.shape[axis + 1 :])
        return xp.broadcast_to(lowest, shape)
    masked = xp.where(_rows_like(where, inputs), inputs, lowest)
    return xp.max(masked, axis=axis, keepdims=bool(keepdims))


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
    r"""Return the smallest values of edges, :math:`y_i = \min_{j \in \mathcal N(i)} x_{ij}`.

    An empty neighbourhood gives the highest finite number of the dtype for a dense list, and infinity (for
    integers, the highest integer) for a sparse one. Parameters, results and errors are those of :func:`indexed_sum`.
    """
    _checked_list(inputs, adj_idx, where, dst_idx, num_segments, keepdims, indices_are_sorted)
    backend = backend_of(inputs)
    # Unsigned integers and the lowest integer have no negative; the bitwise complement reverses the order of all.
    reverse = backend.xp.bitwise_invert if backend.is_integer(inputs) else backend.xp.negative
    largest = indexed_max(
        reverse(inputs),
        keepdims,
        adj_idx=adj_idx,
        where=where,
        dst_idx=dst_idx,
        num_segments=num_segments,
        indices_are_sorted=indices_are_sorted,
    )
    return reverse(largest)


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

    .. math::
        \mathrm{softmax}(x)_{ij} = \frac{c_{ij} e^{x_{ij}}}{\sum_{k \in \mathcal N(i)} c_{ik} e^{x_{ik}}}

    Parameters
    ----------
    inputs : array of shape (..., N, M, ...) or (..., E, ...)
        Values of edges.
    multiplicative_mask : array of the shape of ``inputs``, optional
        Factors c, for example a smooth cut-off; one by default.
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
        If shapes do not fit, ``inputs`` are not floating-point numbers, or a flag is neither True nor False.
    """
    backend = backend_of(inputs)
    xp = backend.xp
    if not backend.is_floating(inputs):
        raise ValueError(f"expected inputs of floating-point numbers, got dtype {inputs.dtype}")
    if multiplicative_mask is not None:
        floating_backend(inputs=inputs, multiplicative_mask=multiplicative_mask)
        if tuple(multiplicative_mask.shape) != tuple(inputs.shape):
            raise ValueError(
                f"expected multiplicative_mask of shape {tuple(inputs.shape)}, got {tuple(multiplicative_mask.shape)}"
            )
    lists: dict[str, Any] = {"adj_idx": adj_idx, "where": where, "dst_idx": dst_idx}
    lists |= {"num_segments": num_segments, "indices_are_sorted": indices_are_sorted}
    # Subtracting the maximum does not change the softmax, and keeps the exponential from overflowing.
    largest = backend.stop_gradient(indexed_max(inputs, True, **lists))
    if dst_idx is not None:
        segments = backend.as_index(dst_idx)
        where = (segments >= 0) & (segments < num_segments)
    counts = _rows_like(where, inputs)
    shifted = xp.where(counts, inputs - largest, xp.zeros_like(inputs))
    numerator = xp.where(counts, xp.exp(shifted), xp.zeros_like(inputs))
    if multiplicative_mask is not None:
        numerator = numerator * multiplicative_mask
    denominator = indexed_sum(numerator, True, **lists)
    return numerator / xp.where(denominator == 0, xp.ones_like(denominator), denominator)


def _checked_list(
    inputs: Array,
    adj_idx: Array | None,
    where: Array | None,
    dst_idx: Array | None,
    num_segments: int | None,
    keepdims: bool | None,
    indices_are_sorted: bool,
) -> Any:
    """Check the arguments of a reduction and return the list that is given."""
    kind = index_kind(adj_idx=adj_idx, dst_idx=dst_idx)
    check_flag(keepdims, "keepdims", optional=True)
    check_flag(indices_are_sorted, "indices_are_sorted")
    backend = backend_of(inputs)
    if not (backend.is_floating(inputs) or backend.is_integer(inputs)):
        raise TypeError(f"expected inputs of real numbers, got dtype {inputs.dtype}")
    backend_of(inputs, adj_idx, where, dst_idx)
    if kind == "sparse" and num_segments is None:
        raise TypeError("expected num_segments with a sparse index list, got None")
    if kind == "sparse":
        check_size(num_segments, "num_segments")
    name, idx = ("adj_idx", adj_idx) if kind == "dense" else ("dst_idx", dst_idx)
    shape = tuple(idx.shape)  # type: ignore[union-attr]
    if kind == "dense":
        check_mask(where, shape)
    if tuple(inputs.shape[: len(shape)]) != shape:
        raise ValueError(f"expected inputs whose shape begins with {shape}, as {name}, got {tuple(inputs.shape)}")
    return idx


def check_mask(where: Array | None, shape: tuple[int, ...]) -> None:
    """Raise an error unless a mask has the shape of a dense list."""
    if where is None:
        raise TypeError("expected where with a dense index list, got None")
    xp = backend_of(where).xp
    if where.dtype != xp.bool:
        raise TypeError(f"expected where to be a bool array, got dtype {where.dtype}")
    if tuple(where.shape) != shape:
        raise ValueError(f"expected where of shape {shape}, as adj_idx, got {tuple(where.shape)}")


def _rows_like(mask: Any, inputs: Array) -> Array:
    """Append axes of length 1 to a mask of edges, so that it broadcasts to values of edges."""
    return backend_of(mask).xp.reshape(mask, (*mask.shape, *(1,) * (inputs.ndim - mask.ndim)))


def _segment_max(backend: Backend, flat: Array, segments: Array, num: int) -> Array:
    return backend.segment_max(flat, segments, num)


def _reduce_segments(
    inputs: Array,
    dst_idx: Array,
    num_segments: Any,
    keepdims: bool | None,
    reduce: Callable[[Backend, Array, Array, int], Array],
) -> Array:
    """Reduce over the segments of a whole batch at once."""
    backend = backend_of(inputs, dst_idx)
    xp = backend.xp
    num = int(num_segments) if backend.owns(num_segments) else num_segments  # which can be symbolic
    batch, rest = tuple(dst_idx.shape[:-1]), tuple(inputs.shape[dst_idx.ndim :])
    flat = xp.reshape(inputs, (math.prod(dst_idx.shape), *rest))
    segments = xp.reshape(number_batch(backend, dst_idx, len(batch), num), (-1,))
    result = xp.reshape(reduce(backend, flat, segments, math.prod(batch) * num), (*batch, num, *rest))
    return gather_src(result, src_idx=dst_idx) if keepdims else result
