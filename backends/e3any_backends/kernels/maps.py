"""Multilinear maps with kernels: what they compute, and all their first derivatives in one pass.

Derivatives of a multilinear map, and those of its derivatives, are sums of its values and first derivatives at other
arguments. So these two kernels serve derivatives of every order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from operator import attrgetter
from typing import Any, ClassVar, Protocol

import numpy as np

from e3any_backends.arrays import Array, Arrays
from e3any_backends.forms.couplings import SparseForm, feature_shapes
from e3any_backends.forms.tables import tables_of
from e3any_backends.kernels import contraction, edges, harmonics, linear
from e3any_backends.kernels.code.edges import edge_program
from e3any_backends.kernels.memory import empty, zeros
from e3any_backends.kernels.parallel.pool import Count, add_copies, cpus, num_parts, run
from e3any_backends.references.contractions import contract_entries
from e3any_backends.references.edges import edge_products_by_segments
from e3any_backends.references.linear import linear_by_matmul

__all__ = ["MAPS", "Contraction", "EdgeProducts", "Harmonics", "Linear", "MultilinearMap"]

Shape = tuple[Any, ...]
_shape_of = attrgetter("shape")


class MultilinearMap(Protocol):
    """A map that is linear in each of its operands; indices are arrays of integers that it also depends on."""

    name: ClassVar[str]

    @property
    def arguments(self) -> tuple[int, ...]:
        """What :data:`MAPS` makes the map from."""

    def shape(self, operands: list[Array]) -> Shape:
        """Return the shape of the value."""

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the value for contiguous arrays of NumPy; ``count`` says how many threads there are."""

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the derivatives of the sum of ``g`` times the value, by each operand."""

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the value in the reference form, for arrays of any library."""


