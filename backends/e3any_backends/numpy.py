"""The NumPy backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import array_api_compat.numpy
import numpy as np

from e3any_backends.generic import Array, Backend, dtype_name


class NumpyBackend(Backend):
    """Operations on NumPy arrays."""

    def __init__(self) -> None:
        super().__init__(array_api_compat.numpy)

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of NumPy."""
        return isinstance(x, np.ndarray | np.generic)

    def constant(self, table: Any, like: Array, dtype: Any = None) -> Array:
        """Return a table or Python number in the dtype of ``like``."""
        return np.asarray(table, dtype=like.dtype if dtype is None else dtype)

    def dtype(self, dtype: Any) -> Any:
        """Return the dtype of a name, or of another library; bfloat16, which NumPy lacks, is computed in float32."""
        return super().dtype("float32" if dtype_name(dtype) == "bfloat16" else dtype)

    def erf(self, x: Array) -> Array:
        """Return the error function, by the C library."""
        return np.vectorize(math.erf, otypes=[x.dtype])(x)

    def segment_sum(self, x: Array, segments: Array, num_segments: int, indices_are_sorted: bool = False) -> Array:
        """Sum rows that have the same segment number, by sums over runs of the sorted rows."""
        total = np.zeros((num_segments, *x.shape[1:]), x.dtype)
        order, starts, numbers = _runs(segments, num_segments, indices_are_sorted)
        if numbers.size:
            total[numbers] = np.add.reduceat(x[order], starts, axis=0)
        return total

    def segment_max(self, x: Array, segments: Array, num_segments: int) -> Array:
        """Return the largest row entries of every segment."""
        largest = np.full((num_segments, *x.shape[1:]), self.lower_bound(x), x.dtype)
        order, starts, numbers = _runs(segments, num_segments, False)
        if numbers.size:
            largest[numbers] = np.maximum.reduceat(x[order], starts, axis=0)
        return largest

    def random_uniform(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw uniform numbers in [0, 1) from a :class:`numpy.random.Generator`."""
        dtype = np.dtype(np.float64 if dtype is None else dtype)
        sample = generator.random(tuple(shape)).astype(dtype)
        return np.minimum(sample, np.nextafter(dtype.type(1), dtype.type(0)))  # casting may round up to one

    def random_normal(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw normal numbers from a :class:`numpy.random.Generator`."""
        return generator.standard_normal(tuple(shape)).astype(np.float64 if dtype is None else dtype)


def _runs(segments: Array, num_segments: int, sorted_already: bool) -> tuple[Array, Array, Array]:
    """Return an order that sorts valid segments, where each run starts in it, and the runs' segment numbers."""
    valid = np.flatnonzero((segments >= 0) & (segments < num_segments))
    order = valid if sorted_already else valid[np.argsort(segments[valid], kind="stable")]
    numbers, starts = np.unique(segments[order], return_index=True)
    return order, starts, numbers
