r"""Padding of graphs to few sizes, so that a function is compiled only a few times.

A compiler that specialises on shapes compiles again for every new number of nodes or edges. Padded to *buckets*, whose
sizes grow geometrically, graphs of up to n edges have no more than about :math:`\log_g n` different shapes. Layers
ignore the padding: padded edges point from and to the node N, which does not exist. Other arrays are padded with zeros.

Shapes of results depend only on shapes of arguments. With JAX, pad NumPy arrays: JAX also compiles its eager operations
for every new shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of
from e3any_backends.arrays import dtype_name

from e3any.checks import check_axis, check_integer, check_number, shown
from e3any.ops.index_lists import check_sparse_list, holding, index_kind

__all__ = ["bucket_size", "pad_dense_indices", "pad_graphs", "pad_rows", "pad_sparse_indices"]


def bucket_size(num: int, *, growth: float = 2**0.25, multiple: int = 8) -> int:
    r"""Return the smallest size of a bucket that holds ``num`` rows.

    .. math:: s_0 = m, \qquad s_{k+1} = m \max\bigl(s_k / m + 1, \lceil g \, s_k / m \rceil\bigr)

    Parameters
    ----------
    num : int
        Number of rows.
    growth : float
        Ratio g > 1 of the sizes of successive buckets: the smaller, the less padding and the more compilations.
    multiple : int
        Sizes are multiples of this number.

    Returns
    -------
    int
        The size, at least ``multiple``.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 0, ``growth`` is infinite or not above 1, or ``multiple`` is not an integer
        >= 1.
    TypeError
        If ``growth`` is not a number.

    Examples
    --------
    >>> [bucket_size(n, growth=2) for n in (0, 8, 9, 100)]
    [8, 8, 16, 128]
    """
    check_integer(num, "num")
    _check_bucket(growth, multiple)
    size = 1
    while size * multiple < num:
        size = max(size + 1, int(np.ceil(size * growth)))
    return size * multiple


def pad_rows(x: Array, size: int, *, axis: int = 0, value: float = 0) -> Array:
    """Append rows of one value along an axis.

    Parameters
    ----------
    x : array of shape (..., n, ...)
        The array.
    size : int
        Length of the axis after padding.
    axis : int
        The axis.
    value : number
        The value.

    Returns
    -------
    array of shape (..., size, ...)
        The padded array.

    Raises
    ------
    ValueError
        If ``size`` is not an integer >= 0, the axis is longer, there is no such axis, or the dtype of ``x`` cannot hold
        the value.
    TypeError
        If ``x`` is not an array, or ``value`` is not a number.
    """
    backend = backend_of(x)
    check_integer(size, "size")
    check_axis(axis, x.ndim)
    if not isinstance(value, (bool, int, float, np.number)):
        raise TypeError(f"expected value to be a number, got {shown(value)}")
    num, axis = x.shape[axis], axis % x.ndim
    _check_rows(x, size, axis)
    _check_value(backend, x, value)
    if num == size:
        return x
    shape = (*x.shape[:axis], size - num, *x.shape[axis + 1 :])
    rows = backend.xp.full(shape, value, dtype=x.dtype, device=backend.device(x))
    return backend.xp.concat([x, rows], axis=axis)


def pad_sparse_indices(
    dst_idx: Array,
    src_idx: Array,
    *arrays: Array,
    num_nodes: int,
    num_edges: int | None = None,
    growth: float = 2**0.25,
    multiple: int = 8,
) -> tuple[Array, ...]:
    """Pad a sparse list of edges, and arrays that have one entry for every edge.

    Parameters
    ----------
    dst_idx, src_idx : integer arrays of shape (..., E)
        Sparse list. An ascending list stays ascending.
    *arrays : array of shape (..., E, ...)
        Values of edges, with the leading axes of the list; they are padded with zeros.
    num_nodes : int
        Number N of nodes after padding; padded edges point at N.
    num_edges : int, optional
        Number of edges after padding; by default the size of the smallest bucket.
    growth, multiple : float and int
        See :func:`bucket_size`.

    Returns
    -------
    dst_idx, src_idx, *arrays : tuple of arrays of shape (..., num_edges, ...)
        The padded list and values. If the dtype of the list is too small for N, for example int8 for 200 nodes, it
        becomes int32 or int64.

    Raises
    ------
    TypeError
        If a list is not an integer array, or one of them is missing.
    ValueError
        If shapes do not fit, there are more than ``num_edges`` edges, or a size is not an integer >= 0.

    Examples
    --------
    >>> pad_sparse_indices(np.asarray([0, 1]), np.asarray([1, 0]), num_nodes=2, multiple=4)[0]
    array([0, 1, 2, 2])
    """
    check_sparse_list(dst_idx, src_idx)
    _check_sizes(num_nodes=num_nodes, num_edges=dst_idx.shape[-1] if num_edges is None else num_edges)
    _check_bucket(growth, multiple)
    axis = dst_idx.ndim - 1
    _check_leading("values", arrays, tuple(dst_idx.shape))
    size = bucket_size(dst_idx.shape[-1], growth=growth, multiple=multiple) if num_edges is None else num_edges
    lists = (pad_rows(holding(idx, num_nodes), size, axis=axis, value=num_nodes) for idx in (dst_idx, src_idx))
    return (*lists, *(pad_rows(x, size, axis=axis) for x in arrays))


def pad_dense_indices(
    adj_idx: Array,
    *arrays: Array,
    num_nodes: int | None = None,
    width: int | None = None,
    growth: float = 2**0.25,
    multiple: int = 8,
) -> tuple[Array, ...]:
    """Pad a dense list of neighbours, and arrays that have one entry for every neighbour.

    Parameters
    ----------
    adj_idx : integer array of shape (..., N, M)
        Dense list.
    *arrays : array of shape (..., N, M, ...)
        Values of neighbours, with the leading axes of the list; they are padded with zeros, masks with False.
    num_nodes : int, optional
        Number of nodes after padding; padding points at it. N by default.
    width : int, optional
        Number of neighbours after padding; by default the size of the smallest bucket.
    growth, multiple : float and int
        See :func:`bucket_size`.

    Returns
    -------
    adj_idx, *arrays : tuple of arrays of shape (..., num_nodes, width, ...)
        The padded list and values. If the dtype of the list is too small for ``num_nodes``, it becomes int32 or int64.

    Raises
    ------
    RuntimeError
        If no list is given.
    TypeError
        If the list is not an integer array.
    ValueError
        If shapes do not fit, there are more than ``num_nodes`` nodes or ``width`` neighbours, or a size is not
        an integer >= 0.
    """
    index_kind(adj_idx=adj_idx)
    axis = adj_idx.ndim - 2
    _check_leading("values", arrays, tuple(adj_idx.shape))
    num_nodes = adj_idx.shape[-2] if num_nodes is None else num_nodes
    _check_sizes(num_nodes=num_nodes, width=adj_idx.shape[-1] if width is None else width)
    _check_bucket(growth, multiple)
    _check_rows(adj_idx, num_nodes, axis)
    width = bucket_size(adj_idx.shape[-1], growth=growth, multiple=multiple) if width is None else width

    def pad(x: Array, value: int) -> Array:
        return pad_rows(pad_rows(x, width, axis=axis + 1, value=value), num_nodes, axis=axis, value=value)

    return (pad(holding(adj_idx, num_nodes), num_nodes), *(pad(x, 0) for x in arrays))


def pad_graphs(
    graphs: Sequence[Mapping[str, Array]],
    *,
    nodes: Sequence[str] = (),
    edges: Sequence[str] = (),
    num_nodes: int | None = None,
    num_edges: int | None = None,
    growth: float = 2**0.25,
    multiple: int = 8,
) -> dict[str, Array]:
    """Pad graphs to one number of nodes and one number of edges, and stack them.

    Parameters
    ----------
    graphs : sequence of mappings
        For every graph the sparse list ``dst_idx`` and ``src_idx`` of shape (E,), and arrays under other names, the
        same for all graphs.
    nodes, edges : sequence of str
        Names of the arrays of shape (N, ...) and (E, ...), which are padded with zeros. Arrays of other names are
        stacked as they are.
    num_nodes, num_edges : int, optional
        Numbers of nodes and edges after padding; by default the size of the bucket of the largest graph.
    growth, multiple : float and int
        See :func:`bucket_size`.

    Returns
    -------
    dict
        The stacked arrays of shape (graphs, ...) under their names, and ``node_mask``, a bool array of shape
        (graphs, num_nodes) that is False for padding.

    Raises
    ------
    ValueError
        If there are no graphs or no ``nodes``, graphs have arrays under different names, arrays of a graph differ in
        length, arrays of one name differ in other axes, or a graph is too large.
    TypeError
        If graphs are not mappings of arrays, some arrays of one name have numbers and others text, or ``nodes`` or
        ``edges`` is not a sequence of names.
    """
    for name, value in (("graphs", graphs), ("nodes", nodes), ("edges", edges)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"expected {name} to be a sequence, got {type(value).__name__}")
    if not graphs or not nodes:
        raise ValueError(f"expected at least one graph and one array of nodes, got {len(graphs)} and {len(nodes)}")
    _check_bucket(growth, multiple)
    padded_names = {"dst_idx", "src_idx", *nodes, *edges}
    for graph in graphs:
        _check_graph(graph, padded_names | set(graphs[0]), padded_names)
        if more := set(graph) - set(graphs[0]):
            raise ValueError(f"expected the same arrays in every graph, got {sorted(map(str, more))} in some only")
        _check_leading("values of nodes", [graph[name] for name in nodes], tuple(graph[nodes[0]].shape[:1]))
    for name in graphs[0]:
        _check_stackable(name, [graph[name] for graph in graphs], name in padded_names)
    counts = [graph[nodes[0]].shape[0] for graph in graphs]
    if num_nodes is None:
        num_nodes = bucket_size(max(counts), growth=growth, multiple=multiple)
    if num_edges is None:
        most = max(graph["dst_idx"].shape[0] for graph in graphs)
        num_edges = bucket_size(most, growth=growth, multiple=multiple)
    _check_sizes(num_nodes=num_nodes, num_edges=num_edges)
    for graph in graphs:
        for name in padded_names:
            _check_rows(graph[name], num_nodes if name in nodes else num_edges, 0)
    padded = [_pad_graph(graph, nodes, edges, num_nodes, num_edges) for graph in graphs]
    backend = backend_of(graphs[0]["dst_idx"])
    mask = np.arange(num_nodes) < np.asarray(counts)[:, None]
    stacked = {name: backend.xp.stack([graph[name] for graph in padded]) for name in padded[0]}
    return {**stacked, "node_mask": backend.constant(mask, like=graphs[0]["dst_idx"], dtype=backend.xp.bool)}


def _pad_graph(
    graph: Mapping[str, Array], nodes: Sequence[str], edges: Sequence[str], num_nodes: int, num_edges: int
) -> dict[str, Any]:
    lists = (graph["dst_idx"], graph["src_idx"], *(graph[name] for name in edges))
    padded = pad_sparse_indices(*lists, num_nodes=num_nodes, num_edges=num_edges)
    of_edges = dict(zip(("dst_idx", "src_idx", *edges), padded, strict=True))
    return {**graph, **{name: pad_rows(graph[name], num_nodes) for name in nodes}, **of_edges}


def _check_graph(graph: Mapping[str, Array], names: set[str], padded_names: set[str]) -> None:
    """Raise an error unless a graph has arrays under all names, and arrays to pad have at least one axis."""
    if not isinstance(graph, Mapping):
        raise TypeError(f"expected graphs to be mappings, got {type(graph).__name__}")
    if not names <= set(graph):
        raise ValueError(f"expected arrays under {sorted(names)} in every graph, got {shown(sorted(graph))}")
    for name, x in graph.items():
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise TypeError(f"expected an array under {name!r}, got {shown(x)}: convert numbers and lists to arrays")
    for name in sorted(padded_names):
        if len(graph[name].shape) < 1:
            raise ValueError(f"expected an array of at least one axis under {name!r}, got shape ()")


def _check_stackable(name: str, arrays: Sequence[Array], is_padded: bool) -> None:
    """Raise an error unless arrays of different graphs have one shape, apart from an axis that is padded."""
    # NumPy stacks numbers and text as text.
    if len({getattr(x.dtype, "kind", "f") in "OSTU" for x in arrays}) > 1:
        dtypes = " and ".join(dict.fromkeys(str(x.dtype) for x in arrays))
        raise TypeError(f"expected arrays {name!r} of numbers in every graph, or of text in every graph, got {dtypes}")
    shapes = [tuple(x.shape) for x in arrays]
    if len({shape[1:] if is_padded else shape for shape in shapes}) > 1:
        raise ValueError(f"expected arrays {name!r} that can be stacked, got {' and '.join(map(str, shapes))}")


def _check_rows(x: Array, size: int, axis: int) -> None:
    if x.shape[axis] > size:
        raise ValueError(f"expected at most {size} rows along axis {axis}, got shape {tuple(x.shape)}")


def _check_value(backend: Backend, x: Array, value: float) -> None:
    """Raise a ValueError if the dtype of integers cannot hold a value: some libraries would wrap it around."""
    if not backend.is_integer(x):
        return
    info = backend.xp.iinfo(x.dtype)
    if not int(info.min) <= value <= int(info.max):
        raise ValueError(f"expected a value that {dtype_name(x.dtype)} holds, got {value}: cast the array before")


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        check_integer(size, name)


def _check_bucket(growth: float, multiple: int) -> None:
    check_number(growth, "growth")
    if not 1.0 < growth < math.inf:
        raise ValueError(f"expected growth > 1, and finite, got {growth}")
    check_integer(multiple, "multiple", least=1)


def _check_leading(what: str, arrays: Sequence[Array], shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless the shapes of all arrays begin with a shape."""
    for x in arrays:
        if tuple(x.shape[: len(shape)]) != shape:
            raise ValueError(f"expected {what} whose shape begins with {shape}, got {tuple(x.shape)}")
