"""Comparison of the numbers of e3x and of e3any in Flax, which initialise the same parameters from the same key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_TOLERANCE = 1e-3  # relative to the largest number; single precision, squares and sums of many terms


def check_agreement(calls: dict[str, Callable[[], Any]]) -> None:
    """Raise a ValueError if e3x and e3any in JAX return different values.

    The first arrays that calls return are compared: the outputs, or the loss. Steps of training return no array.
    """
    if not {"jax", "e3x"} <= set(calls):
        return
    ours, theirs = (_first(calls[name]()) for name in ("jax", "e3x"))
    if ours is None or theirs is None:
        return
    atol = _TOLERANCE * np.max(np.abs(theirs))
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=_TOLERANCE, atol=atol):
        raise ValueError(f"expected the numbers of e3x, got {ours.ravel()[:4]} instead of {theirs.ravel()[:4]}")


def _first(outputs: Any) -> Any:
    """Return the first array of nested tuples."""
    while isinstance(outputs, tuple):
        outputs = outputs[0]
    return None if outputs is None else np.asarray(outputs)
