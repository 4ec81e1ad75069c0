r"""Multilinear maps with two kernels each: the value, and the gradients with respect to all operands in one pass.

Gradients of gradients of a multilinear map are sums of its values and gradients at other operands. So two kernels are
enough for derivatives of every order. For example, :math:`\nabla_x (u \cdot \nabla_x \phi(x, y))` is zero, and
:math:`\nabla_y (u \cdot \nabla_x \phi(x, y)) = \nabla_y \phi(u, y)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from operator import attrgetter
from typing import ClassVar, Protocol, cast

import numpy as np

from e3any_backends.arrays import Array, Arrays, Shape, dtype_name
from e3any_backends.forms.couplings import SparseForm, feature_shapes
from e3any_backends.forms.tables import tables_of
from e3any_backends.kernels import contraction, edges, linear
from e3any_backends.kernels.code.edges import edge_program
from e3any_backends.kernels.memory import empty, zeros
from e3any_backends.kernels.parallel.pool import Count, add_partial_outputs, cpus, num_shares, run
from e3any_backends.kernels.path_map import PathSums
from e3any_backends.references.contractions import contract_entries
from e3any_backends.references.edges import edge_products_by_segments
from e3any_backends.references.linear import linear_by_matmul

__all__ = ["MAPS", "Contraction", "Contractions", "EdgeProducts", "Linear", "MultilinearMap", "PathSums"]
__all__ += ["gradients_of", "value_of"]

DType = np.dtype[np.floating]
_shape_of = attrgetter("shape")


class MultilinearMap(Protocol):
    """A map that is linear in each of its operands, and depends on arrays of integers, its indices, as well.

    Arrays are those of NumPy, contiguous. ``count`` returns the number of threads.
    """

    name: ClassVar[str]

    @property
    def arguments(self) -> tuple[int, ...]:
        """The arguments of the map's class, so that ``MAPS[name](*arguments)`` is equal to the map."""

    def shape(self, operands: list[Array]) -> Shape:
        """Return the shape of the value."""

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the value."""

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the gradients of the sum of ``g`` times the value, with respect to each operand."""

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the value by the reference, for arrays of any library."""


@dataclass(frozen=True)
class Contraction:
    """The map of :meth:`Backend.contract`, with an operand for every slot but that of the output.

    Parameters
    ----------
    form_number : int
        Number of the :class:`~e3any_backends.forms.couplings.SparseForm`.
    output : int
        Slot of the output.
    is_of_features : int
        1 if operands are features and a kernel of weights, with axes for parities, as
        :meth:`~e3any_backends.generic.Backend.couple_features` takes them.
    """

    form_number: int
    output: int
    is_of_features: int = 0
    name: ClassVar[str] = "contraction"

    @property
    def arguments(self) -> tuple[int, ...]:
        """See :class:`MultilinearMap`."""
        return self.form_number, self.output, self.is_of_features

    @property
    def form(self) -> SparseForm:
        """The form."""
        form: SparseForm = tables_of(self.form_number)
        return form

    def shape(self, operands: list[Array]) -> Shape:
        """Return (*lead, components, F), or (..., P, components, F) of features."""
        return self.shape_of([tuple(o.shape) for o in operands])

    def shape_of(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the value for operands of given shapes."""
        _, *lead, components, features = self.flat_shapes(shapes)[-1]
        if not self.is_of_features:
            return *lead, components, features
        parities, degrees = shapes[-1][4:6]
        return *lead, parities, degrees**2, features

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the contraction."""
        return value_of(self, tuple(map(_shape_of, operands)), operands[0].dtype)(operands, count)[0]

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the gradients: contractions with ``g`` in the slot of the output."""
        gradients = gradients_of(self, tuple(map(_shape_of, operands)), g.dtype)
        return gradients([*operands[: self.output], g, *operands[self.output :]], count)

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the contraction by the reference."""
        shapes = [tuple(o.shape) for o in operands]
        *flat, _ = self.flat_shapes(shapes)
        operands = [arrays.xp.reshape(o, shape) for o, shape in zip(operands, flat, strict=True)]
        value = contract_entries(arrays, operands, self.form, self.output)
        return arrays.xp.reshape(value, self.shape_of(shapes))

    def flat_shapes(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Return the shapes (S, *lead, components, F) of the operands, and last that of the value."""
        flat = feature_shapes(shapes) if self.is_of_features else list(shapes)
        *lead, features = _broadcast([(*shape[1:-2], shape[-1]) for shape in flat])
        return [*flat, (1, *lead, self.form.sizes[self.output], features)]


