"""Large pages of memory for the results of kernels.

XLA frees the memory of results after every call, and gets new memory in pages of 4 KiB. The first access to a page
takes longer than a kernel needs to fill it. On request Linux makes pages of 2 MiB:
https://docs.kernel.org/admin-guide/mm/transhuge.html.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from numba import types

from e3any_backends.kernels.code.jit import jit

__all__ = ["advise"]

_PAGE = 1 << 21
# Smaller arrays seldom fill a large page.
_LEAST = 1 << 20
_MADV_HUGEPAGE = 14
_madvise: Callable[[int, int, int], int] = types.ExternalFunction(
    "madvise", types.int32(types.intp, types.uintp, types.int32)
)


def _advise(address: int, size: int) -> None:
    """Ask for large pages for an array of so many bytes, if it is large."""
    if size >= _LEAST:
        begin = address // _PAGE * _PAGE
        _madvise(begin, -(-(address + size - begin) // _PAGE) * _PAGE, _MADV_HUGEPAGE)


def _do_nothing(address: int, size: int) -> None:
    """Leave pages as they are: only Linux knows the request."""


#: Ask for large pages for an array of so many bytes, if it is large and the system is Linux.
advise = jit(_advise if sys.platform == "linux" else _do_nothing)
