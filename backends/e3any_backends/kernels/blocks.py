"""Blocks of rows: several rows side by side, so that inner loops are long.

A block has the shape (components, width). Component i of the rows n, n + 1, ... and their features lie next to each
other.
"""

from __future__ import annotations

from e3any_backends.generic import Array
from e3any_backends.kernels.jit import jit

__all__ = ["WIDTH", "add_block", "load_block", "rows_per_block", "sum_block", "tile"]

#: How long inner loops are at least, rows permitting.
WIDTH = 512


@jit
def rows_per_block(num_rows: int, features: int, width: int) -> int:
    """Return how many rows a block has."""
    return max(1, min(num_rows, width // max(features, 1)))


@jit
def load_block(block: Array, x: Array, start: int, num: int) -> None:
    """Copy rows (N, components, F) from ``start`` on; a single row is repeated."""
    features = x.shape[2]
    for n in range(num):
        row = x[start + n if x.shape[0] > 1 else 0]
        for i in range(block.shape[0]):
            source, target = row[i], block[i, n * features : (n + 1) * features]
            for f in range(features):
                target[f] = source[f]


@jit
def add_block(x: Array, block: Array, start: int, num: int) -> None:
    """Add a block to rows, the transpose of :func:`load_block`."""
    features = x.shape[2]
    for n in range(num):
        row = x[start + n if x.shape[0] > 1 else 0]
        for i in range(block.shape[0]):
            source, target = block[i, n * features : (n + 1) * features], row[i]
            for f in range(features):
                target[f] += source[f]


@jit
def tile(tiles: Array, w: Array) -> None:
    """Repeat weights (S, R, paths, F) for every row of a block: (S, R, paths, width)."""
    sums, outs, paths, features = w.shape
    for s in range(sums):
        for r in range(outs):
            for p in range(paths):
                for n in range(tiles.shape[3] // max(features, 1)):
                    tiles[s, r, p, n * features : (n + 1) * features] = w[s, r, p]


@jit
def sum_block(w: Array, block: Array) -> None:
    """Add the rows of a block (paths, width) to weights (paths, F)."""
    paths, features = w.shape
    for p in range(paths):
        for n in range(block.shape[1] // max(features, 1)):
            w[p] += block[p, n * features : (n + 1) * features]
