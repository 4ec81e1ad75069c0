"""The backend protocol, written in the array API standard alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

from e3any_backends.coupling import (
    Coupling,
    MergedTables,
    contract_entries,
    couple_by_matmul,
    couple_pairs_by_matmul,
    feature_shapes,
    merged_axes,
    merged_number,
)
from e3any_backends.matrix_coupling import (
    MatrixCoupling,
    couple_matrices_by_contraction,
    couple_matrices_by_matmul,
)
from e3any_backends.tables import Tables, attribute, lookup

Array: TypeAlias = Any
Namespace: TypeAlias = Any


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype of any library."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return name or str(dtype).rpartition(".")[2]


class Backend:
    """Operations that the standard has no word for, in their standard-only form.

    Parameters
    ----------
    xp : namespace
        An array API namespace.

    Attributes
    ----------
    xp : namespace
        The array API namespace of the library.
    split_kernel_size : int
        From this size of matrices on, one product per degree is faster than a batch of one per component, for which
        the matrix of a degree is copied, but no features.
    """

    split_kernel_size = 256 * 256 + 1

    def __init__(self, xp: Namespace) -> None:
        self.xp = xp

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array that the library computes with."""
        return array_api_compat.is_array_api_obj(x) and array_api_compat.array_namespace(x) is self.xp

    def device(self, x: Array) -> Any:
        """Return the device of ``x``."""
        return array_api_compat.device(x)

    def check_devices(self, *arrays: Any) -> None:
        """Raise a ValueError if arrays are on devices that are not combined, unless the library itself does."""

    # -- constants and dtypes -------------------------------------------------------------------------------

    def constant(self, table: Any, like: Array, dtype: Any = None) -> Array:
        """Return a NumPy table or Python number in the library, dtype and device of ``like``, not to be written to."""
        return self.xp.asarray(
            np.require(table, requirements=["C", "W"]),  # others are copied: PyTorch takes neither
            dtype=like.dtype if dtype is None else dtype,
            device=self.device(like),
        )

    def index(self, table: Any, like: Array) -> Array:
        """Return a NumPy table of positions in the library and on the device of ``like``, not to be written to."""
        return self.constant(table, like, dtype=self.xp.int64)

    def table(self, function: Callable[..., Any], *arguments: Any, like: Array) -> Array:
        """Return a table in the library and on the device of ``like``, not to be written to.

        Parameters
        ----------
        function : callable
            ``function(*arguments)`` returns an array of NumPy; it is called once and never traced.
        *arguments
            Hashable arguments, such as numbers and tuples of numbers.
        like : array
            Where the table is used.

        Returns
        -------
        array
            The table: real numbers have the dtype of ``like``, integers number rows, booleans stay what they are.
        """
        table = lookup(function, *arguments)
        if table.dtype.kind == "f":
            return self.constant(table, like)
        return self.constant(table, like, dtype=self.xp.bool) if table.dtype.kind == "b" else self.index(table, like)

    def table_of(self, tables: Tables, name: str, like: Array) -> Array:
        """Return an attribute of an object as a table; see :meth:`table`."""
        return self.table(attribute, tables.number, name, like=like)

    def aligned(self, x: Array, other: Array) -> Array:
        """Return ``x`` as it is combined, entry by entry, with an array of a higher rank.

        The standard broadcasts. Where a library may be told to refuse arrays of different ranks, the leading axes that
        ``x`` lacks are added, of length 1.
        """
        return x

    def select(self, x: Array, table: Array, axis: int) -> Array:
        """Return the slices of ``x`` along an axis that a table of positions names."""
        return self.xp.take(x, table, axis=axis)

    def as_index(self, x: Array) -> Array:
        """Cast integers of any width to a dtype that can number all rows of an array."""
        return x if x.dtype in (self.xp.int32, self.xp.int64) else self.xp.astype(x, self.xp.int64)

    def is_floating(self, x: Array) -> bool:
        """Return whether ``x`` has a real floating-point dtype (16-bit ones included)."""
        return bool(self.xp.isdtype(x.dtype, "real floating"))

    def is_integer(self, x: Array) -> bool:
        """Return whether ``x`` has an integer dtype."""
        return bool(self.xp.isdtype(x.dtype, "integral"))

    def widened(self, x: Array) -> Array:
        """Return 16-bit floating-point numbers in float32, in which their sums are taken; others as they are."""
        short = self.is_floating(x) and self.xp.finfo(x.dtype).bits < 32
        return self.xp.astype(x, self.xp.float32) if short else x

    def lowest(self, x: Array) -> float:
        """Return the smallest finite number of the dtype of ``x``."""
        info = self.xp.finfo(x.dtype) if self.is_floating(x) else self.xp.iinfo(x.dtype)
        return info.min  # type: ignore[no-any-return]

    def lower_bound(self, x: Array) -> float:
        """Return what no number of the dtype of ``x`` is smaller than, the largest of nothing."""
        return -math.inf if self.is_floating(x) else self.lowest(x)

    def promote(self, *arrays: Array | None, dtype: Any = None) -> list[Any]:
        """Cast arrays to ``dtype``, or to their common one where it is None; ``None`` stays ``None``.

        Raises
        ------
        TypeError
            If an array belongs to another library, or the library has no such dtype.
        ValueError
            If arrays are on devices that are not combined.
        """
        present = [a for a in arrays if a is not None]
        for a in present:
            if not self.owns(a):
                raise TypeError(f"expected arrays of {self.xp.__name__}, got {type(a).__module__}.{type(a).__name__}")
        self.check_devices(*present)
        target = self.dtype(dtype) if dtype is not None else present[0].dtype
        if dtype is None:
            for a in present[1:]:
                target = target if a.dtype == target else self.xp.result_type(target, a.dtype)
        return [a if a is None or a.dtype == target else self.xp.astype(a, target) for a in arrays]

    def dtype(self, dtype: Any) -> Any:
        """Return the library's own dtype for a name such as ``"float32"``, or for a dtype of any library."""
        found = getattr(self.xp, dtype_name(dtype), None)
        if found is None:
            raise TypeError(f"expected a dtype of {self.xp.__name__}, got {dtype!r:.100}")
        return found

    def matmul(self, a: Array, b: Array, precision: Any = None) -> Array:
        """Multiply matrices.

        Parameters
        ----------
        a, b : array of shape (..., n, k) and (..., k, m)
            Factors.
        precision : optional
            Precision of JAX. With ``"highest"`` no library rounds factors, in PyTorch not under autocast either.

        Returns
        -------
        array of shape (..., n, m)
            The product.
        """
        return self.xp.matmul(a, b)

    def pieces(self, x: Array, sizes: Sequence[int], axis: int) -> list[Array]:
        """Return the slices of these sizes, next to each other, that an axis (counted from the end) consists of."""
        ends = [0, *itertools.accumulate(sizes)]
        rest = (slice(None),) * (-axis - 1)
        return [x[(..., slice(*at), *rest)] for at in itertools.pairwise(ends)]

    def components(self, x: Array) -> list[Array]:
        """Return the slices of ``x`` along its last axis, which is short."""
        return [x[..., i] for i in range(x.shape[-1])]

    def quotient(self, x: Array, scale: Array) -> Array:
        """Return ``x / scale``, whose quotient by another number no compiler turns into one by a product."""
        return x / scale

    def store(self, *arrays: Array) -> tuple[Array, ...]:
        """Return arrays as they are, computed once: a hint to compilers that repeat what is cheap to them."""
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

        Below 2 by :math:`\mathrm{erf}(x) = \frac{2}{\sqrt\pi} e^{-x^2} \sum_n \frac{2^n x^{2n+1}}{(2n+1)!!}`, whose
        terms all have one sign, and above by the continued fraction
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

    def harmonics(
        self,
        plain: Callable[[Array], Array],
        r: Array,
        factors: tuple[float, ...],
        order: tuple[int, ...],
        unit: bool,
    ) -> Array:
        """Evaluate real solid harmonics of vectors, or spherical ones.

        Parameters
        ----------
        plain : callable
            What is to be computed, for arrays (..., 3). It is hashable, and equal to others that compute the same.
        r : array of shape (..., 3)
            Vectors.
        factors : tuple of float
            Factor of every degree 0, ..., L.
        order : tuple of int
            The position in the result of each component, degree by degree and m = -l..l.
        unit : bool
            Whether vectors are normalised first.

        Returns
        -------
        array of shape (..., (L+1)**2)
            The harmonics.
        """
        return plain(r)

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

    def serves_edges(self, *arrays: Array) -> bool:
        """Return whether :meth:`edge_products` is a kernel for such arrays, faster than sums over dense lists."""
        return False

    def edge_products(
        self,
        x: Array,
        angular: Array,
        radial: Array,
        src: Array,
        dst: Array,
        num: int,
        indices_are_sorted: bool = False,
    ) -> Array:
        r"""Sum products of basis functions and features over edges.

        .. math:: A_{imk} = \sum_{e \to i} Y_{em} \, g_{el(m)} \, x_{s(e)k}

        Parameters
        ----------
        x : array of shape (N, K, F)
            Components of the nodes that send.
        angular : array of shape (E, (L+1)**2)
            Angular parts Y.
        radial : array of shape (E, L+1, F)
            Radial parts g of degree l = degree(m).
        src, dst : integer arrays of shape (E,)
            The nodes that send and receive; numbers outside [0, N) or [0, num) are padding.
        num : int
            Number of nodes that receive.
        indices_are_sorted : bool
            A promise that ``dst`` ascends.

        Returns
        -------
        array of shape (num, (L+1)**2, K, F)
            The sums.
        """
        xp = self.xp
        gathered = self.take(x, src)[:, None, ...]
        # What padding sends is zero, but its basis need not be finite.
        src, dst = self.as_index(src), self.as_index(dst)
        dst = xp.where((src >= 0) & (src < x.shape[0]), dst, xp.full_like(dst, num))
        sums = []
        for l in range(radial.shape[1]):
            scaled = self.scale_components(gathered, radial[:, l, :])[:, 0, ...]
            for m in range(l**2, (l + 1) ** 2):
                sums.append(self.segment_sum(scaled * angular[:, m, None, None], dst, num, indices_are_sorted))
        return xp.stack(sums, axis=1)

    # -- coupling -------------------------------------------------------------------------------------------

    def scale_components(self, x: Array, w: Array) -> Array:
        """Multiply all components of features ``x`` (..., P, M, F or 1) by factors ``w`` (..., F)."""
        return x * w[..., None, None, :]

    def sum_components(self, x: Array) -> Array:
        """Sum over the last axis but one, which is short."""
        return self.xp.sum(x, axis=-2)

    def couple(self, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
        r"""Couple two features: :math:`z_k = \sum_s \sum_{(i,j,k,p,c)} c \, w_{sp} x_{si} y_{sj}`.

        Parameters
        ----------
        x : array of shape (S, *lead, coupling.num_x, F)
            First factor.
        y : array of shape (S, *lead, coupling.num_y, F)
            Second factor, of the same rank.
        w : array of shape (S, *lead, coupling.num_paths, F)
            Weights, of the same rank.
        coupling : Coupling
            Table of couplings.

        Returns
        -------
        array of shape (*lead, coupling.num_z, F)
            The product. Axis 0 of the factors is summed over; the axes between it and the components broadcast.
        """
        if self.has_contraction(x, y, w):
            return self.contract((x, y, w), coupling.number, "product_form", 2)
        return couple_by_matmul(self, x, y, w, coupling)

    def couple_pairs(self, pairs: Array, w: Array, coupling: Coupling) -> Array:
        r"""Couple sums of products: :math:`z_k = \sum_s \sum_{(i,j,k,p,c)} c \, w_{sp} A_{sij}`.

        Parameters
        ----------
        pairs : array of shape (S, *lead, coupling.num_x, coupling.num_y, F)
            The (sums of) products :math:`A_{ij}`.
        w : array of shape (S, *lead, coupling.num_paths, F)
            Weights.
        coupling : Coupling
            Table of couplings.

        Returns
        -------
        array of shape (*lead, coupling.num_z, F)
            The product. Axis 0 is summed over; the axes between it and the components broadcast.
        """
        if self.has_contraction(pairs, w):
            flat = merged_axes(self.xp, pairs, 2, pairs.ndim - 3)
            return self.contract((flat, w), coupling.number, "pair_form", 1)
        return couple_pairs_by_matmul(self, pairs, w, coupling)

    def couple_features(
        self, plain: Callable[..., Array], x: Array, y: Array, kernel: Array, plan: MergedTables
    ) -> Array:
        """Couple two features of one or both parities.

        Parameters
        ----------
        plain : callable
            What is to be computed, for arrays of the shapes of ``x``, ``y`` and ``kernel``.
        x, y : array of shape (..., P1, (L1+1)**2, F) and (..., P2, (L2+1)**2, F)
            Factors; leading axes broadcast.
        kernel : array of shape (P1, L1+1, P2, L2+1, P3, L3+1, F)
            Weights of all couplings, forbidden ones included.
        plan : MergedTables
            The table.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.
        """
        if not self.has_contraction(x, y, kernel):
            return plain(x, y, kernel)
        return self.contract_features((x, y, kernel), lookup(merged_number, plan.number), "product_form", 2)

    def couple_pair_features(
        self, plain: Callable[..., Array], pairs: Array, kernel: Array, plan: MergedTables
    ) -> Array:
        """Couple sums of products of the components of two features, the first of which are proper tensors.

        Parameters
        ----------
        plain : callable
            What is to be computed, for arrays of the shapes of ``pairs`` and ``kernel``.
        pairs : array of shape (..., (L1+1)**2, P2, (L2+1)**2, F)
            The (sums of) products.
        kernel : array of shape (1, L1+1, P2, L2+1, P3, L3+1, F)
            Weights of all couplings, forbidden ones included.
        plan : MergedTables
            The table.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.
        """
        if not self.has_contraction(pairs, kernel):
            return plain(pairs, kernel)
        return self.contract_features((pairs, kernel), lookup(merged_number, plan.number), "pair_form", 1)

    def couple_matrices(
        self, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
    ) -> Array:
        r"""Couple two features by products of matrices, see :mod:`e3any_backends.matrix_coupling`.

        Parameters
        ----------
        x, y : array of shape (*lead, P, components, F)
            Factors, of the same rank; leading axes broadcast.
        weights : tuple of arrays of shape (2, degrees, F), (2, degrees, F) and (4, degrees, F)
            Weights of both parities of the factors, and of all products of parities.
        coupling : MatrixCoupling
            The table.

        Returns
        -------
        array of shape (*lead, P, components, F)
            The product.
        """
        if self.has_contraction(x, y, *weights):
            return couple_matrices_by_contraction(self, x, y, weights, coupling)
        return couple_matrices_by_matmul(self, x, y, weights, coupling)

    def multiply_matrices(self, x: Array, y: Array, coupling: MatrixCoupling) -> Array:
        """Multiply matrices (*lead, 2 d d, F) of both parities to (*lead, 4 d d, F), those of all products."""
        return self.contract((x[None, ...], y[None, ...]), coupling.number, "product_form", 2)

    def has_contraction(self, *arrays: Array) -> bool:
        """Return whether :meth:`contract` is better for such arrays than products of matrices."""
        return False

    def contract(self, operands: Sequence[Array], number: int, name: str, output: int) -> Array:
        r"""Evaluate the derivative of a sparse form :math:`\sum_e c_e \prod_s v^s_{i_s(e)}` with respect to one slot.

        Parameters
        ----------
        operands : sequence of arrays of shape (S, *lead, components, F)
            One for every other slot, all of one rank; axis 0 is summed over, the others broadcast.
        number : int
            Number of the tables that have the form.
        name : str
            Their attribute that it is.
        output : int
            Slot of the result.

        Returns
        -------
        array of shape (*lead, components of the slot, F)
            The contraction.
        """
        return contract_entries(self, operands, attribute(number, name), output)

    def contract_features(self, operands: Sequence[Array], number: int, name: str, output: int) -> Array:
        """Contract a form of features, with parities and components as they are, and a kernel of weights.

        Parameters
        ----------
        operands : sequence of arrays
            One or two factors and the kernel, see :meth:`couple_features` and :meth:`couple_pair_features`.
        number, name, output
            See :meth:`contract`.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The contraction.
        """
        shapes = feature_shapes([tuple(o.shape) for o in operands])
        flat = [self.xp.reshape(o, shape) for o, shape in zip(operands, shapes, strict=True)]
        product = self.contract(flat, number, name, output)
        parities, degrees = operands[-1].shape[4:6]
        return self.xp.reshape(product, (*product.shape[:-2], parities, degrees**2, product.shape[-1]))

    def serves_linear(self, x: Array, matrix: Array, precision: Any = None) -> bool:
        """Return whether :meth:`linear` is a kernel for rows (..., F) and matrices (F, G)."""
        return False

    def linear(self, x: Array, w: Array, which: Array, bias: Array | None, precision: Any = None) -> Array:
        """Multiply every component with one of several matrices, :math:`y_c = x_c W_{k(c)}`.

        Parameters
        ----------
        x : array of shape (..., C, F)
            Rows.
        w : array of shape (K, F, G)
            Matrices.
        which : integer array of shape (C,)
            The matrix that acts on each component.
        bias : array of shape (G,), optional
            What is added to component 0.
        precision : optional
            See :meth:`matmul`.

        Returns
        -------
        array of shape (..., C, G)
            The products.
        """
        xp, (*lead, size, features) = self.xp, x.shape
        columns = xp.reshape(xp.moveaxis(x, (-2,), (0,)), (size, math.prod(lead), features))
        y = self.matmul(columns, self.select(w, which, axis=0), precision)
        if bias is not None and y.shape[1]:
            y = y + xp.concat([xp.reshape(bias, (1, 1, -1)), xp.zeros_like(y[1:, :1, :])], axis=0)
        return xp.moveaxis(xp.reshape(y, (size, *lead, w.shape[-1])), (0,), (-2,))

    # -- random numbers -------------------------------------------------------------------------------------

    def split(self, generator: Any, num: int) -> list[Any]:
        """Return generators of independent numbers: here the one that advances, several times."""
        return [generator] * num

    def random_uniform(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw uniform numbers in [0, 1) with the library's own generator."""
        raise TypeError(f"random numbers need NumPy, JAX or PyTorch, got {self.xp.__name__}")

    def random_normal(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        """Draw normal numbers with the library's own generator."""
        raise TypeError(f"random numbers need NumPy, JAX or PyTorch, got {self.xp.__name__}")

    def random_truncated_normal(self, generator: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        r"""Draw from a normal distribution cut off at -2 and 2, by inverting its distribution function."""
        # erfinv by Newton's method: erf is smooth and concave on each side, and |y| <= erf(sqrt 2) keeps it tame.
        xp = self.xp
        bound = math.erf(math.sqrt(2.0))
        y = (2.0 * self.random_uniform(generator, shape, dtype) - 1.0) * bound
        x = y
        for _ in range(30):
            x = x - (self.erf(x) - y) * (0.5 * math.sqrt(math.pi)) * xp.exp(x * x)
        return xp.clip(x * math.sqrt(2.0), -2.0, 2.0)
