"""Arrays of one library: dtypes, constants, slices, segments, random numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import array_api_compat
import numpy as np
from numpy.typing import ArrayLike

from e3any_backends.forms.tables import Tables, attribute, lookup

__all__ = ["Array", "Arrays", "DType", "Device", "Generator", "Namespace", "Shape", "dtype_name"]

#: An array of any library: those of JAX and PyTorch have no common class, nor do all of the standard.
Array: TypeAlias = Any
#: A dtype of any library, such as ``numpy.dtype("float32")`` or ``torch.float32``, or the name of one.
DType: TypeAlias = Any
#: A device of any library.
Device: TypeAlias = Any
#: A JAX key, a :class:`numpy.random.Generator`, or a :class:`torch.Generator`.
Generator: TypeAlias = Any
#: A module with the functions of the array API standard.
Namespace: TypeAlias = Any
#: The shape of an array. Sizes can be symbols of a compiler, which compute like integers.
Shape: TypeAlias = tuple[int, ...]


def dtype_name(dtype: DType) -> str:
    """Return the name of a dtype of any library."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return name or str(dtype).rpartition(".")[2]


def _expected_one_library(library: str, other: object) -> str:
    """Return the message for arrays of a library beside one of another."""
    name = f"{type(other).__module__}.{type(other).__name__}"
    if "numpy" in library and name == "torch.nn.parameter.Parameter":
        return (
            "expected arrays of one library, got inputs of NumPy for a layer whose parameters are tensors of PyTorch: "
            "convert the inputs, torch.from_numpy(x), or use the layers of e3any_numpy"
        )
    return f"expected arrays of {library}, got {name}"


