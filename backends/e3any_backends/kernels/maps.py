"""Multilinear maps with kernels: what they compute, and all their first derivatives in one pass.

Derivatives of a multilinear map, and those of its derivatives, are sums of its values and first derivatives at other
arguments. So these two kernels serve derivatives of every order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np

from e3any_backends.coupling import Coupling, SparseForm, couple_by_matmul, couple_pairs_by_matmul
from e3any_backends.generic import Array, Backend
from e3any_backends.kernels import bilinear, edges, harmonics, trilinear
from e3any_backends.kernels.blocks import block_width
from e3any_backends.tables import attribute, tables_of

__all__ = ["MAPS", "Couple", "CouplePairs", "EdgeProducts", "Harmonics", "MultilinearMap"]

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
class _Coupling:
    """A map that a table of couplings defines: of factors, whose leading axes broadcast, and the weights of all paths.

    Parameters
    ----------
    number : int
        Number of the :class:`~e3any_backends.coupling.Coupling`.
    """

    number: int
    form: ClassVar[str]
    axes: ClassVar[int]  # of each factor, behind those that broadcast
    kernels: ClassVar[ModuleType]
    by_matmul: ClassVar[Callable[..., Array]]

    @staticmethod
    def sizes(coupling: Coupling) -> list[Shape]:
        """Return the axes of the components of each factor in the table."""
        raise NotImplementedError

    @property
    def arguments(self) -> tuple[int, ...]:
        """What the map is made from."""
        return (self.number,)

    @property
    def coupling(self) -> Coupling:
        """The table."""
        coupling: Coupling = tables_of(self.number)
        return coupling

    def shape(self, operands: list[Array]) -> Shape:
        """Return (..., P, components, F)."""
        *factors, w = operands
        lead = _broadcast([x.shape[: -self.axes] for x in factors])
        return *lead, w.shape[4], w.shape[5] ** 2, w.shape[6]

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the product."""
        z = np.empty(self.shape(operands), operands[0].dtype)
        if z.size:
            operands, table = self._rows(operands, z.shape[:-3]), self._table(z)
            self.kernels.product(self._matrices(z), *operands, *table, *self._blocks(operands, table, z, 1))
        return z

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives by factors and weights."""
        rows, table = self._rows(operands, g.shape[:-3]), self._table(g)
        gradients = [(np.empty if g.size and x.ndim == 3 else np.zeros)(x.shape, g.dtype) for x in rows]
        if g.size:
            self.kernels.pull(*gradients, *rows, self._matrices(g), *table, *self._blocks(rows, table, g, 2))
        return [self._unbroadcast(d, o, g.shape[:-3]) for d, o in zip(gradients, operands, strict=True)]

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the product by multiplications of matrices."""
        xp, (*factors, w) = backend.xp, operands
        rank = max(x.ndim for x in factors) - self.axes
        merged = []
        for x, sizes in zip(factors, self.sizes(self.coupling), strict=True):
            lead = (1,) * (1 + rank + self.axes - x.ndim) + tuple(x.shape[: -self.axes])
            merged.append(xp.reshape(x, (*lead, *sizes, x.shape[-1])))
        w = xp.reshape(w, (*(1,) * (1 + rank), self.coupling.num_paths, w.shape[-1]))
        return xp.reshape(self.by_matmul(backend, *merged, w, self.coupling), self.shape(operands))

    def _rows(self, operands: list[Array], lead: Shape) -> list[Array]:
        """Return factors as (N, components, F), or (1, components, F) if all rows are the same, and weights."""
        *factors, w = operands
        rows = []
        for x in factors:
            own, (*sizes, features) = x.shape[: -self.axes], x.shape[-self.axes :]
            if own != lead and math.prod(own) != 1:
                x = np.broadcast_to(x, (*lead, *sizes, features))
            rows.append(x.reshape(math.prod(x.shape[: -self.axes]), math.prod(sizes), features))
        return [*rows, w.reshape(-1, w.shape[-1])]

    def _unbroadcast(self, d: Array, operand: Array, lead: Shape) -> Array:
        """Sum derivatives by rows over what has been broadcast."""
        if d.size != operand.size:
            d = d.reshape(*lead, *operand.shape[-self.axes :])
            own = (1,) * (d.ndim - operand.ndim) + operand.shape
            d = d.sum(axis=tuple(i for i, n in enumerate(own) if n != d.shape[i]))
        return d.reshape(operand.shape)

    def _matrices(self, z: Array) -> Array:
        return z.reshape(-1, self.coupling.num_z, z.shape[-1])

    def _table(self, z: Array) -> tuple[Array, ...]:
        return _table(self.number, self.form, z.dtype.char)

    def _blocks(self, operands: list[Array], table: tuple[Array, ...], z: Array, copies: int) -> list[Array]:
        """Return room for blocks of the factors, the product and the weights, and of derivatives."""
        factors, paths = [x.shape[1] for x in operands[:-1]], len(table[1])
        sizes = [*factors, self.coupling.num_z, paths] + (copies - 1) * [*factors, paths]
        room = np.empty((sum(sizes), block_width(math.prod(z.shape[:-3]), z.shape[-1], sum(sizes))), z.dtype)
        return [room[end - size : end] for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)]


class Couple(_Coupling):
    """The map of :meth:`Backend.couple_features`."""

    name: ClassVar[str] = "couple"
    form: ClassVar[str] = "product_form"
    axes: ClassVar[int] = 3
    kernels: ClassVar[ModuleType] = trilinear
    by_matmul: ClassVar[Callable[..., Array]] = staticmethod(couple_by_matmul)

    @staticmethod
    def sizes(coupling: Coupling) -> list[Shape]:
        """Return the components of both factors."""
        return [(coupling.num_x,), (coupling.num_y,)]


class CouplePairs(_Coupling):
    """The map of :meth:`Backend.couple_pair_features`."""

    name: ClassVar[str] = "couple_pairs"
    form: ClassVar[str] = "pair_form"
    axes: ClassVar[int] = 4
    kernels: ClassVar[ModuleType] = bilinear
    by_matmul: ClassVar[Callable[..., Array]] = staticmethod(couple_pairs_by_matmul)

    @staticmethod
    def sizes(coupling: Coupling) -> list[Shape]:
        """Return the components of the pairs."""
        return [(coupling.num_x, coupling.num_y)]


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
MAPS: dict[str, Any] = {kernel.name: kernel for kernel in (Couple, CouplePairs, EdgeProducts)}


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


def _matrix(x: Array) -> Array:
    """Merge the leading axes of a contiguous array."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@lru_cache(maxsize=1024)
def _table(number: int, name: str, dtype: str) -> tuple[Array, ...]:
    """Return the entries of a form in the slots (..., z, path), sorted by z and path.

    The first table has a row (z, path, start, stop) for all entries from start to stop, where paths are counted among
    those that have entries. Then come these paths, the components of the factors, and the coefficients.
    """
    form: SparseForm = attribute(number, name)
    *factors, z, path = form.columns
    used, path = np.unique(path, return_inverse=True)
    order = np.lexsort((*factors, path, z))
    z, path = z[order], path[order]
    starts = np.flatnonzero((np.diff(z, prepend=-1) != 0) | (np.diff(path, prepend=-1) != 0))
    stops = np.append(starts, len(z))[1:]
    rows = np.stack([z[starts], path[starts], starts, stops], axis=1)
    columns = [np.ascontiguousarray(column[order], np.uint32) for column in factors]
    return (rows.astype(np.uint32), used.astype(np.uint32), *columns, form.values[order].astype(dtype))
