"""Kernels for the CPU that need no C compiler: loops over tables, compiled by numba where it is installed.

The plain form of every operation is the specification and the fallback. A kernel is used for arrays of NumPy, tensors
of PyTorch and programs of JAX on the CPU in float32 and float64; the logger ``e3any`` says at level DEBUG why one is
not. numba is imported when the first kernel is called. Whatever goes wrong when kernels are imported or compiled
switches them off for the rest of the process, with one warning.
"""

from __future__ import annotations

import importlib
import logging
import math
import operator
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import numpy as np

__all__ = ["LEAST_HARMONICS", "KernelError", "available", "enabled", "fills_vectors", "give_up", "harmonics_are_few"]
__all__ += ["harmonics_compile", "log_fallback", "most_threads", "threads", "used", "warn"]

T = TypeVar("T")

#: For fewer harmonics the first call of a kernel, which compiles it, costs more than thousands of calls gain.
LEAST_HARMONICS = 1024

_logger = logging.getLogger("e3any")
_WORDS = {
    "": True,
    **dict.fromkeys(("1", "true", "on", "yes"), True),
    **dict.fromkeys(("0", "false", "off", "no"), False),
}


def _threads_of(value: str) -> int:
    """Return how many threads the environment variable allows."""
    if not value.strip():
        return sys.maxsize
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(
            f"expected the environment variable E3ANY_THREADS to be an integer >= 1, got {value!r}; "
            "without it kernels use as many threads as the library that calls them"
        )
    return number


def _switch_of(value: str) -> bool:
    """Return whether the environment variable switches kernels on."""
    word = value.strip().lower()
    if word not in _WORDS:
        raise ValueError(
            "expected the environment variable E3ANY_KERNELS to be 1, true, on or yes, or 0, false, off or no, "
            f"got {value!r}; without it kernels are on"
        )
    return _WORDS[word]


_threads_at_start: int = _threads_of(os.environ.get("E3ANY_THREADS", ""))
_switch_at_start: bool = _switch_of(os.environ.get("E3ANY_KERNELS", ""))
_most_threads = ContextVar("e3any_threads", default=_threads_at_start)
_switch = ContextVar("e3any_kernels", default=_switch_at_start)
_failures: list[str] = []
_warned: set[str] = set()


class KernelError(Exception):
    """A kernel does not work here; the reference has to be used."""


# -- whether kernels work -----------------------------------------------------------------------------------


def available() -> bool:
    """Return whether kernels work: their modules can be imported, and none has failed since; the first call tries."""
    return _import() and not _failures


@cache
def _import() -> bool:
    from e3any_backends.kernels.parallel.pool import undisturbed

    return undisturbed(_try_import)


def _try_import() -> bool:
    try:
        numba = importlib.import_module("numba")
        if numba.config.DISABLE_JIT:
            raise KernelError("NUMBA_DISABLE_JIT is set")
        for name in ("maps", "xla.handlers"):
            importlib.import_module(f"{__name__}.{name}")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "numba":
            _logger.debug("no kernels: %s", error)
        else:
            give_up(error)
        return False
    return True


def harmonics_compile(dtype: str) -> bool:
    """Compile all kernels of harmonics for numbers of a dtype, before a program is made that cannot do without."""
    return _compile_harmonics(dtype)


@cache
def _compile_harmonics(dtype: str) -> bool:
    from e3any_backends.kernels.maps import Harmonics

    kernel, r = Harmonics((1.0, 1.0), (0, 1, 2, 3), True), np.zeros((1, 3), dtype)
    try:
        g = kernel.jvp(r, kernel.vjp(r, kernel.value(r)))
        kernel.second_vjp(r, g, r)
    except KernelError:
        return False
    return True


def give_up(error: Exception) -> KernelError:
    """Switch kernels off for the rest of the process, warn of it once, and return what to raise."""
    reason = f"{type(error).__name__}: {error}"
    _failures.append(reason)
    warn("kernels", f"kernels are switched off, and the reference is used, which is slower: {reason}")
    return KernelError(reason)


def warn(subject: str, message: str) -> None:
    """Log a warning, the first of a subject only."""
    if subject not in _warned:
        _warned.add(subject)
        _logger.warning("%s", message)


# -- what users choose --------------------------------------------------------------------------------------


def used() -> bool:
    """Return whether kernels are switched on and work."""
    return _switch.get() and _import() and not _failures


def enabled(value: bool = True) -> AbstractContextManager[None]:
    """Switch kernels on or off within a ``with`` statement.

    The environment variable ``E3ANY_KERNELS=0`` switches them off from the start. Programs that have been compiled
    or exported stay as they are.

    Parameters
    ----------
    value : bool
        Whether kernels are used.

    Raises
    ------
    TypeError
        If ``value`` is neither True nor False.

    Examples
    --------
    >>> with enabled(False):
    ...     used()
    False
    """
    if not isinstance(value, bool):
        raise TypeError(f"expected value to be True or False, got {value!r}")
    return _within(_switch, value)


@contextmanager
def _within(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def most_threads() -> int:
    """Return how many threads a kernel may use at most."""
    return _most_threads.get()


def threads(most: int) -> AbstractContextManager[None]:
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

    Raises
    ------
    TypeError
        If ``most`` is no integer.
    ValueError
        If it is less than one.

    Examples
    --------
    >>> with threads(2):
    ...     most_threads()
    2
    """
    try:
        number = None if isinstance(most, bool) else operator.index(most)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"expected most to be an integer >= 1, got {most!r}")
    if number < 1:
        raise ValueError(f"expected most to be an integer >= 1, got {most!r}")
    return _within(_most_threads, number)


def harmonics_are_few(r: Any, components: int) -> bool:
    """Return whether a kernel does not pay for so many components of harmonics of vectors (..., 3), and log it."""
    few: bool = math.prod(r.shape[:-1]) * components < LEAST_HARMONICS
    if few:
        log_fallback("harmonics", f"fewer than {LEAST_HARMONICS} numbers")
    return few


def fills_vectors(x: Any, matrix: Any) -> bool:
    """Return whether both sizes of a matrix (F, G) are multiples of what the kernel of linear maps has in a vector."""
    lanes = 512 // (8 * x.dtype.itemsize)
    return all(size > 0 and size % lanes == 0 for size in matrix.shape)


def log_fallback(operation: str, reason: str) -> None:
    """Log why an operation is not done by a kernel."""
    _logger.debug("no kernel for %s: %s", operation, reason)
