"""The NumPy backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import array_api_compat.numpy
import numpy as np
from numpy.typing import ArrayLike

from e3any_backends import kernels
from e3any_backends.arrays import Array, Arrays, DType, dtype_name
from e3any_backends.kernel_backend import KernelBackend
from e3any_backends.numpy_arrays import native, packed
from e3any_backends.references.linear import linear_by_matmul

__all__ = ["NumpyBackend"]


class NumpyArrays(Arrays):
    """Operations on NumPy arrays."""

    def __init__(self) -> None:
        super().__init__(array_api_compat.numpy)

    classes = (np.ndarray, np.generic)

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is an array of NumPy."""
        return isinstance(x, np.ndarray | np.generic)

    def promote(self, *arrays: Array | None, dtype: DType | None = None) -> list[Array]:
        """Cast arrays to ``dtype`` or to their common one, in the byte order of the machine."""
        return super().promote(*map(native, arrays), dtype=dtype)

    def constant(self, table: ArrayLike, like: Array, dtype: DType | None = None) -> Array:
        """Return a table or Python number in the dtype of ``like``."""
        return np.asarray(table, dtype=like.dtype if dtype is None else dtype)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return the array."""
        return np.asarray(x)

    def dtype(self, dtype: DType) -> DType:
        """Return the dtype of a name, or of another library; bfloat16, which NumPy lacks, is computed in float32."""
        return super().dtype("float32" if dtype_name(dtype) == "bfloat16" else dtype)

    def is_floating(self, x: Array) -> bool:
        """Return whether ``x`` is of 16, 32 or 64 bits; bfloat16 is a dtype of another package."""
        return bool(x.dtype.char in "efd" or x.dtype.name == "bfloat16")

    def is_integer(self, x: Array) -> bool:
        """Return whether ``x`` has an integer dtype."""
        return bool(x.dtype.kind in "iu")

    def erf(self, x: Array) -> Array:
        """Return the error function, by the C library."""
        return np.vectorize(math.erf, otypes=[x.dtype])(x)

    def segment_sum(self, x: Array, segments: Array, num_segments: int, indices_are_sorted: bool = False) -> Array:
        """Sum rows that have the same segment number: sort rows by segment, and sum up the runs."""
        total = np.zeros((num_segments, *x.shape[1:]), x.dtype)
        order, starts, numbers = _runs(segments, num_segments, indices_are_sorted)
        if numbers.size:
            total[numbers] = np.add.reduceat(self.widened(x[order]), starts, axis=0)
        return total

    def segment_max(self, x: Array, segments: Array, num_segments: int) -> Array:
        """Return the largest row entries of every segment."""
        largest = np.full((num_segments, *x.shape[1:]), self.lower_bound(x), x.dtype)
        order, starts, numbers = _runs(segments, num_segments, False)
        if numbers.size:
            largest[numbers] = np.maximum.reduceat(x[order], starts, axis=0)
        return largest

    def random_uniform(self, generator: np.random.Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Draw uniform numbers in [0, 1) from a :class:`numpy.random.Generator`."""
        dtype = np.dtype(np.float64 if dtype is None else dtype)
        sample = generator.random(tuple(shape)).astype(dtype)
        return np.minimum(sample, np.nextafter(dtype.type(1), dtype.type(0)))  # casting may round up to one

    def random_normal(self, generator: np.random.Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Draw normal numbers from a :class:`numpy.random.Generator`."""
        return generator.standard_normal(tuple(shape)).astype(np.float64 if dtype is None else dtype)


class NumpyBackend(NumpyArrays, KernelBackend):
    """The operations of layers on NumPy arrays."""

    @staticmethod
    def obstacle(arrays: Sequence[Array], /) -> str:
        """Return why kernels do not support arrays, empty if they do."""
        dtype = arrays[0].dtype
        if dtype.char not in "fd" or any(a.dtype != dtype for a in arrays):
            return f"the dtypes are {', '.join(str(a.dtype) for a in arrays)}"
        return ""

    def apply(self, name: str, arguments: tuple[int, ...], operands: list[Array], indices: list[Array]) -> Array:
        """Return the value of a map by a kernel or by the reference."""
        from e3any_backends.kernels.maps import MAPS  # which imports numba

        operands, indices = ([packed(a) for a in arrays] for arrays in (operands, indices))
        kernel = MAPS[name](*arguments)
        try:
            return kernel.value(operands, indices)
        except kernels.KernelError:
            return kernel.reference(self, operands, indices)

    def harmonics(self, r: Array, factors: tuple[float, ...], order: tuple[int, ...], unit: bool) -> Array:
        """Evaluate harmonics, by a kernel or by the reference."""
        if len(factors) > 1 and self.supports("harmonics", r) and not kernels.harmonics_are_few(r, len(order)):
            from e3any_backends.kernels.harmonic_maps import Harmonics

            with suppress(kernels.KernelError):
                return Harmonics(factors, order, unit).value(packed(r))
        return super().harmonics(r, factors, order, unit)

    def _linear_by_kernel(self, x: Array, w: Array, which: Array, bias: Array | None, precision: object) -> Array:
        from e3any_backends.kernels.maps import Linear

        arrays = map(packed, (x, w, which, np.zeros(w.shape[2], w.dtype) if bias is None else bias))
        with suppress(kernels.KernelError):
            return Linear().affine(*arrays)
        return linear_by_matmul(self, x, w, which, bias, precision)


def _runs(segments: Array, num_segments: int, sorted_already: bool) -> tuple[Array, Array, Array]:
    """Sort rows by segment, without padding; return their order, where each run starts, and its segment number."""
    valid = np.flatnonzero((segments >= 0) & (segments < num_segments))
    order = valid if sorted_already else valid[np.argsort(segments[valid], kind="stable")]
    numbers, starts = np.unique(segments[order], return_index=True)
    return order, starts, numbers
