"""Paths of couplings by irrep: which irreps of two factors couple to which irrep of their product."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from e3any_backends import Array, Backend
from e3any_backends.arrays import Namespace
from e3any_backends.forms.couplings import Coupling, Path
from e3any_backends.forms.tables import host_table

from e3any.conventions import PARITIES
from e3any.irreps import in_order, irrep_of
from e3any.nn.layers.edges import Edges
from e3any.ops.indexed import indexed_sum
from e3any.so3 import clebsch_gordan_for_degrees

__all__ = ["IrrepPath", "candidates", "irrep_paths", "joined_along", "path_sums", "path_table"]

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
    xp, lead = backend.xp, tuple(angular.shape[:-1])
    num = next(iter(x.values())).shape[-3]
    names = in_order(x)
    counts = {a: len(irrep_paths((a,), filters, outputs)) for a in names}
    pieces = backend.pieces(weights, [counts[a] * x[a].shape[-1] for a in names], -1)
    of_irrep = {
        a: xp.reshape(piece, (*lead, counts[a], x[a].shape[-1])) for a, piece in zip(names, pieces, strict=True)
    }
    found: dict[str, list[Array]] = {a: [] for a in names}
    # Irreps with equally many features are coupled together: one gather, one table, one sum.
    for size in dict.fromkeys(x[a].shape[-1] for a in names):
        group = [a for a in names if x[a].shape[-1] == size and counts[a]]
        if not group:
            continue
        sent = edges.gather_src(joined_along(xp, [x[a] for a in group], -2))
        w = joined_along(xp, [of_irrep[a] for a in group], -2)
        y = xp.broadcast_to(angular[..., None], (*angular.shape, size))
        table = path_table(tuple(group), filters, outputs, cartesian_order, True)
        messages = backend.couple(sent[None, ...], y[None, ...], w[None, ...], table)
        total = indexed_sum(messages, **edges.reduction(num))
        each = irrep_paths(tuple(group), filters, outputs)
        blocks = backend.pieces(total, [2 * irrep_of(c)[0] + 1 for _, _, c in each], -2)
        for (a, _, _), block in zip(each, blocks, strict=True):
            found[a].append(block)
    return [block for a in names for block in found[a]]


def joined_along(xp: Namespace, blocks: list[Array], axis: int) -> Array:
    """Concatenate arrays, of which there is often one."""
    return blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=axis)
