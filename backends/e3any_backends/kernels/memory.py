"""Memory for the results of kernels that NumPy and PyTorch call; XLA brings its own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from e3any_backends.arrays import Array, Shape

__all__ = ["empty", "zeros"]

# A vector of 64 bytes that starts at a cache line is loaded in one piece.
_LINE = 64
# For smaller arrays, alignment takes longer than it saves.
_MIN_ALIGNED_BYTES = 1 << 18
# Once an array of this size has been freed, glibc takes smaller ones from the heap and keeps up to twice as many free
# bytes (M_MMAP_THRESHOLD adjusts itself, see https://man7.org/linux/man-pages/man3/mallopt.3.html). Otherwise large
# arrays go back to the system, and the first access to each page of a new one takes longer than the computation.
_MAX_HEAP_ARRAY = 31 << 20


def empty(shape: Shape, dtype: DTypeLike) -> Array:
    """Return an uninitialised array; if it is large, it starts at a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if size < _MIN_ALIGNED_BYTES else _aligned(np.empty, shape, dtype, size)


def zeros(shape: Shape, dtype: DTypeLike) -> Array:
    """Return an array of zeros; if it is large, it starts at a cache line."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.zeros(shape, dtype) if size < _MIN_ALIGNED_BYTES else _aligned(np.zeros, shape, dtype, size)


def _aligned(make: Callable[..., Array], shape: Shape, dtype: np.dtype[np.generic], size: int) -> Array:
    memory = make(size + _LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.__array_interface__["data"][0] % _LINE)


def _keep_heap() -> None:
    """Let glibc keep the freed memory of large arrays, see :data:`_MAX_HEAP_ARRAY`, unless E3ANY_HEAP is 0."""
    if os.environ.get("E3ANY_HEAP", "1") != "0":
        np.empty(_MAX_HEAP_ARRAY, np.uint8)


_keep_heap()
