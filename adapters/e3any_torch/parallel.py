"""Exchange of features between parts of one graph, each in a process of its own, see :mod:`e3any.parallel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from e3any_backends import backend_of
from torch import distributed

from e3any.checks import shown
from e3any.parallel import Halo
from e3any.parallel.halo import check_exchange, check_parts

__all__ = ["exchange", "sum_parts"]


def exchange(x: Any, halo: Halo, group: Any = None) -> Any:
    """Append the rows that other parts of a graph send, by one ``torch.distributed.all_to_all_single``.

    All processes of the group have to call this, in the same order. Derivatives of all orders are exchanges, too:
    cotangents of received rows are sent back and added to those of the rows that were sent. So all processes have to
    compute the same derivatives as well.

    Parameters
    ----------
    x : tensor of shape (n, ...), or dictionary of such tensors
        Rows of the part of this process: positions, or features.
    halo : Halo
        The halo of :meth:`e3any.parallel.GraphPartition.part`, for the rank of this process in the group.
    group : torch.distributed.ProcessGroup, optional
        The group of processes, as many as there are parts; all by default.

    Returns
    -------
    tensor of shape (n + S, ...), or dictionary of such tensors
        Rows of this part, and those that it receives. Rows of padding are zero.

    Raises
    ------
    TypeError
        If ``halo`` is not a halo, or ``x`` is not a tensor.
    ValueError
        If the rows are not those of the part of this process, tensors are on different devices, or there is no group of
        as many processes as parts.
    """
    for block in x.values() if isinstance(x, Mapping) else [x]:
        _check_tensor(block)
    check_exchange(x, halo)
    if isinstance(halo.rows, torch.Tensor):
        backend_of(halo.rows, *(x.values() if isinstance(x, Mapping) else [x]))  # one device
    rank = _rank(halo, group)
    if isinstance(x, Mapping):
        return {name: _exchanged(block, halo, rank, group) for name, block in x.items()}
    return _exchanged(x, halo, rank, group)


def sum_parts(x: torch.Tensor, group: Any = None) -> torch.Tensor:
    """Sum tensors over all processes of a group; differentiable to any order.

    The cotangent of the result is summed over processes, too. So let each process differentiate its *share* of a loss,
    such that the loss is the sum of all shares, then sum the gradients of parameters::

        loss = (sum_parts(energies.sum()) - target) ** 2 / num_parts + errors_of_own_forces

    ``jax.lax.psum`` does the same within ``jax.shard_map(..., check_vma=False)``.

    Parameters
    ----------
    x : tensor
        Tensor of the same shape in every process.
    group : torch.distributed.ProcessGroup, optional
        The group of processes; all by default.

    Returns
    -------
    tensor of the same shape
        The sum, the same in every process.

    Raises
    ------
    TypeError
        If ``x`` is not a tensor.
    ValueError
        If there is no process group.
    """
    _check_tensor(x)
    _check_group(group)
    return _Sum.apply(x, group)  # type: ignore[no-any-return, no-untyped-call]


def _check_tensor(x: Any) -> None:
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"expected x to be a tensor, got {shown(x)}")


def _check_group(group: Any) -> None:
    if not (distributed.is_available() and distributed.is_initialized()):
        raise ValueError("expected a process group of torch.distributed, got none: call init_process_group")
    if distributed.get_rank(group) < 0:
        raise ValueError(f"expected a group that has this process, got {shown(group)}")


def _rank(halo: Halo, group: Any) -> int:
    """Return the rank of this process, whose part has to be that of the halo."""
    _check_group(group)
    check_parts(halo, distributed.get_world_size(group), "a group of as many processes")
    rank = distributed.get_rank(group)
    if halo.part not in (None, rank):
        raise ValueError(f"expected the halo of part {rank} in the process of this rank, got that of part {halo.part}")
    return rank


def _exchanged(x: Any, halo: Halo, rank: int, group: Any) -> Any:
    if not halo.rounds:
        return x
    backend, sizes = backend_of(x), [size for size, _ in halo.rounds]
    rows = halo.rows if isinstance(halo.rows, torch.Tensor) else backend.index(halo.rows, like=x)
    rounds = list(enumerate(pairs for _, pairs in halo.rounds))
    # Rounds in the order of the ranks that they go to, and of those that they come from.
    sent = sorted((receiver, r) for r, pairs in rounds for sender, receiver in pairs if sender == rank)
    received = sorted((sender, r) for r, pairs in rounds for sender, receiver in pairs if receiver == rank)
    to_parts, from_parts = (_splits(each, sizes, halo.num_parts) for each in (sent, received))
    blocks = torch.split(rows, sizes)
    chosen = torch.cat([rows[:0], *(blocks[r] for _, r in sent)])
    arrived = _Exchange.apply(backend.take(x, chosen), to_parts, from_parts, group)  # type: ignore[no-untyped-call]
    of_rounds = dict(zip([r for _, r in received], torch.split(arrived, [sizes[r] for _, r in received]), strict=True))
    others = [of_rounds[r] if r in of_rounds else x.new_zeros((size, *x.shape[1:])) for r, size in enumerate(sizes)]
    # The result depends on what arrives even if that is nothing: all processes have to take part in derivatives.
    return torch.cat([x, *others] if received else [x, *others, arrived])


def _splits(ranks: list[tuple[int, int]], sizes: list[int], num_parts: int) -> list[int]:
    """Return how many rows go to, or come from, every part."""
    found = {rank: sizes[r] for rank, r in ranks}
    return [found.get(part, 0) for part in range(num_parts)]


class _Exchange(torch.autograd.Function):
    """Send rows to all processes; the gradient sends them back."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sent: list[int], received: list[int], group: Any) -> torch.Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        result = rows.new_empty((sum(received), *rows.shape[1:]))
        distributed.all_to_all_single(result, rows.contiguous(), received, sent, group=group)
        return result

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        back = _Exchange.apply(*cotangents, ctx.received, ctx.sent, ctx.group)  # type: ignore[no-untyped-call]
        return back, None, None, None


class _Sum(torch.autograd.Function):
    """Sum over all processes; the gradient is the sum of cotangents."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        result = x.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(result, group=group)
        return result

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        return _Sum.apply(*cotangents, ctx.group), None  # type: ignore[no-untyped-call]
