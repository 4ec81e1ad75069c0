"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["jit"]

F = TypeVar("F", bound=Callable[..., Any])

# Not what takes infinities and NaN for impossible, or multiplies by a reciprocal for a quotient.
_OPTIONS: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
    "nogil": True,
}


def jit(function: F) -> F:
    """Compile a function when it is called, and keep the machine code on disk if there is a place for it."""
    try:
        compiled: F = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the folder of the file nor that of the user can be written to
        compiled = numba.njit(**_OPTIONS)(function)
    return compiled