class Arrays:
    """Array operations that differ between libraries, here using only the array API.

    Parameters
    ----------
    xp : namespace
        An array API namespace.

    Attributes
    ----------
    xp : namespace
        The array API namespace of the library.
    split_kernel_size : int
        Matrices of at least this size are multiplied in one product per degree, smaller ones in a batch of one product
        per component, which copies matrices but no features.
    """

    split_kernel_size = 256 * 256 + 1
    #: Classes whose objects are arrays of the library; there can be others, see :meth:`owns`.
    classes: tuple[type, ...] = ()

    def __init__(self, xp: Namespace) -> None:
        self.xp = xp

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is an array that the library computes with."""
        return array_api_compat.is_array_api_obj(x) and array_api_compat.array_namespace(x) is self.xp

    def device(self, x: Array) -> Device:
        """Return the device of ``x``."""
        return array_api_compat.device(x)

    def check_devices(self, *arrays: object) -> None:
        """Raise a ValueError if arrays are on devices that are not combined, unless the library itself does."""

    # -- constants and dtypes -------------------------------------------------------------------------------

    def constant(self, table: ArrayLike, like: Array, dtype: DType | None = None) -> Array:
        """Return a NumPy table or Python number in the library, dtype and device of ``like``, read-only."""
        return self.xp.asarray(
            np.require(table, requirements=["C", "W"]),  # others are copied, as PyTorch refuses them
            dtype=like.dtype if dtype is None else dtype,
            device=self.device(like),
        )

    def index(self, table: ArrayLike, like: Array) -> Array:
        """Return a NumPy table of positions in the library and on the device of ``like``, read-only."""
        return self.constant(table, like, dtype=self.xp.int64)

    def table(self, function: Callable[..., np.ndarray], *arguments: Hashable, like: Array) -> Array:
        """Return a table in the library and on the device of ``like``, read-only.

        Parameters
        ----------
        function : callable
            ``function(*arguments)`` returns a NumPy array. It is called once and never traced.
        *arguments
            Hashable arguments, such as numbers and tuples of numbers.
        like : array
            Where the table is used.

        Returns
        -------
        array
            The table: real numbers have the dtype of ``like``, integers are positions, booleans stay booleans.
        """
        table = lookup(function, *arguments)
        if table.dtype.kind == "f":
            return self.constant(table, like)
        return self.constant(table, like, dtype=self.xp.bool) if table.dtype.kind == "b" else self.index(table, like)

    def table_of(self, tables: Tables, name: str, like: Array) -> Array:
        """Return an attribute of an object as a table; see :meth:`table`."""
        return self.table(attribute, tables.number, name, like=like)

    def aligned(self, x: Array, other: Array) -> Array:
        """Return ``x`` in a shape that broadcasts with an array of a higher rank.

        Here ``x`` itself. JAX can be set to refuse arrays of different ranks (``jax_numpy_rank_promotion``), so its
        backend adds leading axes of length 1.
        """
        return x

    def select(self, x: Array, table: Array, axis: int) -> Array:
        """Return the slices of ``x`` at a table of positions along an axis."""
        return self.xp.take(x, table, axis=axis)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return an array as one of NumPy, for tables that are made from values of arrays.

        Raises
        ------
        TypeError
            If the values are not known, as while JAX traces.
        """
        return np.from_dlpack(x)

    def as_index(self, x: Array) -> Array:
        """Cast integers of any width to int32 or int64, which can number all rows of an array."""
        return x if x.dtype in (self.xp.int32, self.xp.int64) else self.xp.astype(x, self.xp.int64)

    def is_floating(self, x: Array) -> bool:
        """Return whether ``x`` has a real floating-point dtype (16-bit ones included)."""
        return bool(self.xp.isdtype(x.dtype, "real floating"))

    def is_integer(self, x: Array) -> bool:
        """Return whether ``x`` has an integer dtype."""
        return bool(self.xp.isdtype(x.dtype, "integral"))

    def widened(self, x: Array) -> Array:
        """Cast 16-bit floating-point numbers to float32, for sums; return others unchanged."""
        short = self.is_floating(x) and self.xp.finfo(x.dtype).bits < 32
        return self.xp.astype(x, self.xp.float32) if short else x

    def lowest(self, x: Array) -> float:
        """Return the smallest finite number of the dtype of ``x``."""
        info = self.xp.finfo(x.dtype) if self.is_floating(x) else self.xp.iinfo(x.dtype)
        return info.min  # type: ignore[no-any-return]

    def lower_bound(self, x: Array) -> float:
        """Return the identity of max: -inf, or the lowest integer."""
        return -math.inf if self.is_floating(x) else self.lowest(x)

    def promote(self, *arrays: Array | None, dtype: DType | None = None) -> list[Array]:
        """Cast arrays to ``dtype``, or to their common one if it is None; ``None`` stays ``None``.

        Raises
        ------
        TypeError
            If an array belongs to another library, or the library has no such dtype.
        ValueError
            If arrays are on devices that are not combined.
        """
        target, is_same = None if dtype is None else self.dtype(dtype), True
        for a in arrays:
            if a is None:
                continue
            if not isinstance(a, self.classes) and not self.owns(a):
                raise TypeError(_expected_one_library(self.xp.__name__, a))
            if target is None:
                target = a.dtype
            elif a.dtype != target:
                is_same = False
                target = target if dtype is not None else self.xp.result_type(target, a.dtype)
        self.check_devices(*arrays)
        if is_same:
            return list(arrays)
        return [a if a is None or a.dtype == target else self.xp.astype(a, target) for a in arrays]

    def dtype(self, dtype: DType) -> DType:
        """Return the library's own dtype for a name such as ``"float32"``, or for a dtype of any library."""
        found = getattr(self.xp, dtype_name(dtype), None)
        if found is None:
            raise TypeError(f"expected a dtype of {self.xp.__name__}, got {dtype!r:.100}")
        return found

    def matmul(self, a: Array, b: Array, precision: object = None) -> Array:
        """Multiply matrices.

        Parameters
        ----------
        a, b : array of shape (..., n, k) and (..., k, m)
            Factors.
        precision : optional
            Precision of JAX. With ``"highest"``, no library rounds factors; PyTorch does not under autocast either.

        Returns
        -------
        array of shape (..., n, m)
            The product.
        """
        return self.xp.matmul(a, b)

    def pieces(self, x: Array, sizes: Sequence[int], axis: int) -> list[Array]:
        """Split ``x`` along an axis, counted from the end, into slices of these sizes."""
        ends = [0, *itertools.accumulate(sizes)]
        rest = (slice(None),) * (-axis - 1)
        return [x[(..., slice(*at), *rest)] for at in itertools.pairwise(ends)]

    def components(self, x: Array) -> list[Array]:
        """Return the slices of ``x`` along its last axis, which is short."""
        return [x[..., i] for i in range(x.shape[-1])]

    def quotient(self, x: Array, scale: Array) -> Array:
        """Return ``x / scale``, which no compiler merges with another quotient: ``scale * y`` can overflow."""
        return x / scale

    def store(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the arrays: a hint to compilers to compute them once, and not again in every fused loop."""
        return arrays

    # -- derivatives ----------------------------------------------------------------------------------------

    def stop_gradient(self, x: Array) -> Array:
        """Return ``x``, treated as a constant by automatic differentiation."""
        return x

    def derivative(self, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """Return the derivative of a function of one array along a vector of ones."""
        raise TypeError(f"derivatives need JAX or PyTorch, got {self.xp.__name__}")

    # -- functions ------------------------------------------------------------------------------------------

    def erf(self, x: Array) -> Array:
        r"""Return the error function.

        Below 2 by the series (https://dlmf.nist.gov/7.6.E2)
        :math:`\mathrm{erf}(x) = \frac{2}{\sqrt\pi} e^{-x^2} \sum_n \frac{2^n x^{2n+1}}{(2n+1)!!}`, whose
        terms all have one sign, and above by the continued fraction (https://dlmf.nist.gov/7.9)
        :math:`1 - \frac{e^{-x^2}}{\sqrt\pi} \frac{1}{x +} \frac{1/2}{x +} \frac{2/2}{x +} \frac{3/2}{x +} \dots`
        """
        xp = self.xp
        size = xp.abs(x)
        near = xp.where(size < 2.0, x, xp.zeros_like(x))
        term = total = near
        for n in range(1, 33):
            term = term * (near * near) * (2.0 / (2 * n + 1))
            total = total + term
        total = total * xp.exp(-(near * near)) * (2.0 / math.sqrt(math.pi))

        far = xp.clip(size, 2.0, 7.0)
        fraction = far
        for n in range(40, 0, -1):
            fraction = far + 0.5 * n / fraction
        rest = xp.exp(-(far * far)) / (fraction * math.sqrt(math.pi))
        return xp.where(size < 2.0, total, xp.sign(x) * (1.0 - rest))

    # -- gather and segments --------------------------------------------------------------------------------

    def take(self, x: Array, indices: Array) -> Array:
        """Return ``x[indices]`` along axis 0; rows of indices outside ``[0, len(x))`` are zero.

        Parameters
        ----------
        x : array of shape (N, ...)
            Values to gather from.
        indices : integer array of shape (K,)
            Row numbers.

        Returns
        -------
        array of shape (K, ...)
            The rows.
        """
        xp = self.xp
        num = x.shape[0]
        if num == 0:
            return xp.zeros((indices.shape[0], *x.shape[1:]), dtype=x.dtype, device=self.device(x))
        indices = self.as_index(indices)
        valid = (indices >= 0) & (indices < num)
        rows = xp.take(x, xp.where(valid, indices, xp.zeros_like(indices)), axis=0)
        return xp.where(self._rows_like(valid, rows), rows, xp.zeros_like(rows))

    def segment_sum(self, x: Array, segments: Array, num_segments: int, indices_are_sorted: bool = False) -> Array:
        """Sum rows of ``x`` that have the same segment number; numbers out of range are padding.

        Parameters
        ----------
        x : array of shape (K, ...)
            Values.
        segments : integer array of shape (K,)
            The segment that each row belongs to.
        num_segments : int
            Number of segments.
        indices_are_sorted : bool
            A promise that ``segments`` ascends, which some libraries make use of.

        Returns
        -------
        array of shape (num_segments, ...)
            The sums; zero for empty segments.
        """
        xp = self.xp
        one_hot = xp.astype(self._membership(segments, num_segments), x.dtype)
        flat = xp.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
        return xp.reshape(xp.matmul(one_hot, flat), (num_segments, *x.shape[1:]))

    def segment_max(self, x: Array, segments: Array, num_segments: int) -> Array:
        """Return the largest row entries of every segment.

        Empty segments give ``-inf``, or the lowest number of an integer dtype.
        """
        xp = self.xp
        member = self._membership(segments, num_segments)
        member = xp.reshape(member, (*member.shape, *(1,) * (x.ndim - 1)))
        lowest = xp.full((1,), self.lower_bound(x), dtype=x.dtype, device=self.device(x))
        if x.shape[0] == 0:
            return xp.broadcast_to(lowest, (num_segments, *x.shape[1:]))
        return xp.max(xp.where(member, x[None, ...], lowest), axis=1)

    def _membership(self, segments: Array, num_segments: int) -> Array:
        xp, segments = self.xp, self.as_index(segments)
        numbers = xp.arange(num_segments, dtype=segments.dtype, device=self.device(segments))
        return numbers[:, None] == segments[None, :]

    def _rows_like(self, mask: Array, rows: Array) -> Array:
        return self.xp.reshape(mask, (*mask.shape, *(1,) * (rows.ndim - mask.ndim)))

    # -- components of features ------------------------------------------------------------------------------

    def scale_components(self, x: Array, w: Array) -> Array:
        """Multiply all components of features ``x`` (..., P, M, F or 1) by factors ``w`` (..., F)."""
        return x * w[..., None, None, :]

    def sum_components(self, x: Array) -> Array:
        """Sum over the last axis but one, which is short."""
        return self.xp.sum(x, axis=-2)

    # -- random numbers -------------------------------------------------------------------------------------

    def split(self, generator: Generator, num: int) -> list[Generator]:
        """Return generators of independent numbers: here the same one several times, as it advances."""
        return [generator] * num

    def random_uniform(self, generator: Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Draw uniform numbers in [0, 1) with the library's own generator."""
        raise TypeError(f"random numbers need NumPy, JAX or PyTorch, got {self.xp.__name__}")

    def random_normal(self, generator: Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Draw normal numbers with the library's own generator."""
        raise TypeError(f"random numbers need NumPy, JAX or PyTorch, got {self.xp.__name__}")

    def random_truncated_normal(self, generator: Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        r"""Draw from a normal distribution cut off at -2 and 2, by inverting its distribution function."""
        # erfinv by Newton's method: erf is smooth and concave on each side, and |y| <= erf(sqrt 2) keeps it tame.
        xp = self.xp
        bound = math.erf(math.sqrt(2.0))
        y = (2.0 * self.random_uniform(generator, shape, dtype) - 1.0) * bound
        x = y
        for _ in range(30):
            x = x - (self.erf(x) - y) * (0.5 * math.sqrt(math.pi)) * xp.exp(x * x)
        return xp.clip(x * math.sqrt(2.0), -2.0, 2.0)
