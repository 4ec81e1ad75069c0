"""Sums of products over edges on devices without kernels, in few operations: each of them is a launch there."""

from __future__ import annotations

import math

import torch

from e3any_backends.arrays import Array
from e3any_backends.forms.components import component_degrees
from e3any_backends.torch.arrays import TorchArrays, has_memory

__all__ = ["edge_products_at_once"]

# Bytes of the products of a block of edges. They are not kept for derivatives, but their factors are: a device has
# memory for these, and would take as long again to compute them a second time.
_BLOCK_BYTES = 2**31


def edge_products_at_once(
    arrays: TorchArrays, x: Array, angular: Array, radial: Array, src: Array, dst: Array, num: int
) -> Array:
    """Sum products over edges; see :meth:`~e3any_backends.generic.Backend.edge_products`."""
    num_edges, size = angular.shape
    degrees = arrays.table(component_degrees, radial.shape[1] - 1, like=src)
    if 0 in (*x.shape, *angular.shape, num):
        return x.new_zeros((num, size, *x.shape[1:]))
    sent, received, padding = _checked(arrays.as_index(src), arrays.as_index(dst), x.shape[0], num)
    # The basis of padding need not be finite, nor may it spoil gradients: it is zero from here on.
    angular = torch.masked_fill(angular, padding[:, None], 0)
    radial = torch.masked_fill(radial, padding[:, None, None], 0)
    total = arrays.widened(x.new_zeros((num + 1, size, *x.shape[1:])))
    block = num_edges
    # Compilers would take one number of blocks for all sizes.
    if not torch.compiler.is_compiling() and all(map(has_memory, (x, angular, radial))):
        block = max(1, _BLOCK_BYTES // (x.element_size() * size * math.prod(x.shape[1:])))
    for first in range(0, num_edges, block):
        edges = slice(first, first + block)
        filters = torch.index_select(radial[edges], 1, degrees) * angular[edges, :, None]
        products = filters[:, :, None, :] * torch.index_select(x, 0, sent[edges])[:, None]
        total = torch.index_add(total, 0, received[edges], arrays.widened(products))
    return total[:num].to(x.dtype)


def _checked(src: Array, dst: Array, num_src: int, num_dst: int) -> tuple[Array, Array, Array]:
    """Return senders and receivers in range, and which edges are padding: their receiver is one more node."""
    sent, received = torch.clamp(src, 0, num_src - 1), torch.clamp(dst, 0, num_dst - 1)
    padding = (sent != src) | (received != dst)
    return sent, torch.masked_fill(received, padding, num_dst), padding
