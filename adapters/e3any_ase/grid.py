"""Pairs of atoms by a grid of cells, in NumPy: slower than libraries, but for boxes of any length with few atoms."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "grid_of", "grid_pairs"]

# Number of pairs, of two points or of a point and a cell, that are in memory at a time.
_ROWS = 2**18


class Grid(NamedTuple):
    """Points sorted into the cells of a grid, the "places", which are at least as long as the cutoff.

    Attributes
    ----------
    lengths : array of shape (3,)
        Distances between the faces of the box, in cutoffs.
    places : integer array of shape (N, 3)
        The place of every point. Of several empty places in a row, two are kept.
    sizes : integer array of shape (3,)
        Numbers of places along the axes.
    reach : integer array of shape (3,)
        How many places away a neighbour can be. Along a periodic axis with one place, this counts images.
    """

    lengths: NDArray[np.float64]
    places: NDArray[np.int64]
    sizes: NDArray[np.int64]
    reach: NDArray[np.float64]

    def images(self) -> float:
        """Return the number of places, or images of a place, that are searched for every point."""
        return float(np.prod(2 * self.reach + 1))

    def keys(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one number for every place."""
        return np.asarray((places[..., 0] * self.sizes[1] + places[..., 1]) * self.sizes[2] + places[..., 2])

    def candidates(self) -> float:
        """Return an estimate of the number of pairs of points, or images, in neighbouring places."""
        _, counts = np.unique(self.keys(self.places), return_counts=True)
        return float(np.sum(counts.astype(np.float64) ** 2)) * self.images()


def grid_of(points: NDArray[np.float64], box: NDArray[np.float64], periodic: NDArray[np.bool_], cutoff: float) -> Grid:
    """Sort points inside of a box into a grid.

    Parameters
    ----------
    points : array of shape (N, 3)
        The points.
    box : array of shape (3, 3)
        Vectors of the box, as rows.
    periodic : array of three bool
        Which of them are periodic.
    cutoff : float
        Largest distance of neighbours.

    Returns
    -------
    Grid
        The grid.
    """
    inverse = np.linalg.inv(box)
    lengths = 1.0 / (np.linalg.norm(inverse, axis=0) * cutoff)
    # Places are a little longer than the cutoff, so that rounding puts no pair two places apart.
    sizes = np.maximum(np.floor(lengths / (1 + 1e-7)), 1.0)
    places = np.clip(np.floor(points @ inverse * sizes), 0, sizes - 1).astype(np.int64)
    reach = np.where(sizes > 1, 1.0, np.where(periodic, np.minimum(np.ceil(1.0 / lengths), 1e90), 0.0))
    for axis in np.flatnonzero(sizes > 2 * len(points) + 2):
        places[:, axis], sizes[axis] = _without_gaps(places[:, axis], int(sizes[axis]))
    return Grid(lengths, places, sizes.astype(np.int64), reach)


def _without_gaps(places: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], int]:
    """Return places along a ring without empty places, except one after each used place."""
    used, inverse = np.unique(places, return_inverse=True)
    steps = np.minimum(np.diff(used, append=used[:1] + size), 2)
    return (np.cumsum(steps) - steps)[inverse], int(steps.sum())


def grid_pairs(
    points: NDArray[np.float64], box: NDArray[np.float64], periodic: NDArray[np.bool_], cutoff: float, grid: Grid
) -> tuple[Any, Any, Any]:
    """Find all pairs closer than a cutoff.

    Parameters
    ----------
    points, box, periodic, cutoff
        See :func:`grid_of`.
    grid : Grid
        A result of :func:`grid_of`.

    Returns
    -------
    dst_idx, src_idx, shifts : tuple of integer arrays of shape (E,), (E,) and (E, 3)
        The pairs, and the cells between them.
    """
    keys, starts, counts, order = _sorted(grid)
    reach = grid.reach.astype(np.int64)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    rows, found = len(points) * len(steps), [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64))]
    for first in range(0, rows, _ROWS):
        i, step = np.divmod(np.arange(first, min(first + _ROWS, rows)), len(steps))
        images, places = np.divmod(grid.places[i] + steps[step], grid.sizes)
        key = grid.keys(places)
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        is_used = (keys[at] == key) & ((images == 0) | periodic).all(axis=1)
        i, images, at = i[is_used], images[is_used], at[is_used]
        for part in _parts(counts[at]):
            j = order[_ranges(starts[at[part]], counts[at[part]])]
            pairs = np.repeat(i[part], counts[at[part]]), j, np.repeat(images[part], counts[at[part]], axis=0)
            found.append(_near(points, box, cutoff, *pairs))
    dst_idx, src_idx, shifts = map(np.concatenate, zip(*found, strict=True))
    return dst_idx, src_idx, shifts


def _sorted(grid: Grid) -> tuple[Any, Any, Any, Any]:
    """Return keys of used places, their first positions in the order of points, their numbers of points, the order."""
    keys = grid.keys(grid.places)
    order = np.argsort(keys, kind="stable")
    return *np.unique(keys[order], return_index=True, return_counts=True), order


def _parts(counts: NDArray[np.int64]) -> list[slice]:
    """Return slices of rows, each with about as many pairs as fit into memory at a time."""
    ends = np.searchsorted(np.cumsum(counts), np.arange(_ROWS, counts.sum(), _ROWS)) + 1
    bounds = np.unique([0, *ends, len(counts)])
    return [slice(a, b) for a, b in pairwise(bounds.tolist())]


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the concatenated ranges of ``counts`` numbers from each start."""
    before = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(starts - before, counts))


def _near(
    points: NDArray[np.float64],
    box: NDArray[np.float64],
    cutoff: float,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    images: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs that are closer than a cutoff, without pairs of a point with itself."""
    vectors = (points[j] - points[i] + images @ box) / cutoff
    keep = (np.sum(vectors**2, axis=1) < 1.0) & ((i != j) | images.any(axis=1))
    return i[keep], j[keep], images[keep]
