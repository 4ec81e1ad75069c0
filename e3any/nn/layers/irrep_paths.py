"""Paths of couplings by irrep: which irreps of two factors couple to which irrep of their product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from operator import index
from typing import cast

from e3any_backends import Array, Backend
from e3any_backends.arrays import Namespace
from e3any_backends.forms.couplings import Coupling, Path
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import host_table

from e3any.conventions import PARITIES
from e3any.irreps import in_order, irrep_of
from e3any.nn.layers.edges import Edges
from e3any.ops.index_lists import number_batch
from e3any.so3 import clebsch_gordan_for_degrees

__all__ = [
    "IrrepPath",
    "candidates",
    "edge_path_sums",
    "irrep_paths",
    "joined_along",
    "path_form",
    "path_sums",
    "path_table",
]

#: The irreps of both factors and of the product, such as ``("1-", "2+", "1-")``.
IrrepPath = tuple[str, str, str]


@host_table
def irrep_paths(first: tuple[str, ...], second: tuple[str, ...], outputs: tuple[str, ...]) -> tuple[IrrepPath, ...]:
    """List all paths in the order of their weights: by first factor, then by second, then by product.

    Parameters
    ----------
    first, second, outputs : tuple of str
        Names of irreps; each are sorted by degree, then by parity.
    """
    each = itertools.product(in_order(first), in_order(second), in_order(outputs))
    return tuple(path for path in each if _couples(*path))


def _couples(a: str, b: str, c: str) -> bool:
    (l1, p1), (l2, p2), (l3, p3) = irrep_of(a), irrep_of(b), irrep_of(c)
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        return False
    if p1 is None or p2 is None or p3 is None:
        return p1 is p2 is p3 is None
    return (p1 + p2 + p3) % 2 == 0


@host_table
def candidates(max_degree: int, has_parity: bool, include_pseudotensors: bool) -> tuple[str, ...]:
    """List the irreps of all degrees up to the largest: of both parities, of proper tensors, or of SO(3)."""
    if not has_parity:
        return tuple(str(l) for l in range(max_degree + 1))
    return tuple(
        f"{l}{PARITIES[p]}" for l in range(max_degree + 1) for p in range(2) if include_pseudotensors or p == l % 2
    )


@host_table
def path_table(
    first: tuple[str, ...], second: tuple[str, ...], outputs: tuple[str, ...], cartesian_order: bool, apart: bool
) -> Coupling:
    """Tabulate all paths, for factors whose irreps are one after the other, in order.

    The components of paths are one after the other if they are kept apart, else those of the irreps of the product.
    """
    (x, num_x), (y, num_y), (z, num_z) = (_slices(names) for names in (first, second, outputs))
    paths, at = [], 0
    for a, b, c in irrep_paths(first, second, outputs):
        l1, l2, l3 = (irrep_of(name)[0] for name in (a, b, c))
        ends = slice(at, at + 2 * l3 + 1) if apart else z[c]
        at = ends.stop if apart else num_z
        coefficients = clebsch_gordan_for_degrees(l1, l2, l3, cartesian_order=cartesian_order)
        paths.append(Path(x[a], y[b], ends, coefficients))
    return Coupling(tuple(paths), num_x, num_y, at)


def _slices(names: tuple[str, ...]) -> tuple[dict[str, slice], int]:
    """Return the components of irreps that are one after the other, and how many there are."""
    slices, at = {}, 0
    for name in in_order(names):
        slices[name] = slice(at, at + 2 * irrep_of(name)[0] + 1)
        at = slices[name].stop
    return slices, at


@host_table
def path_form(
    irreps: tuple[tuple[str, int], ...], filters: tuple[str, ...], outputs: tuple[str, ...], cartesian_order: bool
) -> PathForm:
    """Tabulate all paths from irreps, names with numbers of features, and harmonics, apart from each other.

    Neighbouring irreps with equally many features are one block.
    """
    blocks = ((size, tuple(name for name, _ in group)) for size, group in itertools.groupby(irreps, key=lambda i: i[1]))
    return PathForm(tuple((path_table(names, filters, outputs, cartesian_order, True), size) for size, names in blocks))


def path_sums(
    backend: Backend,
    x: Mapping[str, Array],
    angular: Array,
    weights: Array,
    edges: Edges,
    filters: tuple[str, ...],
    outputs: tuple[str, ...],
    cartesian_order: bool,
) -> list[Array]:
    """Sum the messages of every path over neighbourhoods.

    Parameters
    ----------
    backend : Backend
        The backend of the arrays.
    x : mapping
        Features (..., N, 2l+1, F) of nodes by irrep.
    angular : array of shape (*edges, (Lb+1)**2)
        Harmonics.
    weights : array of shape (*edges, sum of F over paths)
        Weights, path by path in the order of :func:`irrep_paths`.
    edges : Edges
        The edges.
    filters, outputs : tuple of str
        Irreps of the harmonics, and those that paths end in.
    cartesian_order : bool
        Order of components.

    Returns
    -------
    list of arrays of shape (..., N, 2l+1, F)
        The sums of all paths, in their order.
    """
    xp = backend.xp
    names = [a for a in in_order(x) if irrep_paths((a,), filters, outputs)]
    rows = [xp.reshape(x[a], (*x[a].shape[:-2], x[a].shape[-2] * x[a].shape[-1])) for a in names]
    # A table is of numbers: a compiler for dynamic shapes takes symbols for sizes, which index() makes it fix.
    form = path_form(tuple((a, index(x[a].shape[-1])) for a in names), filters, outputs, cartesian_order)
    sums = edge_path_sums(backend, joined_along(xp, rows, -1), angular, weights, edges, form)
    shapes = [
        (2 * irrep_of(c)[0] + 1, x[a].shape[-1]) for a in names for _, _, c in irrep_paths((a,), filters, outputs)
    ]
    blocks = backend.pieces(sums, [components * size for components, size in shapes], -1)
    return [xp.reshape(block, (*block.shape[:-1], *shape)) for block, shape in zip(blocks, shapes, strict=True)]


def edge_path_sums(backend: Backend, x: Array, angular: Array, weights: Array, edges: Edges, form: PathForm) -> Array:
    """Sum couplings with weights of every edge and path; rows of features are those of a form.

    Parameters
    ----------
    backend : Backend
        The backend of the arrays.
    x : array of shape (..., N, X)
        Features of nodes.
    angular : array of shape (*edges, (Lb+1)**2)
        Harmonics.
    weights : array of shape (*edges, Q)
        Weights of paths.
    edges : Edges
        The edges.
    form : PathForm
        The table.

    Returns
    -------
    array of shape (..., N, Z)
        The sums.
    """
    xp, batch, num_src = backend.xp, tuple(x.shape[:-2]), x.shape[-2]
    edges = edges if edges.adj_idx is None else edges.sparse()
    num_edges, num_dst = math.prod(edges.indices.shape), cast(int, edges.num_segments)
    dst_idx, src_idx = edges.dst_idx, edges.src_idx
    if batch:
        dst_idx = xp.reshape(number_batch(backend, dst_idx, len(batch), num_dst), (num_edges,))
        src_idx = xp.reshape(number_batch(backend, src_idx, len(batch), num_src), (num_edges,))
    sums = backend.path_sums(
        xp.reshape(x, (math.prod(batch) * num_src, x.shape[-1])),
        xp.reshape(angular, (num_edges, angular.shape[-1])),
        xp.reshape(weights, (num_edges, weights.shape[-1])),
        src_idx,
        dst_idx,
        math.prod(batch) * num_dst,
        form,
        edges.indices_are_sorted and not batch,  # padding, -1, is not at the beginning of the list of a batch
    )
    return xp.reshape(sums, (*batch, num_dst, sums.shape[-1]))


def joined_along(xp: Namespace, blocks: list[Array], axis: int) -> Array:
    """Concatenate arrays, of which there is often one."""
    return blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=axis)
