"""Safe searches for pairs of atoms: cases that libraries can't handle are computed here, or refused.

The libraries that find pairs are written in C, C++ or Rust. If a box is too large, too long or too small, they divide
by zero, which kills the process, or do not return. The work is therefore estimated before a library is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from e3any_ase.grid import Grid, grid_of, grid_pairs

__all__ = ["check_finite", "find_pairs"]

Floats: TypeAlias = NDArray[np.float64]
Finding: TypeAlias = Callable[[Floats, Floats, NDArray[np.bool_], float], tuple[Any, Any, Any]]

_logger = logging.getLogger("e3any")

#: Up to this many cutoffs, float64 resolves 1e-7 of a cutoff, the precision of models in float32.
_FARTHEST = 2.0**30
#: Largest number of pairs to search: those of 10,000 atoms that are all close to each other, or 2,000 for every atom.
_PAIRS, _PAIRS_PER_ATOM = 1e8, 2e3
#: Largest number of cells in a list of vesin. For longer boxes it rounds a number of cells to zero, and divides by it.
_CELLS, _CELLS_PER_ATOM = 1e5, 64
#: Squares of larger cutoffs lose digits, or overflow, in sums with others.
_LARGEST_CUTOFF = 1e6


class _Region(NamedTuple):
    """Points inside a box, which spans them along open axes, and the numbers of cells by which they were moved."""

    points: Floats
    box: Floats
    cells: NDArray[np.int64]


def find_pairs(
    points: Floats, box: Floats, periodic: NDArray[np.bool_], cutoff: float, find: Finding
) -> tuple[Any, Any, Any]:
    """Find pairs with a library if that is safe, else with :mod:`e3any_ase.grid`.

    Parameters
    ----------
    points : array of shape (N, 3)
        Positions.
    box : array of shape (3, 3)
        Vectors of the cell, as rows; orthogonal ones of any length along open axes.
    periodic : array of three bool
        Which vectors are periodic.
    cutoff : float
        Largest distance.
    find : callable
        The search of a library, ``find(points, box, periodic, cutoff)``.

    Returns
    -------
    dst_idx, src_idx, shifts : tuple of arrays
        The pairs, in any order.

    Raises
    ------
    ValueError
        If numbers are not finite, atoms are too far away, or there are too many pairs to search.
    """
    check_finite("positions", points)
    _check_reach("positions", points, cutoff, "move the atoms to the origin, atoms.wrap() or atoms.center()")
    _check_reach("vectors of the cell", box, cutoff, "leave directions without neighbours open")
    reduced, combined = _compact(box, periodic, cutoff)
    region = _region(points, reduced, periodic)
    grid = grid_of(region.points, region.box, periodic, cutoff)
    _check_work(grid, cutoff)
    if _fits_libraries(grid) and cutoff < _LARGEST_CUTOFF:
        dst_idx, src_idx, shifts = find(region.points, region.box, periodic, cutoff)
    else:
        _logger.debug("pairs are found without a library: a box of %s cutoffs", grid.lengths.tolist())
        dst_idx, src_idx, shifts = grid_pairs(region.points, region.box, periodic, cutoff, grid)
    shifts = _of_unmoved(shifts, dst_idx, src_idx, region.cells)
    if combined is not None:
        shifts = shifts.astype(np.int64) @ combined
    if shifts.dtype == np.int32:
        return dst_idx, src_idx, shifts
    if np.abs(shifts).max(initial=0) > np.iinfo(np.int32).max:
        raise ValueError("expected atoms fewer than 2**31 cells apart, got more: move them into the cell, atoms.wrap()")
    return dst_idx, src_idx, shifts.astype(np.int32)


def _of_unmoved(shifts: Any, dst_idx: Any, src_idx: Any, cells: Any) -> Any:
    """Return the cells between the original points from those between the moved points."""
    is_moved = np.any(cells != 0, axis=1)
    if not is_moved.any():
        return shifts
    edges = np.flatnonzero(is_moved[dst_idx] | is_moved[src_idx])  # few, as a rule
    if np.abs(cells).max() > 2**29:
        shifts = shifts.astype(np.int64)
    shifts[edges] += (cells[dst_idx[edges]] - cells[src_idx[edges]]).astype(shifts.dtype)
    return shifts


def check_finite(name: str, array: Floats) -> None:
    """Raise a ValueError unless all numbers are finite."""
    if not np.isfinite(array).all():
        wrong = array[~np.isfinite(array)][0]
        raise ValueError(f"expected finite {name}, got {wrong}: if a dynamics has exploded, take shorter time steps")


def _check_reach(name: str, array: Floats, cutoff: float, remedy: str) -> None:
    """Raise a ValueError if numbers are too large for the cutoff."""
    largest = np.abs(array).max(initial=0)
    if largest > _FARTHEST * cutoff:
        raise ValueError(
            f"expected {name} up to {_FARTHEST * cutoff:.3g}, 2**30 cutoffs, where float64 still resolves distances, "
            f"got {largest:.3g}: {remedy}; if a dynamics has exploded, take shorter time steps"
        )


def _heights(box: Floats) -> Floats:
    """Return the distances between opposite faces of a box."""
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(box), axis=0))


def _compact(box: Floats, periodic: NDArray[np.bool_], cutoff: float) -> tuple[Floats, NDArray[np.int64] | None]:
    """Return shorter vectors of a skew lattice, and the sums of old vectors that they are; None if unchanged."""
    lengths = np.linalg.norm(box, axis=1)
    is_skew = np.prod(lengths / lengths.max()) > 2 * abs(np.linalg.det(box / lengths.max()))
    if np.count_nonzero(periodic) < 2 or not is_skew or (_heights(box) > cutoff).all():
        return box, None
    try:
        reduced, combined = minkowski_reduce(box, periodic)
    except RuntimeError:  # raised for numbers that float64 can't resolve
        return box, None
    return np.asarray(reduced), np.asarray(combined, np.int64)


def _region(points: Floats, box: Floats, periodic: NDArray[np.bool_]) -> _Region:
    """Move points into a box: by whole cells along periodic axes; along open axes, extend the box to the points."""
    fractions = points @ np.linalg.inv(box)
    cells = np.where(periodic, np.floor(fractions), 0.0)
    if np.abs(cells).max(initial=0) >= 2**31:
        raise ValueError(
            "expected positions within 2**31 cells of the origin, got more: move them into the cell, atoms.wrap()"
        )
    if cells.any():
        points = points - cells @ box
    if periodic.all() or not len(points):
        return _Region(points, box, cells.astype(np.int64))
    low, high = fractions.min(axis=0), fractions.max(axis=0)
    extents = np.maximum(high - low, 1.0)
    return _Region(
        points - np.where(periodic, 0.0, low) @ box,
        np.where(periodic[:, None], box, extents[:, None] * box),
        cells.astype(np.int64),
    )


def _check_work(grid: Grid, cutoff: float) -> None:
    """Raise a ValueError if there are too many pairs to search."""
    num = len(grid.places)
    most = max(_PAIRS, _PAIRS_PER_ATOM * num)
    if num * num * grid.images() > most and (pairs := grid.candidates()) > most:
        heights = ", ".join(f"{height:.3g}" for height in grid.lengths * cutoff)
        raise ValueError(
            f"expected at most {most:.0e} pairs of atoms or images to look at, got {pairs:.0e} for {num} atoms, cutoff "
            f"{cutoff:.3g} and a cell of heights {heights}: give a smaller cutoff; if the cell or the structure has "
            f"collapsed in a dynamics, take shorter time steps"
        )


def _fits_libraries(grid: Grid) -> bool:
    """Return whether libraries can divide a box: into few cells, or into similar numbers of filled cells per axis."""
    sizes = np.floor(grid.lengths) + 2  # with the margin of vesin along open axes
    total = np.prod(sizes)
    return bool(total <= _CELLS or (total <= _CELLS_PER_ATOM * len(grid.places) and sizes.max() <= 16 * sizes.min()))
