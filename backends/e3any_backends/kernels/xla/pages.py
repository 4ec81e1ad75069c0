"""Large pages of memory for what kernels write.

XLA returns memory after every call and gets it back in pages of 4 KiB, and the first access to each takes longer
than a kernel needs to fill it. Linux makes pages of 2 MiB where it is asked to.
"""

from __future__ import annotations

import sys
from typing import Any

from numba import types

from e3any_backends.kernels.code.jit import jit

__all__ = ["advise"]

_PAGE = 1 << 21
# Smaller arrays are seldom alone on a large page.
_LEAST = 1 << 20
_MADV_HUGEPAGE = 14
_madvise: Any = types.ExternalFunction("madvise", types.int32(types.intp, types.uintp, types.int32))


def _advise(address: int, size: int) -> None:
    """Ask for large pages where an array of so many bytes lies, if it is a large one."""
    if size >= _LEAST:
        begin = address // _PAGE * _PAGE
        _madvise(begin, -(-(address + size - begin) // _PAGE) * _PAGE, _MADV_HUGEPAGE)


def _do_nothing(address: int, size: int) -> None:
    """Leave pages as they are, where only Linux would know what is asked."""


#: Ask for large pages where an array of so many bytes lies, if it is a large one and the system is Linux.
advise: Any = jit(_advise if sys.platform == "linux" else _do_nothing)
