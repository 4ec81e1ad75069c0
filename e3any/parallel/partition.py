"""Partition of the nodes and edges of a graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from e3any_backends import Array, backend_of
from numpy.typing import NDArray

from e3any.checks import check_integer
from e3any.ops.index_lists import check_sparse_list
from e3any.ops.padding import bucket_size
from e3any.parallel.halo import Halo, Round, make_rounds

__all__ = ["GraphPartition", "partition_graph"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GraphPartition:
    """A graph in K parts of the same size, made by :func:`partition_graph`.

    A part has n rows of nodes, its own ones and padding, and the m edges that they receive. Before features are sent
    along edges, parts exchange those of nodes that send to other parts. Then a part has n + S rows: its own, and its
    *halo*.

    ==============  ==============================================
    rows            features of
    ==============  ==============================================
    0, ..., n - 1   nodes of this part, ascending; then padding
    n, ...          nodes of other parts, in the order of rounds
    ==============  ==============================================

    Arrays hold the parts one after the other, as ``jax.shard_map`` splits them.

    Parameters
    ----------
    nodes : integer array of shape (K n,)
        The node of every row, ascending within a part; N, the number of nodes, for padding.
    edges : integer array of shape (K m,)
        Where every edge is in the list of the whole graph; E, the length of that list, for padding.
    dst_idx, src_idx : integer arrays of shape (K m,)
        The edges, as rows of the receiving part. ``dst_idx`` is in ascending order within a part; padding is n + S.
    halo : Halo
        What parts send to each other.
    sent : integer array of shape (K, K)
        Number of rows that part i sends to part j, without padding.
    num_nodes, num_edges : int
        The numbers N and E.
    """

    nodes: Integers
    edges: Integers
    dst_idx: NDArray[Any]
    src_idx: NDArray[Any]
    halo: Halo
    sent: Integers
    num_nodes: int
    num_edges: int

    @property
    def num_parts(self) -> int:
        """Number of parts K."""
        return self.halo.num_parts

    @property
    def node_mask(self) -> NDArray[np.bool_]:
        """Which rows are nodes, of shape (K n,); others are padding."""
        return self.nodes < self.num_nodes

    @property
    def lists(self) -> dict[str, Any]:
        """The edges and the halo of all parts, under the names ``dst_idx``, ``src_idx`` and ``halo``."""
        return {"dst_idx": self.dst_idx, "src_idx": self.src_idx, "halo": self.halo}

    def part(self, part: int, like: Array | None = None) -> dict[str, Any]:
        """Return the edges and the halo of one part.

        Parameters
        ----------
        part : int
            The part.
        like : array, optional
            Results are arrays of its library, on its device; of NumPy by default.

        Returns
        -------
        dict
            ``dst_idx``, ``src_idx`` and ``halo``.

        Raises
        ------
        ValueError
            If there is no such part.
        TypeError
            If ``like`` is not an array.
        """
        backend = backend_of(np.zeros(0) if like is None else like)
        dst_idx, src_idx, rows = (
            backend.index(_of_part(x, part, self.num_parts), like=self.dst_idx if like is None else like)
            for x in (self.dst_idx, self.src_idx, self.halo.rows)
        )
        return {"dst_idx": dst_idx, "src_idx": src_idx, "halo": replace(self.halo, rows=rows, part=part)}

    def split_nodes(self, x: Array, part: int | None = None) -> Array:
        """Return values of nodes as rows of all parts, or of one.

        Parameters
        ----------
        x : array of shape (N, ...)
            Values of nodes.
        part : int, optional
            The part; all by default.

        Returns
        -------
        array of shape (K n, ...) or (n, ...)
            The rows of ``x``, of its library; padding is zero or False.

        Raises
        ------
        ValueError
            If the shape does not fit, or there is no such part.
        TypeError
            If ``x`` is not an array.
        """
        return self._split(x, self.nodes, self.num_nodes, part)

    def split_edges(self, x: Array, part: int | None = None) -> Array:
        """Return values of edges as rows of all parts, or of one.

        Parameters
        ----------
        x : array of shape (E, ...)
            Values of edges, for example the cells that they cross.
        part : int, optional
            The part; all by default.

        Returns
        -------
        array of shape (K m, ...) or (m, ...)
            The rows of ``x``, of its library, in the order of ``dst_idx`` of the parts; padding is zero or False.

        Raises
        ------
        ValueError
            If the shape does not fit, or there is no such part.
        TypeError
            If ``x`` is not an array.
        """
        return self._split(x, self.edges, self.num_edges, part)

    def join_nodes(self, x: Array) -> Array:
        """Return values of nodes in their own order, from the rows of all parts.

        Parameters
        ----------
        x : array of shape (K n, ...)
            Rows of all parts.

        Returns
        -------
        array of shape (N, ...)
            Values of nodes.

        Raises
        ------
        ValueError
            If the shape does not fit.
        TypeError
            If ``x`` is not an array.
        """
        rows = np.zeros(self.num_nodes, np.int64)
        rows[self.nodes[self.node_mask]] = np.flatnonzero(self.node_mask)
        return _take(x, rows, len(self.nodes))

    def _split(self, x: Array, numbers: Integers, num: int, part: int | None) -> Array:
        return _take(x, numbers if part is None else _of_part(numbers, part, self.num_parts), num)


def _of_part(x: Any, part: int, num_parts: int) -> Any:
    """Return the rows of one part."""
    check_integer(part, "part")
    if part >= num_parts:
        raise ValueError(f"expected one of {num_parts} parts, got part {part}")
    return x.reshape(num_parts, -1)[part]


def _take(x: Array, rows: Integers, num: int) -> Array:
    backend = backend_of(x)
    if tuple(x.shape[:1]) != (num,):
        raise ValueError(f"expected an array of {num} rows, got shape {tuple(x.shape)}")
    return backend.take(x, backend.index(rows, like=x))


def partition_graph(
    dst_idx: Array,
    src_idx: Array,
    parts: Array,
    num_parts: int,
    *,
    growth: float | None = None,
    multiple: int = 8,
) -> GraphPartition:
    """Partition a graph: each edge goes to the part of its receiving node.

    Parameters
    ----------
    dst_idx, src_idx : integer arrays of shape (E,)
        The receiving and the sending node of every edge, in any order. Edges from or to a node outside [0, N) are
        padding and left out.
    parts : integer array of shape (N,)
        The part of every node, for example from :func:`partition_nodes`. Parts can be empty.
    num_parts : int
        Number of parts K.
    growth : float, optional
        Numbers of nodes, edges and rows to exchange are padded to buckets of this growth, so that a changed list of
        neighbours often has the same shapes, see :func:`e3any.ops.bucket_size`. By default to the largest part.
    multiple : int
        With ``growth``, sizes are multiples of this number.

    Returns
    -------
    GraphPartition
        Tables of NumPy.

    Raises
    ------
    ValueError
        If shapes do not fit, ``num_parts`` is not an integer >= 1, a part is outside [0, K), or ``growth`` or
        ``multiple`` is none of a bucket.
    TypeError
        If a list is not an integer array, arrays belong to different libraries, their values are not known, as under
        ``jax.jit``, or ``growth`` is not a number.

    Examples
    --------
    A chain of four nodes in two parts. Each part receives one row, that of its neighbour, as row 2:

    >>> dst_idx, src_idx = np.asarray([0, 1, 1, 2, 2, 3]), np.asarray([1, 0, 2, 1, 3, 2])
    >>> partition = partition_graph(dst_idx, src_idx, np.asarray([0, 0, 1, 1]), 2)
    >>> partition.dst_idx, partition.src_idx
    (array([0, 1, 1, 0, 0, 1], dtype=int32), array([1, 0, 2, 2, 1, 0], dtype=int32))
    >>> partition.halo.rows, partition.halo.rounds
    (array([1, 0], dtype=int32), (Round(size=1, pairs=((0, 1), (1, 0))),))
    """
    check_sparse_list(dst_idx, src_idx)
    backend = backend_of(dst_idx, src_idx, parts)
    check_integer(num_parts, "num_parts", least=1)
    if dst_idx.ndim != 1:
        raise ValueError(f"expected lists of one graph, of shape (E,), got {tuple(dst_idx.shape)}")
    if not hasattr(parts, "dtype") or not backend.is_integer(parts):
        raise TypeError(f"expected parts to be an integer array, got {getattr(parts, 'dtype', type(parts).__name__)}")
    if parts.ndim != 1:
        raise ValueError(f"expected parts of shape (N,), got {tuple(parts.shape)}")
    bucket_size(0, growth=2.0 if growth is None else growth, multiple=multiple)
    dst, src, owners = (backend.to_numpy(x).astype(np.int64) for x in (dst_idx, src_idx, parts))
    if len(owners) and not (owners.min() >= 0 and owners.max() < num_parts):
        found = f"{owners.min()} to {owners.max()}"
        raise ValueError(f"expected parts in [0, {num_parts}), got numbers from {found}")
    return _Partitioning(owners, num_parts, growth, multiple).of_edges(dst, src)


class _Partitioning:
    """Nodes in parts, and what follows for edges.

    Parameters
    ----------
    owners : integer array of shape (N,)
        The part of every node.
    num_parts : int
        Number of parts.
    growth, multiple : float and int
        Buckets, see :func:`partition_graph`.
    """

    def __init__(self, owners: Integers, num_parts: int, growth: float | None, multiple: int) -> None:
        self.owners, self.num_parts, self.growth, self.multiple = owners, num_parts, growth, multiple
        self.local, counts = _numbered(owners, num_parts)
        self.num_rows = self.padded(counts.max(initial=0))

    def padded(self, num: int) -> int:
        """Return a number of rows with padding."""
        return int(num) if self.growth is None else bucket_size(int(num), growth=self.growth, multiple=self.multiple)

    def of_edges(self, dst: Integers, src: Integers) -> GraphPartition:
        """Return the partition of a graph."""
        num_nodes, num_edges = len(self.owners), len(dst)
        edges = np.flatnonzero((dst >= 0) & (dst < num_nodes) & (src >= 0) & (src < num_nodes))
        # Sorted by part and receiver; edges of a receiver keep their order.
        edges = edges[np.argsort(self.owners[dst[edges]] * self.num_rows + self.local[dst[edges]], kind="stable")]
        dst, src = dst[edges], src[edges]
        owners = self.owners[dst]
        halo, sent, senders = self.exchanged(src, owners)
        number, counts = _numbered(owners, self.num_parts)
        width = self.padded(counts.max(initial=0))
        places, shape, padding = owners * width + number, self.num_parts * width, self.num_rows + halo.size
        dtype = np.int32 if padding < np.iinfo(np.int32).max else np.int64
        nodes = np.full(self.num_parts * self.num_rows, num_nodes)
        nodes[self.owners * self.num_rows + self.local] = np.arange(num_nodes)
        return GraphPartition(
            nodes=nodes,
            edges=_placed(edges, places, shape, num_edges),
            dst_idx=_placed(self.local[dst], places, shape, padding).astype(dtype),
            src_idx=_placed(senders, places, shape, padding).astype(dtype),
            halo=replace(halo, rows=halo.rows.astype(dtype)),
            sent=sent,
            num_nodes=num_nodes,
            num_edges=num_edges,
        )

    def exchanged(self, src: Integers, receivers: Integers) -> tuple[Halo, Integers, Integers]:
        """Return which rows are sent, how many, and the row of every edge's sender in the part of the receiver."""
        num_parts, num_nodes = self.num_parts, len(self.owners)
        senders = self.local[src]
        crossing = self.owners[src] != receivers
        nodes, outside = src[crossing], receivers[crossing]
        # A row that several edges need is sent once: pairs of parts, then nodes, are the digits of one number.
        links = (self.owners[nodes] * num_parts + outside) * num_nodes + nodes
        links, link_of_edge = np.unique(links, return_inverse=True)
        pairs, nodes = np.divmod(links, max(num_nodes, 1))
        number, counts = _numbered(pairs, num_parts**2)
        sent = counts.reshape(num_parts, num_parts)
        rounds = tuple(Round(self.padded(size), pairs) for size, pairs in make_rounds(sent))
        starts, size = np.zeros((num_parts, num_parts), np.int64), 0
        # Padding ascends, and so do rows of a round: no row comes twice.
        rows = [np.zeros((num_parts, 0), np.int64)]
        for each in rounds:
            starts[tuple(np.transpose(each.pairs))] = size
            rows.append(np.broadcast_to(self.num_rows + np.arange(each.size), (num_parts, each.size)))
            size += each.size
        places = starts.reshape(-1)[pairs] + number
        table = np.concatenate(rows, axis=1)
        table[pairs // num_parts, places] = self.local[nodes]
        senders[crossing] = self.num_rows + places[link_of_edge]
        return Halo(table.reshape(-1), rounds, self.num_rows, num_parts), sent, senders


def _numbered(groups: Integers, num: int) -> tuple[Integers, Integers]:
    """Return the number of every entry within its group, in their order, and the sizes of groups."""
    counts = np.bincount(groups, minlength=num)
    order = np.argsort(groups, kind="stable")
    numbers = np.empty_like(groups)
    numbers[order] = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers, counts


def _placed(x: Integers, places: Integers, size: int, padding: int) -> Integers:
    """Return values at their places, and padding at all others."""
    result = np.full(size, padding)
    result[places] = x
    return result
