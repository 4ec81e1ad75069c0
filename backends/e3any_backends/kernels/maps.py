"""Multilinear maps with kernels: what they compute, and all their first derivatives in one pass.

Derivatives of a multilinear map, and those of its derivatives, are sums of its values and first derivatives at other
arguments. So these two kernels serve derivatives of every order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np

from e3any_backends.coupling import Coupling, SparseForm, couple_by_matmul, couple_pairs_by_matmul
from e3any_backends.generic import Array, Backend
from e3any_backends.kernels import bilinear, edges, harmonics, trilinear
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
    """A map that a table of couplings defines.

    Parameters
    ----------
    number : int
        Number of the :class:`~e3any_backends.coupling.Coupling`.
    """

    number: int

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
        """Return (R, N, components, F)."""
        outs = _widest(o.shape[1] for o in operands)
        rows = _widest(o.shape[2] for o in operands[:-1])
        return outs, rows, self.coupling.num_z, operands[0].shape[-1]


class Couple(_Coupling):
    """The map of :meth:`Backend.couple` for factors (S, R, N, components, F) and weights (S, R, paths, F)."""

    name: ClassVar[str] = "couple"

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the product."""
        z = np.empty(self.shape(operands), operands[0].dtype)
        trilinear.product(z, *operands, *_rows(self.number, "product_form", z.dtype.char))
        return z

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives by both factors and the weights."""
        dx, dy, dw = gradients = [np.zeros(o.shape, g.dtype) for o in operands]
        x, y, w = operands
        trilinear.pull(dx, dy, dw, x, y, w, g, *_rows(self.number, "product_form", g.dtype.char))
        return gradients

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the product by multiplications of matrices."""
        x, y, w = operands
        return couple_by_matmul(backend, x, y, w[:, :, None, ...], self.coupling)


class CouplePairs(_Coupling):
    """The map of :meth:`Backend.couple_pairs` for pairs (S, R, N, pairs, F) and weights (S, R, paths, F)."""

    name: ClassVar[str] = "couple_pairs"

    def value(self, operands: list[Array], indices: list[Array]) -> Array:
        """Return the product."""
        z = np.empty(self.shape(operands), operands[0].dtype)
        bilinear.product(z, *operands, *_rows(self.number, "pair_form", z.dtype.char))
        return z

    def pull(self, operands: list[Array], indices: list[Array], g: Array) -> list[Array]:
        """Return the derivatives by pairs and weights."""
        dx, dw = gradients = [np.zeros(o.shape, g.dtype) for o in operands]
        x, w = operands
        bilinear.pull(dx, dw, x, w, g, *_rows(self.number, "pair_form", g.dtype.char))
        return gradients

    def plain(self, backend: Backend, operands: list[Array], indices: list[Array]) -> Array:
        """Return the product by multiplications of matrices."""
        x, w = operands
        pairs = backend.xp.reshape(x, (*x.shape[:3], self.coupling.num_x, self.coupling.num_y, x.shape[-1]))
        return couple_pairs_by_matmul(backend, pairs, w[:, :, None, ...], self.coupling)


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
        out = np.empty((*r.shape[:-1], len(self.order)), r.dtype)
        place, azimuthal, polar, _, _, bounds = _harmonics(self.factors, self.order, r.dtype.char)
        harmonics.value(_matrix(out), _matrix(r), self.unit, place, azimuthal, polar, bounds)
        return out

    def pull(self, r: Array, g: Array) -> Array:
        """Return the derivatives of the sum of ``g`` times the harmonics by the vectors."""
        dr = np.empty(r.shape, r.dtype)
        tables = _harmonics(self.factors, self.order, r.dtype.char)
        harmonics.pull(_matrix(dr), _matrix(r), _matrix(g), self.unit, *tables)
        return dr

    def second(self, r: Array, g: Array, c: Array) -> tuple[Array, Array]:
        """Return the derivatives of the sum of ``c`` times what :meth:`pull` returns, by ``r`` and ``g``."""
        dr, dg = np.empty(r.shape, r.dtype), np.empty(g.shape, r.dtype)
        tables = _harmonics(self.factors, self.order, r.dtype.char)
        harmonics.second(_matrix(dr), _matrix(dg), _matrix(r), _matrix(g), _matrix(c), self.unit, *tables)
        return dr, dg


#: The maps by name.
MAPS: dict[str, Any] = {kernel.name: kernel for kernel in (Couple, CouplePairs, EdgeProducts)}


def _widest(sizes: Any) -> Any:
    """Return the size of an axis that sizes broadcast to."""
    wide = [n for n in sizes if n != 1]
    return wide[0] if wide else 1


def _flat(x: Array) -> Array:
    """Merge the last two axes of a contiguous array."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def _matrix(x: Array) -> Array:
    """Merge the leading axes of a contiguous array."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


@lru_cache(maxsize=256)
def _harmonics(factors: tuple[float, ...], order: tuple[int, ...], dtype: str) -> tuple[Array, ...]:
    """Return the order, the tables of :func:`harmonics.tables`, and the numbers 0, 1 and the smallest scale."""
    bounds = np.asarray([0, 1, np.finfo(dtype).smallest_normal], dtype)
    place = np.asarray(order, np.uint32)
    azimuthal, polar, lower, slopes = harmonics.tables(factors, dtype)
    by_place = np.argsort(place)
    return place, azimuthal, polar, place[lower][by_place], slopes[by_place], bounds


@lru_cache(maxsize=1024)
def _rows(number: int, name: str, dtype: str) -> tuple[Array, ...]:
    """Return the entries of a form in the slots (..., z, path), sorted by z and path.

    The first table has a row (z, path, start, stop) for all entries from start to stop. Then come the components of
    the factors, and the coefficients.
    """
    form: SparseForm = attribute(number, name)
    *factors, z, path = form.columns
    order = np.lexsort((*factors, path, z))
    z, path = z[order], path[order]
    starts = np.flatnonzero((np.diff(z, prepend=-1) != 0) | (np.diff(path, prepend=-1) != 0))
    stops = np.append(starts, len(z))[1:]
    rows = np.stack([z[starts], path[starts], starts, stops], axis=1)
    columns = [np.ascontiguousarray(column[order], np.uint32) for column in factors]
    return (rows.astype(np.uint32), *columns, form.values[order].astype(dtype))
