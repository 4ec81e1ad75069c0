"""Operations with kernels, for arrays as backends get them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from e3any_backends.coupling import Coupling
from e3any_backends.generic import Array
from e3any_backends.kernels import say

__all__ = ["Apply", "couple", "couple_pairs", "shares_weights"]

#: ``apply(name, arguments, operands, indices)`` returns the value of the map of a name.
Apply = Callable[[str, tuple[Any, ...], list[Array], list[Array]], Array]


def couple(xp: Any, apply: Apply, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
    """Couple two features; see :meth:`Backend.couple`."""
    lead = _broadcast(x.shape[:-2], y.shape[:-2], w.shape[:-2])
    operands = [_rows(xp, x, lead), _rows(xp, y, lead), _weights(xp, w)]
    product = apply("couple", (coupling.number,), operands, [])
    return xp.reshape(product, (*lead[1:], *product.shape[2:]))


def couple_pairs(xp: Any, apply: Apply, pairs: Array, w: Array, coupling: Coupling) -> Array:
    """Couple sums of products; see :meth:`Backend.couple_pairs`."""
    pairs = xp.reshape(pairs, (*pairs.shape[:-3], pairs.shape[-3] * pairs.shape[-2], pairs.shape[-1]))
    lead = _broadcast(pairs.shape[:-2], w.shape[:-2])
    product = apply("couple_pairs", (coupling.number,), [_rows(xp, pairs, lead), _weights(xp, w)], [])
    return xp.reshape(product, (*lead[1:], *product.shape[2:]))


def shares_weights(operation: str, w: Array, *factors: Array) -> bool:
    """Return whether weights (S, R, ..., paths, F) are the same for all rows, which is what kernels expect."""
    shares = w.ndim >= 4 and all(n == 1 for n in w.shape[2:-2])
    if not shares or any(x.shape[-1] != w.shape[-1] for x in factors):
        say(operation, f"factors of shape {', '.join(str(tuple(x.shape)) for x in factors)}, weights {tuple(w.shape)}")
        return False
    return True


def _weights(xp: Any, w: Array) -> Array:
    """Return weights as (S, R, paths, F)."""
    return xp.reshape(w, (*w.shape[:2], *w.shape[-2:]))


def _rows(xp: Any, x: Array, lead: tuple[Any, ...]) -> Array:
    """Merge the leading axes of a factor to (S, R, N, components, F), where each is one or whole."""
    sums, outs, *own = x.shape[:-2]
    if tuple(own) != lead[2:] and any(n != 1 for n in own):
        x = xp.broadcast_to(x, (sums, outs, *lead[2:], *x.shape[-2:]))
    return xp.reshape(x, (sums, outs, math.prod(x.shape[2:-2]), *x.shape[-2:]))


def _broadcast(*shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the shape that shapes of one rank broadcast to; sizes need not be numbers yet."""
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*shapes, strict=True))
