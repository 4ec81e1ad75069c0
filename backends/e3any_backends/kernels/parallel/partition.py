"""Which share of a kernel's work a part has."""

from __future__ import annotations

from e3any_backends.arrays import Array
from e3any_backends.kernels.code.jit import part

__all__ = ["of_edges", "of_rows"]


@part
def of_rows(rows: int, step: int, number: int, parts: int) -> tuple[int, int]:
    """Return from where to where rows go, in whole steps but for the last one."""
    steps = (rows + step - 1) // step
    return min(rows, steps * number // parts * step), min(rows, steps * (number + 1) // parts * step)


@part
def of_edges(starts: Array, number: int, parts: int) -> tuple[int, int]:
    """Return from where to where receivers go that have equal shares of edges, as ``edges.by_receiver`` has them."""
    num = len(starts) - 2
    return _receiver(starts, num, number, parts), _receiver(starts, num, number + 1, parts)


@part
def _receiver(starts: Array, num: int, number: int, parts: int) -> int:
    """Return the first receiver, but for the last part, whose edges start at or after those of a part."""
    if number == parts:
        return num
    edge, low, high = starts[num] * number // parts, 0, num
    if number == 0:
        return 0
    while low < high:
        middle = (low + high) // 2
        if starts[middle] < edge:
            low = middle + 1
        else:
            high = middle
    return low
