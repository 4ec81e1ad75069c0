"""The lists of a graph that kernels for GPUs read, made by PyTorch, and kept for further calls with the same edges."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import torch

from e3any_backends.torch.arrays import ARRAYS

__all__ = ["graph_lists"]

# Graphs that are kept. All layers of a model use one; a loop over some structures uses a few.
_MAX_GRAPHS = 8
_kept: OrderedDict[Hashable, tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]] = OrderedDict()


def graph_lists(
    dst: torch.Tensor, src: torch.Tensor, num_dst: int, num_src: int, has_gradients: bool
) -> list[torch.Tensor]:
    """Return the lists of edges sorted by receiver, and, for gradients, also of those sorted by sender.

    See :mod:`e3any_backends.triton.graphs`. Both sorts are stable, so that sums do not depend on the run.
    """
    key = _key(dst, src, num_dst, num_src, has_gradients)
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key][2]
    lists = _rows(dst, src, num_dst, num_src)
    if has_gradients:
        lists += _rows(src, dst, num_src, num_dst)
    if key is not None:
        # The tensors are kept too: their memory must not become that of other tensors.
        _kept[key] = dst, src, lists
        if len(_kept) > _MAX_GRAPHS:
            _kept.popitem(last=False)
    return lists


def _rows(of: torch.Tensor, other: torch.Tensor, num: int, num_other: int) -> list[torch.Tensor]:
    """Return ``ptr``, ``nodes``, ``others`` and ``order``."""
    of, other = ARRAYS.as_index(of), ARRAYS.as_index(other)  # 8-bit numbers have no number for padding
    is_valid = (of >= 0) & (of < num) & (other >= 0) & (other < num_other)
    nodes, order = torch.sort(torch.where(is_valid, of, num), stable=True)
    ends = torch.arange(num + 2, device=of.device, dtype=nodes.dtype)
    # Padding has the number `num`, so that the last search finds all edges.
    ptr = torch.searchsorted(nodes, ends)
    return [t.to(torch.int32).contiguous() for t in (ptr, nodes, other[order], order)]


def _key(dst: torch.Tensor, src: torch.Tensor, *others: Hashable) -> Hashable | None:
    """Return what names the contents of two tensors, or None if lists must not be kept."""
    if torch.compiler.is_compiling() or any(type(t) is not torch.Tensor or t.is_inference() for t in (dst, src)):
        return None
    stream = 0
    if dst.is_cuda:
        if torch.cuda.is_current_stream_capturing():
            return None  # what is computed in a graph is there when the graph runs
        stream = torch.cuda.current_stream(dst.device).cuda_stream
    tensors = tuple((t.data_ptr(), t.shape, t.stride(), t.dtype, t.device, t._version) for t in (dst, src))
    return tensors, stream, others
