"""Arrays at the edge of pages that cannot be accessed: a kernel that goes too far ends the process."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

_PAGE = mmap.PAGESIZE
_PROT_NONE = 0


def guarded(shape: Sequence[int], dtype: Any, *, at_end: bool = True) -> np.ndarray:
    """Return an array of zeros that ends where a page begins, or begins where a page ends, that cannot be accessed.

    Its memory goes back to the system with it, so that whoever writes to it later ends the process as well. Where pages
    cannot be protected it is an array as others.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if not sys.platform.startswith("linux"):
        return np.zeros(shape, dtype)
    pages = max(1, -(-size // _PAGE)) * _PAGE
    memory = mmap.mmap(-1, pages + 2 * _PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for at in (address, address + _PAGE + pages):
        if _library().mprotect(ctypes.c_void_p(at), ctypes.c_size_t(_PAGE), _PROT_NONE):
            raise OSError(ctypes.get_errno(), "a page cannot be protected")
    return np.ndarray(tuple(shape), dtype, memory, _PAGE + (pages - size if at_end else 0))


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@contextmanager
def guarded_results() -> Iterator[None]:
    """Let kernels write what they return to guarded arrays."""
    from e3any_backends.kernels import maps

    empty, zeros = maps.empty, maps.zeros
    maps.empty = maps.zeros = lambda shape, dtype: guarded(shape, dtype)
    try:
        yield
    finally:
        maps.empty, maps.zeros = empty, zeros
