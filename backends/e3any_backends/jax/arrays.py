"""Arrays of JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from e3any_backends.arrays import Array, Arrays
from e3any_backends.jax.store import store
from e3any_backends.numpy_arrays import native

__all__ = ["ARRAYS", "JaxArrays"]

# See JaxArrays.scale_components.
_MAX_COPIES = 32


class JaxArrays(Arrays):
    """What layers do with JAX arrays."""

    split_kernel_size = 64 * 64

    def __init__(self) -> None:
        super().__init__(jnp)

    classes = (jax.Array, np.ndarray, np.generic)

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of JAX or NumPy: JAX computes with both."""
        return isinstance(x, jax.Array | np.ndarray | np.generic)

    def constant(self, table: Any, like: Array, dtype: Any = None) -> Array:
        """Return a table or Python number in the dtype of ``like``; JAX puts it on the device that uses it."""
        return jnp.asarray(np.asarray(table), dtype=like.dtype if dtype is None else dtype)

    def index(self, table: Any, like: Array) -> Array:
        """Return a table of positions."""
        return jnp.asarray(np.asarray(table, np.int32))

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return an array as one of NumPy."""
        if isinstance(x, jax.core.Tracer):
            raise TypeError(f"expected an array whose values are known, got {x.aval} while JAX traces: call it outside")
        return np.asarray(x)

    def aligned(self, x: Array, other: Array) -> Array:
        """Return ``x`` with the leading axes that it lacks beside another array; see ``jax_numpy_rank_promotion``."""
        missing = other.ndim - x.ndim
        return jnp.reshape(x, (*(1,) * missing, *x.shape)) if missing > 0 else x

    def as_index(self, x: Array) -> Array:
        """Cast integers to int32, or those of 64 bits to int64; sorted ones stay sorted."""
        dtype = jnp.int64 if x.dtype.itemsize == 8 else jnp.int32
        if x.dtype in (jnp.uint32, jnp.uint64):
            x = jnp.minimum(x, np.asarray(np.iinfo(dtype).max, x.dtype))  # any such index is padding
        return x.astype(dtype)

    def is_floating(self, x: Array) -> bool:
        """Return whether ``x`` has a real floating-point dtype of at least 16 bits."""
        return bool(jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize > 1)

    def is_integer(self, x: Array) -> bool:
        """Return whether ``x`` has an integer dtype."""
        return bool(jnp.issubdtype(x.dtype, jnp.integer))

    def promote(self, *arrays: Array | None, dtype: Any = None) -> list[Any]:
        """Cast arrays to ``dtype`` or to their common one; arrays of NumPy become arrays of JAX."""
        ours = [jnp.asarray(native(a)) if isinstance(a, np.ndarray) else a for a in arrays]
        return super().promote(*ours, dtype=dtype)

    def matmul(self, a: Array, b: Array, precision: Any = None) -> Array:
        """Multiply matrices with a precision of XLA; the default is JAX's own if it is set, else the highest."""
        default = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
        if precision is None and default is None:
            precision = "highest"  # by default XLA rounds to TF32 or bfloat16 where this is faster
        return jnp.matmul(a, b, precision=precision)

    def stop_gradient(self, x: Array) -> Array:
        """Return ``x``, treated as a constant by automatic differentiation."""
        return jax.lax.stop_gradient(x)

    def derivative(self, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """Return the derivative of a function along a vector of ones."""
        return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    def pieces(self, x: Array, sizes: Sequence[int], axis: int) -> list[Array]:
        """Split an axis (counted from the end) into slices of these sizes."""
        # Slicing by indexing would transpose to a chain of padded additions; a split transposes to one concatenation.
        return list(jax.lax.split(x, tuple(sizes), axis=x.ndim + axis))

    def components(self, x: Array) -> list[Array]:
        """Return the slices of ``x`` along its last axis."""
        return [jnp.squeeze(part, -1) for part in self.pieces(x, (1,) * x.shape[-1], -1)]

    def quotient(self, x: Array, scale: Array) -> Array:
        """Return ``x / scale``, also of subnormal numbers; ``scale`` is a constant for differentiation."""
        # XLA rewrites x / s / r as x / (s r), and s r overflows for the largest vectors: both are made smaller.
        # On CPUs it counts subnormal numbers as zero, but these matter beside the smallest normal ones: a vector
        # (1e-38, 2e-38, 0) of float32 does not lie on an axis. Both are made larger.
        info = self.xp.finfo(x.dtype)
        is_small = scale < float(info.eps)
        factor = jnp.where(scale > 1, 0.25, jnp.where(is_small, 1 / float(info.eps), 1.0)).astype(scale.dtype)
        lost = jnp.where(is_small, _lost_by_flushing(jax.lax.stop_gradient(x), factor, info), 0)
        return (x * factor + lost) / (scale * factor)

    def store(self, *arrays: Array) -> tuple[Array, ...]:
        """Return arrays as they are, computed once and not wherever they are read."""
        return store(*arrays)

    def erf(self, x: Array) -> Array:
        """Return the error function."""
        return jax.lax.erf(x)

    def take(self, x: Array, indices: Array) -> Array:
        """Return rows of ``x``; rows of indices out of range are zero."""
        if x.shape[0] == 0:
            return jnp.zeros((indices.shape[0], *x.shape[1:]), x.dtype)
        # The cotangent of a gather is a sum over edges, taken in at least float32.
        wide = self.widened(x).at[_one_padding(self.as_index(indices), x.shape[0])]
        return wide.get(mode="fill", fill_value=0).astype(x.dtype)

    def segment_sum(self, x: Array, segments: Array, num_segments: int, indices_are_sorted: bool = False) -> Array:
        """Sum rows that have the same segment number; the scatter drops numbers out of range."""
        if _is_zero(num_segments):
            return jnp.zeros((0, *x.shape[1:]), x.dtype)
        segments, wide = self.as_index(segments), self.widened(x)
        if not indices_are_sorted:
            segments = _one_padding(segments, num_segments)
            return jax.ops.segment_sum(wide, segments, num_segments).astype(x.dtype)
        # On GPUs XLA then adds rows that follow each other before it writes. Padding has to ascend, too.
        segments = jnp.clip(segments, -1, num_segments)
        rows = jnp.zeros((num_segments, *x.shape[1:]), wide.dtype).at[segments]
        total = rows.add(wide, mode="drop", indices_are_sorted=True, wrap_negative_indices=False)
        return total.astype(x.dtype)

    def segment_max(self, x: Array, segments: Array, num_segments: int) -> Array:
        """Return the largest row entries of every segment."""
        if _is_zero(num_segments):
            return jnp.zeros((0, *x.shape[1:]), x.dtype)
        segments = _one_padding(self.as_index(segments), num_segments)
        return jax.ops.segment_max(x, segments, num_segments)

    def scale_components(self, x: Array, w: Array) -> Array:
        """Multiply all components of features ``x`` (..., P, M, F or 1) by factors ``w`` (..., F)."""
        # The gradient with respect to w is a reduction over two axes. XLA for CPUs is slow at these, and does not
        # vectorise a reduction over one axis. For copies of w the gradient is a sum of slices, faster if they are few.
        *lead, slots, size, features = x.shape
        if slots == 2 and size > 4:  # a reduction that is vectorised
            return x * w[..., None, None, :]
        count = slots * size
        flat, num = jnp.reshape(x, (*lead, count, features)), max(1, -(-count // _MAX_COPIES))
        sizes = [count * (i + 1) // num - count * i // num for i in range(num)]
        parts = zip(self.pieces(flat, sizes, -2), sizes, strict=True)
        products = [part * jnp.concatenate([w[..., None, :]] * n, axis=-2) if n else part for part, n in parts]
        product = products[0] if num == 1 else jnp.concatenate(products, axis=-2)
        return jnp.reshape(product, (*x.shape[:-1], product.shape[-1]))

    def sum_components(self, x: Array) -> Array:
        """Sum over the last axis but one by additions: XLA for CPUs vectorises these, but not a reduction."""
        parts = self.pieces(x, (1,) * x.shape[-2], -2)
        return functools.reduce(jnp.add, [jnp.squeeze(p, -2) for p in parts]) if parts else super().sum_components(x)

    def split(self, generator: Any, num: int) -> list[Any]:
        """Return the keys that a key is split into."""
        return list(jax.random.split(generator, num))

    def random_uniform(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw uniform numbers in [0, 1) for a key."""
        return jax.random.uniform(generator, tuple(shape), jnp.float32 if dtype is None else dtype)

    def random_normal(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw normal numbers for a key."""
        return jax.random.normal(generator, tuple(shape), jnp.float32 if dtype is None else dtype)

    def random_truncated_normal(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw from a normal distribution cut off at -2 and 2, for a key."""
        return jax.random.truncated_normal(generator, -2, 2, tuple(shape), jnp.float32 if dtype is None else dtype)


#: The one instance, for functions that need no backend.
ARRAYS = JaxArrays()


def _lost_by_flushing(x: Array, factor: Array, info: Any) -> Array:
    """Return by how much ``x * factor`` is too small, for the factor 1 / eps, where XLA counts ``x`` as zero."""
    bits = jax.lax.bitcast_convert_type(x, f"int{info.bits}")
    size = bits & np.iinfo(bits.dtype).max
    # A subnormal number is n * eps times the smallest normal one, where n is the integer of its bits.
    product = size.astype(x.dtype) * float(info.smallest_normal)
    product = jnp.where(bits < 0, -product, product)
    return jnp.where(size < 2**info.nmant, product - x * factor, 0)


def _is_zero(num: Any) -> bool:
    """Return whether there are no segments, which JAX cannot differentiate; symbolic sizes can't be compared."""
    return isinstance(num, int) and num == 0


def _one_padding(indices: Array, num: int) -> Array:
    """Return indices in which all padding is ``num``.

    JAX counts negative indices from the end, and casts all to int32, where large ones wrap around to valid rows.
    """
    return jnp.where((indices < 0) | (indices >= num), num, indices)
