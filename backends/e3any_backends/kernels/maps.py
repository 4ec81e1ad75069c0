"""Multilinear maps with kernels: what they compute, and all their first derivatives in one pass.

Derivatives of a multilinear map, and those of its derivatives, are sums of its values and first derivatives at other
arguments. So these two kernels serve derivatives of every order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from e3any_backends.coupling import FORMS, SparseForm
from e3any_backends.generic import Array, Backend
from e3any_backends.kernels import contraction, edges, harmonics, linear
from e3any_backends.tables import attribute

__all__ = ["MAPS", "Contraction", "EdgeProducts", "Harmonics", "Linear", "MultilinearMap"]

Shape = tuple[Any, ...]


class MultilinearMap(Protocol):
    """A map that is linear in each of its operands; indices are arrays of integers that it also depends on."""

    name: ClassVar[str]

    @property
    def arguments(self) -> tuple[int, ...]:
        """What :data:`MAPS` makes the map from."""

    def shape(self, operands: list[Array]) -> Shape:
        """Return the shape of the value."""

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the value for contiguous arrays of NumPy."""

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives of the sum of ``g`` times the value, by each operand."""

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the value in the plain form, for arrays of any library."""


@dataclass(frozen=True)
class Contraction:
    """The map of :meth:`Backend.contract`, of one operand for every slot but that of the output.

    Parameters
    ----------
    number : int
        Number of the tables that have the form.
    form_number : int
        Which of their :data:`~e3any_backends.coupling.FORMS` it is.
    output : int
        Slot of the output.
    """

    number: int
    form_number: int
    output: int
    name: ClassVar[str] = "contraction"

    @property
    def arguments(self) -> tuple[int, ...]:
        """What the map is made from."""
        return self.number, self.form_number, self.output

    @property
    def form(self) -> SparseForm:
        """The form."""
        form: SparseForm = attribute(self.number, FORMS[self.form_number])
        return form

    def shape(self, operands: list[Array]) -> Shape:
        """Return (*lead, components, F)."""
        *lead, features = _broadcast([(*o.shape[1:-2], o.shape[-1]) for o in operands])
        return *lead, self.form.sizes[self.output], features

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the contraction."""
        shape = self.shape(operands)
        (value,) = _contract(self.form, operands, [(self.output, (1, *shape))], [(0, tuple(range(len(operands))))])
        return value.reshape(shape)

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives by operands: contractions with ``g`` in the slot of the output."""
        slots = [slot for slot in range(len(self.form.sizes)) if slot != self.output]
        outs = [(slot, o.shape) for slot, o in zip(slots, operands, strict=True)]
        arrays = [*operands[: self.output], g[None], *operands[self.output :]]
        terms = [(n, tuple(s for s in range(len(arrays)) if s != slot)) for n, slot in enumerate(slots)]
        return _contract(self.form, arrays, outs, terms)

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the contraction in the standard alone."""
        return Backend.contract(backend, operands, self.number, FORMS[self.form_number], self.output)


Outs = list[tuple[int, Shape]]
Terms = list[tuple[int, tuple[int, ...]]]


def _contract(form: SparseForm, arrays: list[Array], outs: Outs, terms: Terms) -> list[Array]:
    """Evaluate contractions, as :func:`e3any_backends.kernels.contraction.plan` has them."""
    dtype, shapes = arrays[0].dtype, [*(a.shape for a in arrays), *(shape for _, shape in outs)]
    if any(0 in shape for shape in shapes):
        return [np.zeros(shape, dtype) for _, shape in outs]
    plan = contraction.plan(form, tuple(a.shape for a in arrays), tuple(outs), tuple(terms), dtype.name)
    if plan is None:  # shapes broadcast in too many ways
        *lead, features = _broadcast([(*shape[:-2], shape[-1]) for shape in shapes])
        arrays = [np.ascontiguousarray(np.broadcast_to(a, (*lead, a.shape[-2], features))) for a in arrays]
        wide = _contract(form, arrays, [(slot, (*lead, shape[-2], features)) for slot, shape in outs], terms)
        return [_sum_to_shape(value, shape) for value, (_, shape) in zip(wide, outs, strict=True)]
    results = [np.empty(shape, dtype) for _, shape in outs]
    addresses = np.asarray([a.ctypes.data for a in (*arrays, *results)], np.intp)
    contraction.contract(addresses, plan.schedule, plan.code)
    return results


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

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the products."""
        x, w = operands
        return self.affine(x, w, indices[0], np.zeros(w.shape[2], w.dtype))

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives by rows and matrices."""
        x, w = operands
        dw = np.zeros(w.shape, w.dtype)
        linear.slope(dw, _rows(x), _rows(g), *indices)
        dx = self.value([g, np.ascontiguousarray(w.swapaxes(1, 2))], indices)
        return [dx, dw]

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the products in the standard alone."""
        x, w = operands
        return Backend.linear(backend, x, w, indices[0], None)

    def affine(self, x: Array, w: Array, which: Array, bias: Array) -> Array:
        """Return the products, with a bias added to those of component 0."""
        out = np.empty(self.shape([x, w]), x.dtype)
        linear.product(_rows(out), _rows(x), w, which, bias)
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

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the sums."""
        x, angular, radial = operands
        out = np.zeros(self.shape(operands), x.dtype)
        edges.product(_flat(out), x, angular, radial, *indices)
        return out

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives by features, angular and radial parts."""
        x, angular, radial = operands
        dx, d_angular, d_radial = gradients = [np.zeros(o.shape, g.dtype) for o in operands]
        src, dst = indices
        edges.pull(dx, d_angular, d_radial, x, angular, radial, _flat(g), src, dst)
        return gradients

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the sums in the standard alone."""
        x, angular, radial = operands
        src, dst = indices
        return Backend.edge_products(backend, x, angular, radial, src, dst, self.num)


@dataclass(frozen=True)
class Harmonics:
    """Spherical or solid harmonics of vectors (..., 3), the map of :meth:`Backend.harmonics`.

    Parameters
    ----------
    factors : tuple of float
        Factor of every degree.
    order : tuple of int
        The position of each component in the result.
    unit : bool
        Whether vectors are normalised first.
    """

    factors: tuple[float, ...]
    order: tuple[int, ...]
    unit: bool

    def value(self, r: Array) -> Array:
        """Return the harmonics."""
        return self._call(harmonics.value, (*r.shape[:-1], len(self.order)), r)

    def push(self, r: Array, c: Array) -> Array:
        """Return the derivatives of the harmonics along ``c``."""
        return self._call(harmonics.push, (*r.shape[:-1], len(self.order)), r, c)

    def pull(self, r: Array, g: Array) -> Array:
        """Return the derivatives of the sum of ``g`` times the harmonics by the vectors."""
        return self._call(harmonics.pull, r.shape, r, g)

    def curve(self, r: Array, g: Array, c: Array) -> Array:
        """Return the derivatives of the sum of ``c`` times what :meth:`pull` returns, by the vectors."""
        return self._call(harmonics.curve, r.shape, r, g, c)

    def _call(self, kernel: Any, shape: Shape, *arrays: Array) -> Array:
        out = np.empty(shape, arrays[0].dtype)
        kernel(*map(_matrix, (out, *arrays)), *harmonics.tables(self.factors, self.order, self.unit, out.dtype.name))
        return out


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
