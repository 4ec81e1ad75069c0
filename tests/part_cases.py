"""Graphs in parts, and what their exchange has to give."""

from __future__ import annotations

import numpy as np

from e3any.parallel import GraphPartition, partition_graph

# Nodes, parts, edges: more parts than nodes, no nodes, one part, no edges.
SIZES = [(40, 8, 300), (23, 3, 60), (5, 8, 20), (1, 4, 3), (0, 4, 0), (30, 1, 100), (30, 3, 0)]


def random_graph(rng, num_nodes, num_edges):
    """Return an unsorted list of edges, with edges of a node to itself, repeated ones, padding and isolated nodes."""
    some = rng.permutation(num_nodes)[: max(1, 2 * num_nodes // 3)]
    dst_idx, src_idx = (rng.choice(some, num_edges) if num_nodes else np.zeros(0, int) for _ in range(2))
    outside = rng.choice([-1, num_nodes], num_edges)
    return dst_idx, np.where(rng.uniform(size=num_edges) < 0.1, outside, src_idx) if num_nodes else src_idx


def random_partition(rng, num_nodes, num_parts, num_edges, **options) -> tuple[GraphPartition, np.ndarray, np.ndarray]:
    """Return a graph in random parts, one of them empty, and its list of edges."""
    dst_idx, src_idx = random_graph(rng, num_nodes, num_edges)
    parts = rng.choice(np.delete(np.arange(num_parts), num_parts // 2) if num_parts > 2 else num_parts, num_nodes)
    return partition_graph(dst_idx, src_idx, parts, num_parts, **options), dst_idx, src_idx


def received(partition: GraphPartition) -> np.ndarray:
    """Return the rows (K, n + S), among those of all parts, that parts have after an exchange; -1 for padding."""
    halo = partition.halo
    starts = np.arange(halo.num_parts)[:, None] * halo.num_rows
    own = starts + np.arange(halo.num_rows)
    table = halo.rows.reshape(halo.num_parts, halo.size)
    sent = np.where(table < halo.num_rows, starts + table, -1)
    others, start = np.full((halo.num_parts, halo.size), -1), 0
    for size, pairs in halo.rounds:
        for sender, receiver in pairs:
            others[receiver, start : start + size] = sent[sender, start : start + size]
        start += size
    return np.concatenate([own, others], axis=1)


def exchanged(partition: GraphPartition, x: np.ndarray) -> np.ndarray:
    """Return the rows (K, n + S, ...) of all parts after an exchange of rows (K n, ...)."""
    rows = received(partition)
    return np.where((rows >= 0).reshape(*rows.shape, *(1,) * (x.ndim - 1)), x[rows], 0) if len(x) else x[rows]
