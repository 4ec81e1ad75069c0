"""Paths of messages: which irrep of a neighbour, coupled with which harmonic, ends in which irrep."""

from __future__ import annotations

import math
from collections.abc import Mapping

from e3any_backends import Array, Backend
from e3any_backends.arrays import Namespace
from e3any_backends.forms.couplings import Coupling, Path
from e3any_backends.forms.tables import host_table

from e3any.conventions import PARITIES, degree_slice
from e3any.irreps import in_order, irrep_of
from e3any.nn.layers.edges import Edges
from e3any.ops.indexed import indexed_sum
from e3any.so3 import clebsch_gordan_for_degrees

__all__ = ["MessagePath", "candidates", "joined_along", "message_paths", "path_sums", "path_table"]

#: The irreps of inputs, harmonic and output, such as ``("1-", "2+", "1-")``.
MessagePath = tuple[str, str, str]


@host_table
def message_paths(inputs: tuple[str, ...], max_filter: int, outputs: tuple[str, ...]) -> tuple[MessagePath, ...]:
    """List all paths, in the order of their weights: by inputs, then by harmonics, then by outputs.

    Parameters
    ----------
    inputs, outputs : tuple of str
        Names of irreps; they are sorted by degree, then by parity.
    max_filter : int
        Largest degree of the harmonics, whose parity is that of their degree.
    """
    return tuple(
        (a, f"{degree}{PARITIES[degree % 2]}" if irrep_of(a)[1] is not None else str(degree), c)
        for a in in_order(inputs)
        for degree in range(max_filter + 1)
        for c in in_order(outputs)
        if _couples(a, degree, c)
    )


def _couples(a: str, degree: int, c: str) -> bool:
    (l1, p1), (l3, p3) = irrep_of(a), irrep_of(c)
    if not abs(l1 - degree) <= l3 <= l1 + degree:
        return False
    return p1 is None or p3 is None or (p1 + degree + p3) % 2 == 0


@host_table
def candidates(max_degree: int, has_parity: bool, include_pseudotensors: bool) -> tuple[str, ...]:
    """List the irreps of all degrees up to the largest."""
    if not has_parity:
        return tuple(str(l) for l in range(max_degree + 1))
    return tuple(
        f"{l}{PARITIES[p]}" for l in range(max_degree + 1) for p in range(2) if include_pseudotensors or p == l % 2
    )


@host_table
def path_table(inputs: tuple[str, ...], max_filter: int, outputs: tuple[str, ...], cartesian_order: bool) -> Coupling:
    """Tabulate all paths of some irreps, whose components are one after the other; every path ends by itself."""
    starts, first = {}, 0
    for name in in_order(inputs):
        starts[name] = first
        first += 2 * irrep_of(name)[0] + 1
    paths, at = [], 0
    for a, b, c in message_paths(inputs, max_filter, outputs):
        l1, l2, l3 = (irrep_of(name)[0] for name in (a, b, c))
        x, z = slice(starts[a], starts[a] + 2 * l1 + 1), slice(at, at + 2 * l3 + 1)
        coefficients = clebsch_gordan_for_degrees(l1, l2, l3, cartesian_order=cartesian_order)
        paths.append(Path(x, degree_slice(l2), z, coefficients))
        at = z.stop
    return Coupling(tuple(paths), first, (max_filter + 1) ** 2, at)


def path_sums(
    backend: Backend,
    x: Mapping[str, Array],
    angular: Array,
    weights: Array,
    edges: Edges,
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
        Weights, path by path in the order of :func:`message_paths`.
    edges : Edges
        The edges.
    outputs : tuple of str
        Irreps that paths end in.
    cartesian_order : bool
        Order of components.

    Returns
    -------
    list of arrays of shape (..., N, 2l+1, F)
        The sums of all paths, in their order.
    """
    xp, lead = backend.xp, tuple(angular.shape[:-1])
    max_filter, num = math.isqrt(angular.shape[-1]) - 1, next(iter(x.values())).shape[-3]
    names = in_order(x)
    counts = {a: len(message_paths((a,), max_filter, outputs)) for a in names}
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
        table = path_table(tuple(group), max_filter, outputs, cartesian_order)
        messages = backend.couple(sent[None, ...], y[None, ...], w[None, ...], table)
        total = indexed_sum(messages, **edges.reduction(num))
        each = message_paths(tuple(group), max_filter, outputs)
        blocks = backend.pieces(total, [2 * irrep_of(c)[0] + 1 for _, _, c in each], -2)
        for (a, _, _), block in zip(each, blocks, strict=True):
            found[a].append(block)
    return [block for a in names for block in found[a]]


def joined_along(xp: Namespace, blocks: list[Array], axis: int) -> Array:
    """Concatenate arrays, of which there is often one."""
    return blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=axis)
