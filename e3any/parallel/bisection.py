"""Partition of nodes by their positions."""

from __future__ import annotations

import numpy as np
from e3any_backends import Array
from numpy.typing import NDArray

from e3any.checks import check_integer, floating_backend

__all__ = ["partition_nodes"]


def partition_nodes(positions: Array, num_parts: int, weights: Array | None = None) -> NDArray[np.int64]:
    """Partition nodes into boxes of about equal weight, by recursive coordinate bisection.

    Nodes are cut in two along the axis in which they extend furthest, and both halves again. So parts are compact, and
    few edges go from one to another.

    Parameters
    ----------
    positions : array of shape (N, D)
        Positions of nodes. Those in a periodic cell should be inside of it.
    num_parts : int
        Number of parts K. If it is no power of two, halves are as unequal as their numbers of parts.
    weights : array of shape (N,), optional
        The work that a node makes, for example its number of edges; one by default.

    Returns
    -------
    numpy.ndarray of shape (N,)
        The part of every node, in [0, K). Parts are empty if there are fewer nodes.

    Raises
    ------
    ValueError
        If shapes do not fit, ``num_parts`` is not an integer >= 1, positions are not finite, or weights are negative or
        not finite.
    TypeError
        If positions or weights are not floating-point arrays, or their values are not known, as under ``jax.jit``.

    Examples
    --------
    >>> partition_nodes(np.asarray([[0.0, 0.0], [5.0, 1.0], [1.0, 0.0], [6.0, 1.0]]), 2)
    array([0, 1, 0, 1])
    """
    given = {"positions": positions} if weights is None else {"positions": positions, "weights": weights}
    backend = floating_backend(**given)
    check_integer(num_parts, "num_parts", least=1)
    if positions.ndim != 2 or positions.shape[-1] == 0:
        raise ValueError(f"expected positions of shape (N, D) with D >= 1, got {tuple(positions.shape)}")
    if weights is not None and tuple(weights.shape) != tuple(positions.shape[:1]):
        raise ValueError(f"expected weights of shape {tuple(positions.shape[:1])}, got {tuple(weights.shape)}")
    points = backend.to_numpy(positions).astype(np.float64)
    work = np.ones(len(points)) if weights is None else backend.to_numpy(weights).astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError("expected positions that are finite, got others")
    if not (np.isfinite(work).all() and (work >= 0).all()):
        raise ValueError("expected weights that are finite and >= 0, got others")
    parts = np.zeros(len(points), np.int64)
    _bisect(parts, points, work, np.arange(len(points)), 0, num_parts)
    return parts


def _bisect(
    parts: NDArray[np.int64],
    points: NDArray[np.float64],
    work: NDArray[np.float64],
    members: NDArray[np.int64],
    first: int,
    count: int,
) -> None:
    """Write the parts ``first, ..., first + count - 1`` of the nodes ``members``."""
    if count == 1 or len(members) == 0:
        parts[members] = first
        return
    lower = count // 2
    axis = np.argmax(np.ptp(points[members], axis=0))
    members = members[np.argsort(points[members, axis], kind="stable")]
    middles = np.cumsum(work[members]) - work[members] / 2
    cut = int(np.searchsorted(middles, work[members].sum() * lower / count))
    _bisect(parts, points, work, members[:cut], first, lower)
    _bisect(parts, points, work, members[cut:], first + lower, count - lower)
