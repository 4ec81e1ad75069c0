"""Kernels for the CPU that need no C compiler: loops over tables, compiled by numba where it is installed.

The plain form of every operation is the specification and the fallback. A kernel is used for arrays of NumPy, tensors
of PyTorch and programs of JAX on the CPU in float32 and float64; the logger ``e3any`` says at level DEBUG why one is
not. numba is imported when the first kernel is called.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

__all__ = ["LEAST_HARMONICS", "available", "enabled", "fills_vectors", "harmonics_are_few", "most_threads", "say"]
__all__ += ["threads", "used"]

#: For fewer harmonics the first call of a kernel, which compiles it, costs more than thousands of calls gain.
LEAST_HARMONICS = 1024

_logger = logging.getLogger("e3any")
_most_threads = ContextVar("e3any_threads", default=int(os.environ.get("E3ANY_THREADS") or sys.maxsize))
_switch = ContextVar("e3any_kernels", default=os.environ.get("E3ANY_KERNELS", "1") != "0")


@cache
def available() -> bool:
    """Return whether numba can be imported; the first call tries."""
    try:
        importlib.import_module("numba")
    except ImportError as error:
        _logger.debug("no kernels: %s", error)
        return False
    return True


def used() -> bool:
    """Return whether kernels are switched on and can be compiled."""
    return _switch.get() and available()


@contextmanager
def enabled(value: bool = True) -> Iterator[None]:
    """Switch kernels on or off within a ``with`` statement.

    The environment variable ``E3ANY_KERNELS=0`` switches them off from the start. Programs that have been compiled
    or exported stay as they are.

    Parameters
    ----------
    value : bool
        Whether kernels are used.

    Examples
    --------
    >>> with enabled(False):
    ...     used()
    False
    """
    token = _switch.set(value)
    try:
        yield
    finally:
        _switch.reset(token)


def most_threads() -> int:
    """Return how many threads a kernel may use at most."""
    return _most_threads.get()


@contextmanager
def threads(most: int) -> Iterator[None]:
    """Let kernels use at most so many threads within a ``with`` statement.

    Kernels use as many threads as PyTorch, :func:`torch.get_num_threads`, for tensors; as the process has CPUs, or
    ``OMP_NUM_THREADS``, for arrays of NumPy; and as the pool of XLA has, for programs of JAX. Little work is done by
    one. Sums that threads share are rounded differently for another number of threads, and alike for the same. The
    environment variable ``E3ANY_THREADS`` says how many are used at most from the start. Programs of JAX keep the
    number that they were compiled with.

    Parameters
    ----------
    most : int
        The number of threads.

    Examples
    --------
    >>> with threads(2):
    ...     most_threads()
    2
    """
    if most < 1:
        raise ValueError(f"expected at least one thread, got {most}")
    token = _most_threads.set(most)
    try:
        yield
    finally:
        _most_threads.reset(token)


def harmonics_are_few(r: Any, components: int) -> bool:
    """Return whether a kernel does not pay for so many components of harmonics of vectors (..., 3), and log it."""
    few: bool = math.prod(r.shape[:-1]) * components < LEAST_HARMONICS
    if few:
        say("harmonics", f"fewer than {LEAST_HARMONICS} numbers")
    return few


def fills_vectors(x: Any, matrix: Any) -> bool:
    """Return whether both sizes of a matrix (F, G) are multiples of what the kernel of linear maps has in a vector."""
    lanes = 512 // (8 * x.dtype.itemsize)
    return all(size > 0 and size % lanes == 0 for size in matrix.shape)


def say(operation: str, reason: str) -> None:
    """Log why an operation is not done by a kernel."""
    _logger.debug("plain form of %s: %s", operation, reason)
