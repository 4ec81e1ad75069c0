"""Checks that all radial functions share."""

from __future__ import annotations

from typing import Any

from e3any_backends import Array, Backend

from e3any.checks import check_integer
from e3any.nn._functions import scalar_like
from e3any.nn.cutoffs import check_positive, checked_backend

__all__ = ["check_num", "scaled"]


def check_num(num: Any) -> None:
    """Raise a ValueError unless ``num`` is an integer >= 1."""
    check_integer(num, "num", least=1)


def scaled(x: Array, num: Any, limit: Array | float) -> tuple[Backend, Array]:
    """Check the arguments of a function with a limit; return the backend and x in units of the limit."""
    # The result is constant at far distances, where neighbouring numbers are two limits apart: the quotient and its
    # derivatives would overflow.
    backend = checked_backend(x)
    check_num(num)
    check_positive(limit, "limit")
    xp, unit = backend.xp, scalar_like(backend, limit, x)
    farthest = 2.0 / float(xp.finfo(x.dtype).eps)
    far = xp.abs(x) > farthest * unit
    end = xp.full_like(x, farthest)
    return backend, xp.where(far, xp.where(x < 0.0, -end, end), xp.where(far, xp.zeros_like(x), x) / unit)
