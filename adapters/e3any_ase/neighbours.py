"""Lists of neighbours within a cutoff, with periodic boundaries."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from ase.geometry import complete_cell
from e3any_backends.numpy_arrays import native
from numpy.typing import ArrayLike, NDArray

from e3any.checks import check_flag, check_number, shown
from e3any.extras import require
from e3any_ase.search import check_finite, find_pairs

__all__ = ["Neighbours", "neighbours"]

Finder: TypeAlias = Literal["vesin", "matscipy"]


class Neighbours(NamedTuple):
    """A sparse list of edges, and the cells that they cross.

    Attributes
    ----------
    dst_idx, src_idx : integer arrays of shape (E,)
        The receiving and the sending nodes.
    shifts : integer array of shape (E, 3)
        Cells between the two nodes, along the vectors of the cell, for :func:`e3any.ops.displacements`.
    """

    dst_idx: NDArray[np.int64]
    src_idx: NDArray[np.int64]
    shifts: NDArray[np.int32]


def neighbours(
    positions: ArrayLike,
    cell: ArrayLike | None = None,
    pbc: bool | Sequence[bool] = False,
    *,
    cutoff: float,
    finder: Finder = "vesin",
    sort: bool = True,
) -> Neighbours:
    """List all pairs of atoms, and of atoms and periodic images, that are closer than a cutoff.

    Parameters
    ----------
    positions : array of shape (N, 3)
        Positions of atoms, inside or outside of the cell.
    cell : array of shape (3, 3), optional
        Vectors of the cell, as rows. Along directions without periodic boundaries they can be zero.
    pbc : bool or sequence of three bool
        Along which vectors boundaries are periodic.
    cutoff : float
        Largest distance, in the unit of the positions.
    finder : {'vesin', 'matscipy'}
        The library that finds the pairs.
    sort : bool
        Whether ``dst_idx`` ascends, as layers with ``indices_are_sorted=True`` require.

    Returns
    -------
    Neighbours
        The list. Every pair is in it in both directions; an atom is a neighbour of its images, not of itself.

    Raises
    ------
    ImportError
        If the library is not installed.
    ValueError
        If the cutoff is not positive and finite, ``pbc`` or ``sort`` is not a bool, a shape does not fit, positions or
        cell are not finite or above 2**30 cutoffs, or periodic vectors of the cell are zero or linearly dependent. Also
        if there are too many atoms and images within the cutoff, for example in a collapsed cell: more than 1e8 pairs
        near each other, and more than 2,000 for every atom.
    TypeError
        If positions or cell are masked or not real numbers, or the cutoff is not a number.
    """
    points = real_numbers(positions, "positions")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"expected positions of shape (N, 3), got {points.shape}")
    check_search(cutoff, finder)
    check_flag(sort, "sort")
    box, periodic = _box(cell, pbc)
    dst_idx, src_idx, shifts = find_pairs(points, box, periodic, cutoff, _FINDERS[finder])
    if sort:
        # NumPy sorts small integers by radix, in a third of the time.
        order = np.argsort(dst_idx.astype(np.min_scalar_type(len(points))), kind="stable")
        return Neighbours(*(np.take(x, order, axis=0) for x in (dst_idx, src_idx, shifts)))
    return Neighbours(dst_idx, src_idx, shifts)


def real_numbers(x: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return an array of float64; raise a TypeError unless it has real numbers and no mask."""
    array = native_array(x, name)
    if array.size and array.dtype.kind not in "fiu":
        raise TypeError(f"expected {name} of real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def native_array(x: Any, name: str) -> NDArray[Any]:
    """Return an array in native byte order; raise a TypeError for masked arrays and other special subclasses."""
    try:
        return np.asarray(native(x))
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def check_search(cutoff: float, finder: str = "vesin") -> None:
    """Raise an error unless neighbours can be searched with these options."""
    check_number(cutoff, "cutoff")
    if not 0 < cutoff < np.inf:
        raise ValueError(f"expected a positive, finite cutoff, got {cutoff}")
    if finder not in tuple(_FINDERS):
        raise ValueError(f"expected finder to be one of {sorted(_FINDERS)}, got {finder!r}")


def _box(cell: ArrayLike | None, pbc: bool | Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a cell with a volume, and the vectors along which it is periodic."""
    vectors = np.zeros((3, 3)) if cell is None else real_numbers(cell, "cell")
    if vectors.shape != (3, 3):
        raise ValueError(f"expected cell of shape (3, 3), got {vectors.shape}")
    check_finite("cell", vectors)
    flags = native_array(pbc, "pbc")
    if flags.shape not in ((), (3,)) or flags.dtype != bool:
        raise ValueError(f"expected pbc to be True or False, or three of them, got {shown(pbc)}")
    periodic = np.broadcast_to(flags, 3)
    # Vectors without periodic boundaries do not matter: any that complete the cell can be used.
    needed = np.where(periodic[:, None], vectors, 0.0)
    if np.linalg.matrix_rank(needed) < np.count_nonzero(periodic):
        raise ValueError(f"expected independent vectors along periodic directions {periodic}, got {vectors.tolist()}")
    return np.asarray(complete_cell(needed)), periodic


class _Kept(threading.local):
    """The list of vesin that each thread used last. It is reused, because allocating its memory is expensive."""

    cutoff: float | None = None
    finder: Any = None


_kept = _Kept()


def _vesin(points: Any, box: Any, periodic: Any, cutoff: float) -> tuple[Any, Any, Any]:
    if _kept.cutoff != cutoff:
        require("ase", "vesin")
        from vesin import NeighborList

        _kept.cutoff, _kept.finder = cutoff, NeighborList(cutoff=cutoff, full_list=True)
    if not periodic.all():
        # Open axes take vesin up to a hundred times longer than periodic axes with a gap.
        lengths = np.linalg.norm(box, axis=1, keepdims=True)
        box, periodic = np.where(periodic[:, None], box, box * (1 + 2 * cutoff / lengths)), np.ones(3, bool)
    i, j, shifts = _kept.finder.compute(points, box, periodic, "ijS")  # copies
    return i.view(np.int64), j.view(np.int64), shifts


def _matscipy(points: Any, box: Any, periodic: Any, cutoff: float) -> tuple[Any, Any, Any]:
    from matscipy.neighbours import neighbour_list

    i, j, shifts = neighbour_list("ijS", positions=points, cell=box, pbc=periodic, cutoff=cutoff)
    return i.astype(np.int64), j.astype(np.int64), shifts.astype(np.int32)


_FINDERS = {"vesin": _vesin, "matscipy": _matscipy}