@dataclass(frozen=True)
class Contractions:
    """A list of contractions for arrays of given shapes.

    Parameters
    ----------
    form, shapes, outs, terms
        See :func:`e3any_backends.kernels.contraction.plan`.
    dtype : dtype
        The dtype of all arrays.
    results : tuple of tuple of int
        The shapes in which outputs are returned.
    """

    form: SparseForm
    shapes: tuple[Shape, ...]
    outs: tuple[tuple[int, Shape], ...]
    terms: tuple[tuple[int, tuple[int, ...]], ...]
    dtype: DType
    results: tuple[Shape, ...]

    @cached_property
    def plan(self) -> contraction.Plan | None:
        """The plan, if the shapes have one; see :func:`e3any_backends.kernels.contraction.plan`."""
        return contraction.plan(self.form, self.shapes, self.outs, self.terms, self.dtype.name)

    def __call__(self, arrays: Sequence[Array], count: Count) -> list[Array]:
        """Return the outputs."""
        if self.plan is None:
            return self._of_broadcast_arrays(arrays, count)
        results, addresses = self.empty_results(), []
        for array in (*arrays, *results):
            addresses.append(array.__array_interface__["data"][0])
        self.write(addresses, [*arrays, *results], count)
        return results

    def empty_results(self) -> list[Array]:
        """Return arrays for the outputs."""
        results = []
        for shape in self.results:
            results.append(empty(shape, self.dtype))
        return results

    def write(self, addresses: list[int], arrays: Sequence[Array], count: Count) -> None:
        """Write the outputs of a list that has a plan.

        Parameters
        ----------
        addresses : list of int
            The address of every array, operands first.
        arrays : sequence of array
            The arrays, which can be tensors on the CPU.
        count : callable
            Returns the number of threads.
        """
        plan, table = cast(contraction.Plan, self.plan), np.array(addresses, np.intp)
        num = num_shares(plan.work, count, plan.partial_size, plan.rows)
        if num == 1:
            contraction.contract(0, 1, table, plan.schedule, plan.code)
        else:
            _contract_in_shares(plan, table, num, arrays)

    def _of_broadcast_arrays(self, arrays: Sequence[Array], count: Count) -> list[Array]:
        """Return the outputs for shapes that have no plan: they are empty, or broadcast in too many ways."""
        shapes = [*self.shapes, *(shape for _, shape in self.outs)]
        if any(0 in shape for shape in shapes):
            return [np.zeros(shape, self.dtype) for shape in self.results]
        *lead, features = _broadcast([(*shape[:-2], shape[-1]) for shape in shapes])
        flat = [a.reshape(shape) for a, shape in zip(arrays, self.shapes, strict=True)]
        wide = [np.ascontiguousarray(np.broadcast_to(a, (*lead, a.shape[-2], features))) for a in flat]
        outs = tuple((slot, (*lead, shape[-2], features)) for slot, shape in self.outs)
        same = Contractions(
            self.form, tuple(a.shape for a in wide), outs, self.terms, self.dtype, tuple(shape for _, shape in outs)
        )
        return [
            _sum_to_shape(value, shape).reshape(result)
            for value, (_, shape), result in zip(same(wide, count), self.outs, self.results, strict=True)
        ]


def _contract_in_shares(plan: contraction.Plan, addresses: Array, num: int, arrays: Sequence[Array]) -> None:
    """Contract in shares of rows. All but the first have partial outputs for outputs that are sums over rows."""
    table = np.repeat(addresses[None], num, axis=0)
    totals = {n: np.asarray(arrays[n]) for n in plan.partial_sizes}
    partials = {n: empty((num - 1, *total.shape), total.dtype) for n, total in totals.items()}
    for n, partial in partials.items():
        table[1:, n] = partial.__array_interface__["data"][0] + np.arange(num - 1) * totals[n].nbytes
    shares = [(share, num, row, plan.schedule, plan.code) for share, row in enumerate(table)]
    run(contraction.contract, shares, memory=[*arrays, *partials.values()])
    for n, partial in partials.items():
        add_partial_outputs(totals[n], partial)


@lru_cache(maxsize=1024)
def value_of(kernel: Contraction, shapes: tuple[Shape, ...], dtype: Hashable) -> Contractions:
    """Return the list of one contraction that computes the value, for a dtype of any library."""
    *flat, out = kernel.flat_shapes(shapes)
    terms = ((0, tuple(range(len(flat)))),)
    result = kernel.shape_of(shapes)
    return Contractions(kernel.form, tuple(flat), ((kernel.output, out),), terms, _numpy_dtype(dtype), (result,))


@lru_cache(maxsize=1024)
def gradients_of(kernel: Contraction, shapes: tuple[Shape, ...], dtype: Hashable) -> Contractions:
    """Return the contractions that compute the gradients, of operands with the cotangent in the output's slot."""
    *flat, out = kernel.flat_shapes(shapes)
    slots = [slot for slot in range(len(flat) + 1) if slot != kernel.output]
    terms = tuple((n, tuple(s for s in range(len(flat) + 1) if s != slot)) for n, slot in enumerate(slots))
    operands, outs = (*flat[: kernel.output], out, *flat[kernel.output :]), tuple(zip(slots, flat, strict=True))
    return Contractions(kernel.form, operands, outs, terms, _numpy_dtype(dtype), shapes)


def _numpy_dtype(dtype: Hashable) -> DType:
    return np.dtype(dtype_name(dtype))


