"""Threads that share the work of a kernel, for libraries that call kernels from Python.

Work is split into parts beforehand, and sums over parts are taken in their order: results depend on the number of
threads alone. Kernels release Python's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

from e3any_backends.generic import Array
from e3any_backends.kernels import most_threads

__all__ = ["Count", "add_copies", "cpus", "num_parts", "run"]

#: A function that returns how many threads a library uses.
Count = Callable[[], int]

# What a part has to do at least, as multiplications of numbers of four bytes: these take 0.15 ms, and a thread takes
# 0.05 ms to begin.
GRAIN = 4_000_000
# What it costs to clear and to add a number of a copy.
_COPY = 16


def cpus() -> int:
    """Return the number of CPUs of the process, or OMP_NUM_THREADS if that is less."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(count, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else count


def num_parts(work: float, count: Count = cpus, copied: int = 0, most: int = 1 << 30) -> int:
    """Return how many parts to make of the work of a kernel.

    Parameters
    ----------
    work : float
        Its multiplications, those of numbers of eight bytes counted twice.
    count : callable
        How many threads there are.
    copied : int
        How many numbers of outputs every part but the first has a copy of.
    most : int
        How many parts there can be.
    """
    parts = min(int(work // (GRAIN + _COPY * copied)), most, most_threads())
    return min(parts, count()) if parts > 1 else 1


def run(function: Callable[..., None], parts: Sequence[tuple[Any, ...]]) -> None:
    """Call a kernel with the arguments of each part; return when all are done."""
    if len(parts) == 1:
        function(*parts[0])
        return
    futures = [_submit(function, arguments) for arguments in parts[1:]]
    try:
        function(*parts[0])
        for future, arguments in zip(futures, parts[1:], strict=True):
            # The others may be busy with other kernels.
            if future is None or future.cancel():
                function(*arguments)
    finally:
        wait([future for future in futures if future is not None])
    for future in futures:
        if future is not None and not future.cancelled():
            future.result()


def add_copies(total: Array, copies: Array) -> None:
    """Add what the parts but the first have summed up, in their order."""
    for copy in copies:
        total += copy


def _submit(function: Callable[..., None], arguments: tuple[Any, ...]) -> Future[None] | None:
    try:
        return _executor().submit(function, *arguments)
    except RuntimeError:  # Python is about to end, or no thread can be started
        return None


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "e3any")


# A forked process has none of the threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.cache_clear)
