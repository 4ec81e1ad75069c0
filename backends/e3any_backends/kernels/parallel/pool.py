"""Threads that share the work of a kernel, for libraries that call kernels from Python.

Work is split into shares beforehand, and partial outputs are added in the order of shares. So results depend on the
number of shares, and not on which thread computes them. Kernels release the GIL.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

from e3any_backends.arrays import Array
from e3any_backends.kernels.settings import most_threads

__all__ = ["Count", "add_partial_outputs", "cpus", "num_shares", "run", "undisturbed"]

T = TypeVar("T")

#: A function that returns how many threads a library uses.
Count = Callable[[], int]

# The least work of a share, in multiplications of 4-byte numbers. It takes 0.15 ms; to start a thread takes 0.05 ms.
GRAIN = 4_000_000
# The work to clear a number of a partial output and to add it, in the same unit.
_PARTIAL_WORK = 16


def cpus() -> int:
    """Return the number of CPUs of the process, or OMP_NUM_THREADS if that is less."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(count, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else count


def num_shares(work: float, count: Count = cpus, partial_size: int = 0, most: int = 1 << 30) -> int:
    """Return the number of shares to split the work of a kernel into.

    Parameters
    ----------
    work : float
        Number of multiplications; those of 8-byte numbers count twice.
    count : callable
        Returns the number of threads.
    partial_size : int
        Numbers in the partial outputs of one share. The first share has none: it writes the outputs.
    most : int
        The largest possible number of shares.
    """
    num = min(int(work // (GRAIN + _PARTIAL_WORK * partial_size)), most)
    return min(num, most_threads(), count()) if num > 1 else 1


def run(function: Callable[..., None], shares: Sequence[tuple[object, ...]], memory: Sequence[Array] = ()) -> None:
    """Call a kernel with the arguments of each share; return, or raise an error, when all are done.

    Signal handlers can raise errors at any time, for example at Ctrl-C. When they leave this function, no thread works
    on a share any more.

    Parameters
    ----------
    function : callable
        The kernel.
    shares : sequence of tuple
        The arguments of each share.
    memory : sequence of array
        Arrays of which the arguments hold only addresses: they are kept alive until all shares are done.
    """
    if len(shares) == 1:
        function(*shares[0])
    else:
        _Work(function, shares, memory).complete(_Work.run_with_helpers)


def undisturbed(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in another thread, where no signal handler interrupts it.

    A module that is half imported, or a function that is half compiled, when a signal comes would stay so. Python runs
    handlers in the main thread only (https://docs.python.org/3/library/signal.html#signals-and-threads); an error that
    they raise is raised here when the function has returned.
    """
    if threading.current_thread() is not threading.main_thread() or sys.is_finalizing() or not _helpers.start(1):
        return function(*arguments)
    results: list[T] = []
    _Work(lambda: results.append(function(*arguments)), [()]).complete(_Work.run_by_helper)
    return results[0]


def add_partial_outputs(total: Array, partial_outputs: Array) -> None:
    """Add the partial outputs of all shares but the first to the output of the first, in the order of shares."""
    for partial in partial_outputs:
        total += partial


class _Work:
    """Shares of a kernel's work, and their memory, which is kept alive while a share is not done.

    A share is computed by the thread that claims it. To claim is one operation of a dictionary, which neither a signal
    nor another thread can interrupt.
    """

    def __init__(
        self, function: Callable[..., None], shares: Sequence[tuple[object, ...]], memory: Sequence[Array] = ()
    ) -> None:
        self._function, self._shares, self._memory = function, shares, memory
        self._owners: dict[int, int] = {}  # the thread that computes a share; _NOBODY when it is done
        self._done: SimpleQueue[None] = SimpleQueue()
        self._errors: list[BaseException] = []

    def complete(self, step: Callable[[_Work], None]) -> None:
        """Repeat a step until nothing interrupts it; then raise the error of a signal handler, or of a share.

        Several signals can be pending at once, and the handler of each can raise an error. CPython runs handlers at
        calls and at jumps backwards, so that the second one can leave the loop of :meth:`_repeat` at its jump. Each
        call below stands first in its block, where nothing can interrupt it before it is within ``try``: as many errors
        more are caught. Memory is kept alive by the work itself, whatever happens.
        """
        try:
            self._repeat(step)
        except BaseException:
            try:
                self._repeat(step)
            except BaseException:
                try:
                    self._repeat(step)
                except BaseException:
                    self._repeat(step)
                    raise
                raise
            raise

    def _repeat(self, step: Callable[[_Work], None]) -> None:
        returned, interrupts = False, list[BaseException]()
        while not returned:
            try:
                step(self)
                returned = True
            except BaseException as error:
                interrupts[:] = [error]
        self._shares, self._memory = (), ()
        for errors in (interrupts, self._errors):
            if errors:
                raise errors.pop()

    def run_with_helpers(self) -> None:
        """Call helpers for all shares but one, compute what they have not claimed, and wait for the rest."""
        if not self._owners:
            _helpers.call(self, len(self._shares) - 1)
        for share in range(len(self._shares)):
            self._run_unless_claimed(share)
        self._wait()

    def run_by_helper(self) -> None:
        """Let a helper compute all shares, and wait."""
        if not self._owners:
            _helpers.call(self, 1)
        self._wait()

    def help(self) -> None:
        """Compute what no thread has claimed, the last share first, as the caller begins with the first."""
        for share in reversed(range(len(self._shares))):
            try:
                self._run_unless_claimed(share)
            except BaseException as error:
                self._errors[:] = [error]

    def _run_unless_claimed(self, share: int) -> None:
        me = threading.get_ident()
        if share not in self._owners and self._owners.setdefault(share, me) == me:
            try:
                self._function(*self._shares[share])
            finally:
                self._owners[share] = _NOBODY
                self._done.put(None)

    def _wait(self) -> None:
        """Wait for the shares of other threads, which wake the caller after each."""
        finished = _NOBODY, threading.get_ident()
        while len(self._owners) < len(self._shares) or any(owner not in finished for owner in self._owners.values()):
            self._done.get()


class _Helpers:
    """Threads that wait for work. They are daemons: Python ends without them."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Work] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def call(self, work: _Work, num: int) -> None:
        """Ask ``num`` threads to help, or all if there are fewer."""
        for _ in range(self.start(num)):
            self._calls.put(work)

    def start(self, num: int) -> int:
        """Start threads until there are ``num``, at most one for each CPU; return how many of these there are."""
        num = min(num, os.cpu_count() or 1)
        with self._lock:
            while len(self._threads) < num:
                thread = threading.Thread(target=self._wait_for_calls, name=f"e3any_{len(self._threads)}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # Python is about to end, or the system has no more threads
                    break
                self._threads.append(thread)
            return min(num, len(self._threads))

    def _wait_for_calls(self) -> None:
        while True:
            self._calls.get().help()


_NOBODY = 0  # identifiers of threads are not zero: https://docs.python.org/3/library/threading.html#threading.get_ident
_helpers = _Helpers()


def _forget_helpers() -> None:
    """Start without helpers in a forked process, which has none of the threads of its parent."""
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