@dataclass(frozen=True)
class Contraction:
    """The map of :meth:`Backend.contract`, of one operand for every slot but that of the output.

    Parameters
    ----------
    form_number : int
        Number of the form.
    output : int
        Slot of the output.
    is_of_features : int
        1 for the map of :meth:`Backend.contract_features`.
    """

    form_number: int
    output: int
    is_of_features: int = 0
    name: ClassVar[str] = "contraction"

    @property
    def arguments(self) -> tuple[int, ...]:
        """What the map is made from."""
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
        return _value_of(self, tuple(map(_shape_of, operands)), operands[0].dtype)(operands, count)[0]

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the derivatives by operands: contractions with ``g`` in the slot of the output."""
        gradients = _gradients_of(self, tuple(map(_shape_of, operands)), g.dtype)
        return gradients([*operands[: self.output], g, *operands[self.output :]], count)

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the contraction in the standard alone."""
        shapes = [tuple(o.shape) for o in operands]
        *flat, _ = self.flat_shapes(shapes)
        operands = [arrays.xp.reshape(o, shape) for o, shape in zip(operands, flat, strict=True)]
        value = contract_entries(arrays, operands, self.form, self.output)
        return arrays.xp.reshape(value, self.shape_of(shapes))

    def flat_shapes(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Return the shapes (S, *lead, components, F) of operands of given shapes, and last that of the value."""
        flat = feature_shapes(shapes) if self.is_of_features else list(shapes)
        *lead, features = _broadcast([(*shape[1:-2], shape[-1]) for shape in flat])
        return [*flat, (1, *lead, self.form.sizes[self.output], features)]


@dataclass(frozen=True)
class _Contractions:
    """Contractions as :func:`e3any_backends.kernels.contraction.plan` has them, for contiguous arrays.

    Parameters
    ----------
    form, shapes, outs, terms
        See there.
    dtype : dtype
        The dtype of all arrays.
    results : tuple of tuple of int
        The shapes that outputs get in the end.
    """

    form: SparseForm
    shapes: tuple[Shape, ...]
    outs: tuple[tuple[int, Shape], ...]
    terms: tuple[tuple[int, tuple[int, ...]], ...]
    dtype: Any
    results: tuple[Shape, ...]

    @cached_property
    def _plan(self) -> contraction.Plan | None:
        return contraction.plan(self.form, self.shapes, self.outs, self.terms, self.dtype.name)

    def __call__(self, arrays: list[Array], count: Count) -> list[Array]:
        """Return the outputs."""
        plan = self._plan
        if plan is None:
            return self._by_wide_arrays(arrays, count)
        results, addresses = [], []
        for shape in self.results:
            results.append(empty(shape, self.dtype))
        for array in (*arrays, *results):
            addresses.append(array.__array_interface__["data"][0])
        parts = num_parts(plan.work, count, plan.copied, plan.rows)
        pointers = np.asarray(addresses, np.intp)
        if parts == 1:
            contraction.contract(0, 1, pointers, plan.schedule, plan.code)
        else:
            _contract_parts(plan, pointers, parts, [*arrays, *results])
        return results

    def _by_wide_arrays(self, arrays: list[Array], count: Count) -> list[Array]:
        """Return the outputs for shapes that are empty, or broadcast in too many ways."""
        shapes = [*self.shapes, *(shape for _, shape in self.outs)]
        if any(0 in shape for shape in shapes):
            return [np.zeros(shape, self.dtype) for shape in self.results]
        *lead, features = _broadcast([(*shape[:-2], shape[-1]) for shape in shapes])
        flat = [a.reshape(shape) for a, shape in zip(arrays, self.shapes, strict=True)]
        wide = [np.ascontiguousarray(np.broadcast_to(a, (*lead, a.shape[-2], features))) for a in flat]
        outs = tuple((slot, (*lead, shape[-2], features)) for slot, shape in self.outs)
        same = _Contractions(
            self.form, tuple(a.shape for a in wide), outs, self.terms, self.dtype, tuple(shape for _, shape in outs)
        )
        return [
            _sum_to_shape(value, shape).reshape(result)
            for value, (_, shape), result in zip(same(wide, count), self.outs, self.results, strict=True)
        ]


def _contract_parts(plan: contraction.Plan, addresses: Array, parts: int, arrays: list[Array]) -> None:
    """Evaluate contractions in parts, all of which but the first have copies of outputs that are sums over rows."""
    table = np.repeat(addresses[None], parts, axis=0)
    copies = {n: empty((parts - 1, *arrays[n].shape), arrays[n].dtype) for n in plan.summed}
    for n, copy in copies.items():
        table[1:, n] = copy.__array_interface__["data"][0] + np.arange(parts - 1) * arrays[n].nbytes
    rows = [(n, parts, row, plan.schedule, plan.code) for n, row in enumerate(table)]
    run(contraction.contract, rows, memory=[*arrays, *copies.values()])
    for n, copy in copies.items():
        add_copies(arrays[n], copy)


@lru_cache(maxsize=1024)
def _value_of(kernel: Contraction, shapes: tuple[Shape, ...], dtype: Any) -> _Contractions:
    """Return what computes the value for operands of given shapes."""
    *flat, out = kernel.flat_shapes(shapes)
    terms = ((0, tuple(range(len(flat)))),)
    result = kernel.shape_of(shapes)
    return _Contractions(kernel.form, tuple(flat), ((kernel.output, out),), terms, dtype, (result,))


@lru_cache(maxsize=1024)
def _gradients_of(kernel: Contraction, shapes: tuple[Shape, ...], dtype: Any) -> _Contractions:
    """Return what computes the derivatives by operands, for these with the weights of the value in its slot."""
    *flat, out = kernel.flat_shapes(shapes)
    slots = [slot for slot in range(len(flat) + 1) if slot != kernel.output]
    terms = tuple((n, tuple(s for s in range(len(flat) + 1) if s != slot)) for n, slot in enumerate(slots))
    operands = (*flat[: kernel.output], out, *flat[kernel.output :])
    return _Contractions(kernel.form, operands, tuple(zip(slots, flat, strict=True)), terms, dtype, shapes)


def _sum_to_shape(value: Array, shape: Shape) -> Array:
    return value.sum(axis=tuple(n for n, size in enumerate(shape) if size != value.shape[n]), keepdims=True)


@dataclass(frozen=True)
class Linear:
    """The map of :meth:`Backend.linear`, of rows and matrices, for matrices that fill vectors."""

    name: ClassVar[str] = "linear"

    @property
    def arguments(self) -> tuple[int, ...]:
        """What the map is made from."""
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
        """Return the derivatives by rows and matrices."""
        x, w = operands
        parts = num_parts(linear.work(x, w), count, w.size)
        dw = zeros((parts, *w.shape), w.dtype)
        run(linear.matrix_vjp, [(n, parts, dw[n], _rows(x), _rows(g), *indices) for n in range(parts)])
        add_copies(dw[0], dw[1:])
        dx = self.value([g, np.ascontiguousarray(w.swapaxes(1, 2))], indices, count=count)
        return [dx, dw[0]]

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the products in the standard alone."""
        x, w = operands
        return linear_by_matmul(arrays, x, w, indices[0], None)

    def affine(self, x: Array, w: Array, which: Array, bias: Array, *, count: Count = cpus) -> Array:
        """Return the products, with a bias added to those of component 0."""
        out = empty(self.shape([x, w]), x.dtype)
        parts = num_parts(linear.work(x, w), count)
        run(linear.product, [(n, parts, _rows(out), _rows(x), w, which, bias) for n in range(parts)])
        return out


@dataclass(frozen=True)
class EdgeProducts:
    """The map of :meth:`Backend.edge_products`, of features, angular and radial parts.

    Parameters
    ----------
    num : int
        Number of nodes that receive.
    """

    num: int
    name: ClassVar[str] = "edge_products"

    @property
    def arguments(self) -> tuple[int, ...]:
        """What the map is made from."""
        return (self.num,)

    def shape(self, operands: list[Array]) -> Shape:
        """Return (num, M, K, F)."""
        x, angular, _ = operands
        return self.num, angular.shape[1], *x.shape[1:]

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the sums."""
        x, angular, _ = operands
        src, dst = indices
        num, size, features = self.num, x.shape[1], x.shape[2]
        out = empty((num, angular.shape[1], size * features), x.dtype)
        parts = num_parts(edges.work(x, angular), count)
        code = _edge_code("edge_products", angular.shape[1], features, x.dtype)
        rest = out, *operands, src, *_by_receiver(src, dst, len(x), num), code
        if parts == 1:
            edges.product(0, 1, *rest)
        else:
            run(edges.product, [(n, parts, *rest) for n in range(parts)])
        return out.reshape(num, angular.shape[1], size, features)

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the derivatives by features, angular and radial parts."""
        x, angular, radial = operands
        parts = num_parts(3 * edges.work(x, angular), count, x.size)
        dx = zeros((parts, *x.shape), g.dtype)
        gradients = [empty(angular.shape, g.dtype), empty(radial.shape, g.dtype)]
        src, dst = indices
        code = _edge_code("edge_gradients", angular.shape[1], x.shape[2], x.dtype)
        listed = src, *_by_receiver(src, dst, len(x), self.num), code
        rest = *gradients, *operands, _flat(g), *listed
        run(edges.vjp, [(n, parts, dx[n], *rest) for n in range(parts)])
        add_copies(dx[0], dx[1:])
        return [dx[0], *gradients]

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the sums in the standard alone."""
        x, angular, radial = operands
        src, dst = indices
        return edge_products_by_segments(arrays, x, angular, radial, src, dst, self.num)


@cache
def _edge_code(operation: str, harmonics: int, features: int, dtype: Any) -> int:
    """Return the address of the code of a program of edges, or 0."""
    program = edge_program(operation, harmonics, features, dtype.name)
    return 0 if program is None else program.code


@dataclass(frozen=True)
class Harmonics:
    """Spherical or solid harmonics of vectors (..., 3), the map of :meth:`Backend.harmonics`.

    Parameters
    ----------
    factors : tuple of float
        Factor of every degree, of which there are at least two: harmonics of degree 0 are constants.
    order : tuple of int
        The position of each component in the result.
    unit : bool
        Whether vectors are normalised first.
    """

    factors: tuple[float, ...]
    order: tuple[int, ...]
    unit: bool

    def value(self, r: Array, *, count: Count = cpus) -> Array:
        """Return the harmonics."""
        return self._call(count, harmonics.value, (*r.shape[:-1], len(self.order)), r)

    def jvp(self, r: Array, c: Array, *, count: Count = cpus) -> Array:
        """Return the derivatives of the harmonics along ``c``."""
        return self._call(count, harmonics.jvp, (*r.shape[:-1], len(self.order)), r, c)

    def vjp(self, r: Array, g: Array, *, count: Count = cpus) -> Array:
        """Return the derivatives of the sum of ``g`` times the harmonics by the vectors."""
        return self._call(count, harmonics.vjp, r.shape, r, g)

    def second_vjp(self, r: Array, g: Array, c: Array, *, count: Count = cpus) -> Array:
        """Return the derivatives of the sum of ``c`` times what :meth:`vjp` returns, by the vectors."""
        return self._call(count, harmonics.second_vjp, r.shape, r, g, c)

    def _call(self, count: Count, kernel: Any, shape: Shape, *arrays: Array) -> Array:
        out = empty(shape, arrays[0].dtype)
        parts = num_parts(harmonics.work(arrays[0], len(self.order)), count)
        tables = harmonics.tables(self.factors, self.order, self.unit, out.dtype.name)
        rows = [*map(_matrix, (out, *arrays)), *tables]
        run(kernel, [(n, parts, *rows) for n in range(parts)])
        return out


def _by_receiver(src: Array, dst: Array, num_src: int, num_dst: int) -> tuple[Array, Array]:
    """Return what :func:`e3any_backends.kernels.edges.by_receiver` fills."""
    starts, order = np.empty(num_dst + 2, np.intp), np.empty(len(dst), np.intp)
    edges.by_receiver(starts, order, src, dst, num_src)
    return starts, order


#: The maps by name.
MAPS: dict[str, Any] = {kernel.name: kernel for kernel in (Contraction, Linear, EdgeProducts)}


def _broadcast(shapes: list[Shape]) -> Shape:
    """Return the shape that shapes broadcast to; sizes need not be numbers yet."""
    if all(shape == shapes[0] for shape in shapes[1:]):
        return shapes[0]
    rank = max(len(shape) for shape in shapes)
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*aligned, strict=True))


def _flat(x: Array) -> Array:
    """Merge the last two axes of a contiguous array."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def _rows(x: Array) -> Array:
    """Merge all axes of a contiguous array but the last two."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _matrix(x: Array) -> Array:
    """Merge the leading axes of a contiguous array."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
