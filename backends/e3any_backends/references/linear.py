"""Linear maps of components, and of the features of irreps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from e3any_backends.arrays import Array, Arrays
from e3any_backends.forms.components import component_irreps

__all__ = ["dense_by_component", "dense_by_degree", "linear_by_matmul"]


def linear_by_matmul(
    arrays: Arrays, x: Array, w: Array, which: Array, bias: Array | None, precision: object = None
) -> Array:
    """Multiply every component with one of several matrices; see :meth:`~e3any_backends.generic.Backend.linear`."""
    xp, (*lead, size, features) = arrays.xp, x.shape
    columns = xp.reshape(xp.moveaxis(x, (-2,), (0,)), (size, math.prod(lead), features))
    y = arrays.matmul(columns, arrays.select(w, which, axis=0), precision)
    if bias is not None and y.shape[1]:
        y = y + xp.concat([xp.reshape(bias, (1, 1, -1)), xp.zeros_like(y[1:, :1, :])], axis=0)
    return xp.moveaxis(xp.reshape(y, (size, *lead, w.shape[-1])), (0,), (-2,))


def dense_by_component(
    arrays: Arrays,
    linear: Callable[..., Array],
    x: Array,
    kernels: Sequence[Array],
    bias: Array | None,
    precision: object = None,
) -> Array:
    """Map the features of irreps by one batch of products; ``linear`` is the operation of this name."""
    xp, (*lead, num_parities, size, features) = arrays.xp, x.shape
    which = arrays.table(component_irreps, math.isqrt(size) - 1, num_parities, like=x)
    flat = xp.reshape(x, (*lead, num_parities * size, features))
    y = linear(flat, xp.stack(kernels), which, bias, precision)
    return xp.reshape(y, (*lead, num_parities, size, y.shape[-1]))


def dense_by_degree(
    arrays: Arrays, x: Array, kernels: Sequence[Array], bias: Array | None, precision: object = None
) -> Array:
    """Map the features of irreps by one product for each of them."""
    xp, num_parities = arrays.xp, x.shape[-3]
    sizes = [2 * l + 1 for l in range(math.isqrt(x.shape[-2]))]
    parities = [arrays.pieces(parity, sizes, -2) for parity in arrays.pieces(x, (1,) * num_parities, -3)]
    blocks = [
        _multiply_rows(arrays, block, kernel, precision)
        for block, kernel in zip(itertools.chain(*parities), kernels, strict=True)
    ]
    blocks[0] = blocks[0] if bias is None else blocks[0] + arrays.aligned(bias, blocks[0])
    num = len(sizes)
    return xp.concat([xp.concat(blocks[i : i + num], axis=-2) for i in range(0, len(blocks), num)], axis=-3)


def _multiply_rows(arrays: Arrays, x: Array, kernel: Array, precision: object) -> Array:
    """Multiply all rows at once: derivatives of products with more axes take twice as long in XLA."""
    xp, (*lead, features) = arrays.xp, x.shape
    rows = xp.reshape(x, (math.prod(lead), features))
    return xp.reshape(arrays.matmul(rows, kernel, precision), (*lead, kernel.shape[-1]))
