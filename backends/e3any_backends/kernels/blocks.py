"""Blocks of rows: several rows side by side, so that inner loops are long.

A block has the shape (components, width). Component i of the rows n, n + 1, ... and their features lie next to each
other.
"""

from __future__ import annotations

from e3any_backends.generic import Array
from e3any_backends.kernels.jit import part

__all__ = ["block_width", "clear", "load_block", "store_block", "sum_block", "tile"]

# Numbers in all blocks of a kernel, which stay in the cache; and how long inner loops are at most, rows permitting.
_SIZE, _LONGEST, _SHORTEST = 16384, 512, 128


def block_width(num_rows: int, features: int, components: int) -> int:
    """Return how many numbers, those of whole rows, lie side by side in blocks that have so many components in all."""
    width = min(_LONGEST, max(_SHORTEST, _SIZE // components))
    return features * max(1, min(num_rows, width // max(features, 1)))


@part
def clear(block: Array) -> None:
    """Fill a block with zeros."""
    for i in range(block.shape[0]):
        row = block[i]
        for t in range(len(row)):
            row[t] = 0


@part
def load_block(block: Array, x: Array, start: int, num: int) -> None:
    """Copy rows (N, components, F) from ``start`` on; a single row is repeated."""
    features = x.shape[2]
    for n in range(num):
        row = x[start + n if x.shape[0] > 1 else 0]
        for i in range(block.shape[0]):
            source, target = row[i], block[i, n * features : (n + 1) * features]
            for f in range(features):
                target[f] = source[f]


@part
def store_block(x: Array, block: Array, start: int, num: int) -> None:
    """Copy a block to rows, the transpose of :func:`load_block`: a single row gets the sum."""
    features = x.shape[2]
    for n in range(num):
        single = x.shape[0] == 1
        row = x[0 if single else start + n]
        for i in range(block.shape[0]):
            source, target = block[i, n * features : (n + 1) * features], row[i]
            if single and start + n > 0:
                for f in range(features):
                    target[f] += source[f]
            else:
                for f in range(features):
                    target[f] = source[f]


@part
def tile(tiles: Array, w: Array, used: Array) -> None:
    """Repeat the weights (paths, F) that are used for every row of a block."""
    features = w.shape[1]
    for p in range(len(used)):
        source = w[used[p]]
        for n in range(tiles.shape[1] // max(features, 1)):
            target = tiles[p, n * features : (n + 1) * features]
            for f in range(features):
                target[f] = source[f]


@part
def sum_block(w: Array, block: Array, used: Array) -> None:
    """Add the rows of a block to the weights that are used, the transpose of :func:`tile`."""
    features = w.shape[1]
    for p in range(len(used)):
        target = w[used[p]]
        for n in range(block.shape[1] // max(features, 1)):
            source = block[p, n * features : (n + 1) * features]
            for f in range(features):
                target[f] += source[f]