def _sum_to_shape(value: Array, shape: Shape) -> Array:
    return value.sum(axis=tuple(n for n, size in enumerate(shape) if size != value.shape[n]), keepdims=True)


@dataclass(frozen=True)
class Linear:
    """The map of :meth:`Backend.linear`, of rows and matrices whose sizes are multiples of the vector length."""

    name: ClassVar[str] = "linear"

    @property
    def arguments(self) -> tuple[int, ...]:
        """See :class:`MultilinearMap`."""
        return ()

    def shape(self, operands: list[Array]) -> Shape:
        """Return (..., C, G)."""
        x, w = operands
        return *x.shape[:-1], w.shape[2]

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the products."""
        x, w = operands
        return self.affine(x, w, indices[0], np.zeros(w.shape[2], w.dtype), count=count)

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the gradients with respect to rows and matrices."""
        x, w = operands
        num = num_shares(linear.product_work(x, w), count, w.size)
        dw = zeros((num, *w.shape), w.dtype)
        run(linear.matrix_vjp, [(share, num, dw[share], _as_rows(x), _as_rows(g), *indices) for share in range(num)])
        add_partial_outputs(dw[0], dw[1:])
        dx = self.value([g, np.ascontiguousarray(w.swapaxes(1, 2))], indices, count=count)
        return [dx, dw[0]]

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the products by the reference."""
        x, w = operands
        return linear_by_matmul(arrays, x, w, indices[0], None)

    def affine(self, x: Array, w: Array, which: Array, bias: Array, *, count: Count = cpus) -> Array:
        """Return the products, with a bias added to those of component 0."""
        out = empty(self.shape([x, w]), x.dtype)
        num = num_shares(linear.product_work(x, w), count)
        run(linear.product, [(share, num, _as_rows(out), _as_rows(x), w, which, bias) for share in range(num)])
        return out


@dataclass(frozen=True)
class EdgeProducts:
    """The map of :meth:`Backend.edge_products`, of features, angular and radial parts.

    Parameters
    ----------
    num : int
        Number of receivers.
    """

    num: int
    name: ClassVar[str] = "edge_products"

    @property
    def arguments(self) -> tuple[int, ...]:
        """See :class:`MultilinearMap`."""
        return (self.num,)

    def shape(self, operands: list[Array]) -> Shape:
        """Return (num, M, K, F)."""
        x, angular, _ = operands
        return self.num, angular.shape[1], *x.shape[1:]

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the sums."""
        x, angular, _ = operands
        src, dst = indices
        size, features = x.shape[1], x.shape[2]
        out = empty((self.num, angular.shape[1], size * features), x.dtype)
        num = num_shares(edges.work(x, angular), count)
        code = _edge_code("edge_products", angular.shape[1], features, x.dtype)
        rest = out, *operands, src, *edges.sorted_edges(src, dst, len(x), self.num), code
        if num == 1:
            edges.product(0, 1, *rest)
        else:
            run(edges.product, [(share, num, *rest) for share in range(num)])
        return out.reshape(self.num, angular.shape[1], size, features)

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the gradients with respect to features, angular and radial parts."""
        x, angular, radial = operands
        num = num_shares(3 * edges.work(x, angular), count, x.size)
        dx = zeros((num, *x.shape), g.dtype)
        gradients = [empty(angular.shape, g.dtype), empty(radial.shape, g.dtype)]
        src, dst = indices
        code = _edge_code("edge_gradients", angular.shape[1], x.shape[2], x.dtype)
        flat = g.reshape(*g.shape[:2], x.shape[1] * x.shape[2])
        listed = src, *edges.sorted_edges(src, dst, len(x), self.num), code
        rest = *gradients, *operands, flat, *listed
        run(edges.vjp, [(share, num, dx[share], *rest) for share in range(num)])
        add_partial_outputs(dx[0], dx[1:])
        return [dx[0], *gradients]

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the sums by the reference."""
        x, angular, radial = operands
        src, dst = indices
        return edge_products_by_segments(arrays, x, angular, radial, src, dst, self.num)


@cache
def _edge_code(operation: str, harmonics: int, features: int, dtype: DType) -> int:
    """Return the address of unrolled code for edges, or 0 where there is none."""
    program = edge_program(operation, harmonics, features, dtype.name)
    return 0 if program is None else program.code


#: The multilinear maps by name.
MAPS: dict[str, Callable[..., MultilinearMap]] = {
    kernel.name: kernel for kernel in (Contraction, Linear, EdgeProducts, PathSums)
}


def _broadcast(shapes: list[Shape]) -> Shape:
    """Return the shape that shapes broadcast to; sizes can be symbols of torch.compile."""
    if all(shape == shapes[0] for shape in shapes[1:]):
        return shapes[0]
    rank = max(len(shape) for shape in shapes)
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*aligned, strict=True))


def _as_rows(x: Array) -> Array:
    """Merge all axes of a contiguous array but the last two."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
