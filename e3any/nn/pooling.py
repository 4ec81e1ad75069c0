"""Features of graphs from those of their nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_size, floating_backend, shown
from e3any.irreps import SCALARS, Irreps, irrep_backend
from e3any.layout import Layout
from e3any.ops.indexed import indexed_max, indexed_sum

__all__ = ["pool"]

Reduction: TypeAlias = Literal["sum", "mean", "max"]


def pool(x: Array, batch_segments: Array, num_graphs: int, reduction: Reduction = "sum") -> Array:
    r"""Reduce the features of the nodes of every graph in a batch to their sum, mean or maximum.

    .. math:: y_g = \sum_{i \in g} x_i \qquad \frac{1}{|g|} \sum_{i \in g} x_i \qquad \max_{i \in g} x_i

    Parameters
    ----------
    x : array of shape (N, P, (L+1)**2, F), or dictionary of arrays (N, 2l+1, F) by irrep
        Features of the nodes of all graphs. The maximum needs scalars of even parity, P = 1 and L = 0: no other
        component is invariant.
    batch_segments : integer array of shape (N,)
        The graph of each node; numbers outside [0, num_graphs) are padding.
    num_graphs : int
        Number of graphs G.
    reduction : {'sum', 'mean', 'max'}
        The reduction.

    Returns
    -------
    array of shape (G, P, (L+1)**2, F), or dictionary of arrays (G, 2l+1, F)
        Features of the graphs; zero for graphs without nodes.

    Raises
    ------
    ValueError
        If shapes do not fit, ``num_graphs`` is not an integer >= 0, the reduction is unknown, or it is ``'max'`` and
        features are not invariant.
    TypeError
        If ``x`` is not a floating-point array, ``batch_segments`` is not an integer array of its library, or
        ``num_graphs`` is None.
    """
    if isinstance(x, Mapping):
        backend, irreps = irrep_backend(x, "x"), Irreps.of(x, "x")
        for block in x.values():
            _check(block, 3, all(name in SCALARS for name in irreps), irreps, batch_segments, num_graphs, reduction)
        return {name: _pooled(backend, block, batch_segments, num_graphs, reduction) for name, block in x.items()}
    backend, layout = floating_backend(x=x), Layout.of(x, "x")
    invariant = not (layout.max_degree or layout.pseudotensors)
    _check(x, 4, invariant, layout, batch_segments, num_graphs, reduction)
    return _pooled(backend, x, batch_segments, num_graphs, reduction)


def _pooled(backend: Backend, x: Array, batch_segments: Array, num_graphs: int, reduction: Reduction) -> Array:
    """Reduce an array of shape (N, ...) to (G, ...)."""
    lists: dict[str, Any] = {"dst_idx": batch_segments, "num_segments": num_graphs}
    if reduction == "sum":
        return indexed_sum(x, **lists)
    xp = backend.xp
    counts = indexed_sum(xp.ones_like(backend.widened(x[(slice(None), *(slice(1),) * (x.ndim - 1))])), **lists)
    if reduction == "max":
        largest = indexed_max(x, **lists)
        return xp.where(counts > 0, largest, xp.zeros_like(largest))
    counts = xp.where(counts > 0, counts, xp.ones_like(counts))
    return xp.astype(indexed_sum(backend.widened(x), **lists) / counts, x.dtype)


def _check(
    x: Array, rank: int, invariant: bool, kind: Any, batch_segments: Array, num_graphs: Any, reduction: Any
) -> None:
    backend = backend_of(x, batch_segments)
    if reduction not in get_args(Reduction):
        raise ValueError(f"expected reduction to be one of {get_args(Reduction)}, got {shown(reduction)}")
    if reduction == "max" and not invariant:
        raise ValueError(f"expected scalars of even parity for the largest, got features of {kind}")
    if num_graphs is None:
        raise TypeError("expected num_graphs to be an integer, got None")
    check_size(num_graphs, "num_graphs")
    if not hasattr(batch_segments, "shape") or not backend.is_integer(batch_segments):
        raise TypeError(f"expected batch_segments to be an integer array, got {shown(batch_segments)}")
    if x.ndim != rank or tuple(batch_segments.shape) != tuple(x.shape[:1]):
        raise ValueError(
            f"expected x of shape (N, {'P, ' * (rank == 4)}components, F) and batch_segments of shape (N,), "
            f"got {tuple(x.shape)} and {tuple(batch_segments.shape)}"
        )
