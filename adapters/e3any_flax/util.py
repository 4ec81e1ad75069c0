"""Shapes of arrays."""

from __future__ import annotations

from e3any.checks import check_broadcast
from e3any_flax.types import Shape

__all__ = ["Shape", "is_broadcastable"]


def is_broadcastable(shape1: Shape, shape2: Shape) -> bool:
    """Return whether two shapes broadcast."""
    try:
        check_broadcast("shapes", shape1, shape2)
    except ValueError:
        return False
    return True
