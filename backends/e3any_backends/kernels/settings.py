"""Settings of users: whether kernels are on, and how many threads they can use."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["enabled", "most_threads", "switch", "threads"]

T = TypeVar("T")

_SWITCH = {
    "": True,
    **dict.fromkeys(("1", "true", "on", "yes"), True),
    **dict.fromkeys(("0", "false", "off", "no"), False),
}


def _threads_of(value: str) -> int:
    """Parse the environment variable ``E3ANY_THREADS``; empty means no limit."""
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
    """Parse the environment variable ``E3ANY_KERNELS``; empty means on."""
    word = value.strip().lower()
    if word not in _SWITCH:
        raise ValueError(
            "expected the environment variable E3ANY_KERNELS to be 1, true, on or yes, or 0, false, off or no, "
            f"got {value!r}; without it kernels are on"
        )
    return _SWITCH[word]


_threads_at_start: int = _threads_of(os.environ.get("E3ANY_THREADS", ""))
_switch_at_start: bool = _switch_of(os.environ.get("E3ANY_KERNELS", ""))
_most_threads = ContextVar("e3any_threads", default=_threads_at_start)
#: Whether kernels are switched on.
switch = ContextVar("e3any_kernels", default=_switch_at_start)


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
    ...     switch.get()
    False
    """
    if not isinstance(value, bool):
        raise TypeError(f"expected value to be True or False, got {value!r}")
    return _within(switch, value)


@contextmanager
def _within(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def most_threads() -> int:
    """Return the largest number of threads that a kernel can use."""
    return _most_threads.get()


def threads(most: int) -> AbstractContextManager[None]:
    """Limit the number of threads of kernels within a ``with`` statement.

    Without a limit, the number depends on the library that calls the kernel:

    ========  ====================================================
    library   threads
    ========  ====================================================
    NumPy     CPUs of the process, or ``OMP_NUM_THREADS`` if less
    PyTorch   :func:`torch.get_num_threads`
    JAX       those of XLA's pool
    ========  ====================================================

    A small amount of work is done by one thread. Sums that threads share are rounded differently for another number of
    threads, and always alike for the same number. The environment variable ``E3ANY_THREADS`` sets the limit from the
    start. Compiled programs of JAX keep the number that they were compiled with.

    Parameters
    ----------
    most : int
        The largest number of threads.

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
