"""Threads that share the work of a kernel, for libraries that call kernels from Python.

Work is split into parts beforehand, and sums over parts are taken in their order: results depend on the number of
threads alone. Kernels release Python's lock.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from e3any_backends.arrays import Array
from e3any_backends.kernels import most_threads

__all__ = ["Count", "add_copies", "cpus", "num_parts", "run", "undisturbed"]

T = TypeVar("T")

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
    parts = min(int(work // (GRAIN + _COPY * copied)), most)
    return min(parts, most_threads(), count()) if parts > 1 else 1


def run(function: Callable[..., None], parts: Sequence[tuple[Any, ...]], memory: Sequence[Array] = ()) -> None:
    """Call a kernel with the arguments of each part; return, or raise an error, when all are done.

    Signal handlers may raise errors at any time, as Ctrl-C does. No thread works on a part when they leave this
    function.

    Parameters
    ----------
    function : callable
        The kernel.
    parts : sequence of tuple
        The arguments of each part.
    memory : sequence of array
        Arrays that parts only have the addresses of: they live until all parts are done.
    """
    if len(parts) == 1:
        function(*parts[0])
    else:
        _Work(function, parts, memory).complete(_Work.share)


def undisturbed(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in another thread, where no signal handler interrupts it.

    What has been half imported or half compiled when a signal comes would stay so. Handlers run in the main thread
    alone: what they raise is raised when the function has returned.
    """
    if threading.current_thread() is not threading.main_thread() or sys.is_finalizing() or not _helpers.start(1):
        return function(*arguments)
    results: list[T] = []
    _Work(lambda: results.append(function(*arguments)), [()]).complete(_Work.hand_over)
    return results[0]


def add_copies(total: Array, copies: Array) -> None:
    """Add what the parts but the first have summed up, in their order."""
    for copy in copies:
        total += copy


class _Work:
    """Parts of a kernel's work, and all memory that they use, which they keep as long as one of them is not done.

    Whoever claims a part does it. A claim is one operation of a dictionary, which no signal and no thread divides.
    """

    def __init__(
        self, function: Callable[..., None], parts: Sequence[tuple[Any, ...]], memory: Sequence[Array] = ()
    ) -> None:
        self._function, self._parts, self._memory = function, parts, memory
        self._owners: dict[int, int] = {}  # the thread that does a part, or has done it if it is _NOBODY
        self._done: SimpleQueue[None] = SimpleQueue()
        self._errors: list[BaseException] = []

    def complete(self, step: Callable[[_Work], None]) -> None:
        """Repeat a step until nothing interrupts it; then raise what has been raised last."""
        returned, interrupts = False, list[BaseException]()
        while not returned:
            try:
                step(self)
                returned = True
            except BaseException as error:
                interrupts[:] = [error]
        self._parts, self._memory = (), ()
        for errors in (interrupts, self._errors):
            if errors:
                raise errors.pop()

    def share(self) -> None:
        """Let other threads help with all parts but one, do what they have not begun, and wait for the rest."""
        if not self._owners:
            _helpers.call(self, len(self._parts) - 1)
        for number in range(len(self._parts)):
            self._do(number)
        self._wait()

    def hand_over(self) -> None:
        """Let another thread do all parts, and wait."""
        if not self._owners:
            _helpers.call(self, 1)
        self._wait()

    def help(self) -> None:
        """Do what no thread has begun, the last part first, as the caller begins with the first."""
        for number in reversed(range(len(self._parts))):
            try:
                self._do(number)
            except BaseException as error:
                self._errors[:] = [error]

    def _do(self, number: int) -> None:
        """Do a part unless somebody has begun it."""
        me = threading.get_ident()
        if number not in self._owners and self._owners.setdefault(number, me) == me:
            try:
                self._function(*self._parts[number])
            finally:
                self._owners[number] = _NOBODY
                self._done.put(None)

    def _wait(self) -> None:
        """Wait for the parts of other threads, which wake the caller after each."""
        finished = _NOBODY, threading.get_ident()
        while len(self._owners) < len(self._parts) or any(owner not in finished for owner in self._owners.values()):
            self._done.get()


class _Helpers:
    """Threads that wait for work. They are daemons: Python ends without them."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Work] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def call(self, work: _Work, num: int) -> None:
        """Ask so many threads to help, or fewer where there are no more."""
        for _ in range(self.start(num)):
            self._calls.put(work)

    def start(self, num: int) -> int:
        """Start threads until there are so many, but not more than CPUs; return how many of these there are."""
        num = min(num, os.cpu_count() or 1)
        with self._lock:
            while len(self._threads) < num:
                thread = threading.Thread(target=self._serve, name=f"e3any_{len(self._threads)}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # Python is about to end, or the system has no more threads
                    break
                self._threads.append(thread)
            return min(num, len(self._threads))

    def _serve(self) -> None:
        while True:
            self._calls.get().help()


_NOBODY = 0  # threads have other numbers
_helpers = _Helpers()


def _forget_helpers() -> None:
    """Begin without threads in a forked process, which has none of those of its parent."""
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
