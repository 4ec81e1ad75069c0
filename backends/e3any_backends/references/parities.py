r"""Couplings of features of one or both parities, by a table of degrees that all parities share.

The parity of a product is the sum (mod 2) of the parities of its factors, so that for two factors with both parities
one table of degrees holds for all four combinations, as leading axes (s, r):

.. math:: z^{(r)} = \sum_s x^{(s)} \otimes y^{(s \oplus r)} .

See :mod:`e3any.nn.layers.couplings` for the tables. ``couple`` and ``couple_pairs`` are the operations of these names
of :class:`e3any_backends.generic.Backend`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from e3any_backends.arrays import Array, Arrays, Namespace
from e3any_backends.forms.couplings import CouplingPlan

__all__ = ["collect_parities", "couple_pair_parities", "couple_parities", "couple_paths", "factor_parities"]

Couple = Callable[..., Array]


def couple_parities(arrays: Arrays, couple: Couple, x: Array, y: Array, kernel: Array, plan: CouplingPlan) -> Array:
    """Couple two features; see :meth:`~e3any_backends.generic.Backend.couple_features`."""
    weights = _path_weights(arrays, kernel, plan, max(x.ndim, y.ndim))
    return couple_paths(arrays, couple, x, y, weights, plan)


def couple_paths(arrays: Arrays, couple: Couple, x: Array, y: Array, weights: Array, plan: CouplingPlan) -> Array:
    """Couple two features by weights of paths; see :meth:`~e3any_backends.generic.Backend.couple_paths`."""
    xp = arrays.xp
    rank = max(x.ndim, y.ndim)
    x, y = _parity_first(xp, x, rank), _parity_first(xp, y, rank)
    both = x.shape[0] == y.shape[0] == 2
    x, y = factor_parities(xp, x, 0, both), factor_parities(xp, y, 1, both)
    return collect_parities(arrays, couple(x, y, weights, plan.coupling), plan)


def factor_parities(xp: Namespace, x: Array, number: int, both: bool) -> Array:
    """Return the first or second factor (P, ...) for the parities (s, r) of its product; ``both`` have two of them."""
    if not both:
        return x[None, ...]
    return x[:, None, ...] if number == 0 else xp.stack([x, xp.flip(x, axis=0)], axis=1)


def couple_pair_parities(
    arrays: Arrays, couple_pairs: Couple, pairs: Array, kernel: Array, plan: CouplingPlan
) -> Array:
    """Couple sums of products; see :meth:`~e3any_backends.generic.Backend.couple_pair_features`."""
    pairs = arrays.xp.moveaxis(pairs, (-3,), (0,))[None, ...]
    weights = _path_weights(arrays, kernel, plan, pairs.ndim - 2)
    return collect_parities(arrays, couple_pairs(pairs, weights, plan.coupling), plan)


def _parity_first(xp: Namespace, x: Array, rank: int) -> Array:
    """Move the parity axis to the front and pad leading axes to a common rank."""
    x = xp.moveaxis(x, (-3,), (0,))
    return xp.reshape(x, (x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:]))


def _path_weights(arrays: Arrays, kernel: Array, plan: CouplingPlan, rank: int) -> Array:
    """Return the weights (S, R, 1, ..., paths, F) of the table's paths, of rank ``rank + 1``."""
    xp, features = arrays.xp, kernel.shape[-1]
    flat = xp.reshape(kernel, (math.prod(kernel.shape[:-1]), features))
    index = arrays.table_of(plan, "weight_index", like=kernel)
    sums, outs, paths = index.shape
    weights = xp.reshape(arrays.select(flat, xp.reshape(index, (-1,)), axis=0), (sums, outs, paths, features))
    if plan.is_masked:
        weights = weights * arrays.table_of(plan, "weight_mask", like=weights)
    return xp.reshape(weights, (sums, outs, *(1,) * (rank - 3), paths, features))


def collect_parities(arrays: Arrays, product: Array, plan: CouplingPlan) -> Array:
    """Return the product of all parities: reorder (R, ..., classes * (L3+1)**2, F) to (..., P3, (L3+1)**2, F)."""
    xp = arrays.xp
    num_parities, num_degrees = plan.kernel_shape[4:6]
    size = num_degrees**2
    if plan.num_classes == 2:
        first, second = product[..., :size, :], product[..., size:, :]
        if product.shape[0] == 1:
            product = xp.concat([first, second], axis=0)
        else:
            product = first + xp.flip(second, axis=0)
    if num_parities == 1 and product.shape[0] == 2:
        blocks = [product[l % 2, ..., l**2 : (l + 1) ** 2, :] for l in range(num_degrees)]
        product = xp.concat(blocks, axis=-2)[None, ...]
    return xp.moveaxis(product, (0,), (-3,))
