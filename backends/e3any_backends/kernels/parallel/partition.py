"""Ranges of rows and of receivers, one for each share of a kernel's work."""

from __future__ import annotations

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import part

__all__ = ["of_edges", "of_rows"]


@part
def of_rows(num_rows: int, step: int, share: int, num_shares: int) -> tuple[int, int]:
    """Return the first row of a share and the end. All shares but the last consist of whole steps.

    For example, 10 rows in 2 shares with steps of 4 are rows 0-3 and 4-9.
    """
    steps = (num_rows + step - 1) // step
    return min(num_rows, steps * share // num_shares * step), min(num_rows, steps * (share + 1) // num_shares * step)


@part
def of_edges(starts: Array, share: int, num_shares: int) -> tuple[int, int]:
    """Return the first receiver of a share and the end, for equal numbers of edges; see ``edges.by_receiver``."""
    num = len(starts) - 2
    return _first_receiver(starts, num, share, num_shares), _first_receiver(starts, num, share + 1, num_shares)


@part
def _first_receiver(starts: Array, num: int, share: int, num_shares: int) -> int:
    """Return the first receiver whose edges start at or after the first edge of a share, by bisection."""
    if share == num_shares:
        return num
    edge, low, high = starts[num] * share // num_shares, 0, num
    if share == 0:
        return 0
    while low < high:
        middle = (low + high) // 2
        if starts[middle] < edge:
            low = middle + 1
        else:
            high = middle
    return low
