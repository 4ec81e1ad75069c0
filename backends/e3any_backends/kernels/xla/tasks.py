"""Shares of a kernel's work as tasks of XLA's pool of threads.

Whoever comes takes the next share: the thread that XLA calls, and tasks on threads of its pool. So a call ends even if
no thread of the pool is free. XLA may start a task when all shares are done, and the call frame is gone: the last
that leaves frees what the threads have in common.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ctypes import Structure, c_int64, sizeof

import llvmlite.binding
from numba.core import types

from e3any_backends.kernels.code.jit import inner, part
from e3any_backends.kernels.code.structures import adder, allocate, free, reader, writer
from e3any_backends.kernels.xla import call_frame
from e3any_backends.kernels.xla.call_frame import WORD, attribute

__all__ = ["Call", "begin", "done", "fail", "frame_of", "free_scratch", "has_failed", "is_task", "leave", "next_share"]
__all__ += ["num_shares_of", "partial_outputs", "schedule", "scratch_of", "wait"]


class Call(Structure):
    """What the threads that work on one call have in common.

    ==================  ==========================================================================
    ``struct_size``     0, unlike in a call frame: tells a task from a call by XLA
    ``references``      threads and tasks that have the address of the structure
    ``num_shares``      shares of the work
    ``next_share``      the share that nobody has taken yet
    ``num_done``        shares that are done
    ``num_failures``    steps that raised an exception
    ``frame``           address of the call frame
    ``scratch``         address of the memory that all shares read, followed by partial outputs
    ``partials``        address of the partial outputs of share 1, followed by those of share 2, ...
    ``partial_bytes``   bytes of the partial outputs of one share
    ==================  ==========================================================================
    """

    _fields_ = [
        ("struct_size", c_int64),
        ("references", c_int64),
        ("num_shares", c_int64),
        ("next_share", c_int64),
        ("num_done", c_int64),
        ("num_failures", c_int64),
        ("frame", c_int64),
        ("scratch", c_int64),
        ("partials", c_int64),
        ("partial_bytes", c_int64),
    ]


_read, _write, _add = reader(Call), writer(Call), adder(Call)
_SIZE = sizeof(Call)

if sys.platform == "win32":
    import ctypes

    _switch = ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value
    llvmlite.binding.add_symbol("sched_yield", _switch)
_let_others_run: Callable[[], int] = types.ExternalFunction("sched_yield", types.int32())


# -- the thread that XLA calls ------------------------------------------------------------------------------


@inner
def begin(frame: int, item_size: int) -> int:
    """Return the address of a new :class:`Call`, with memory for all shares; 0 if there is not enough.

    There are as many shares as the call frame says, but not more than the pool has threads.
    """
    num_shares = attribute(frame, "num_shares")
    if num_shares > 1:
        num_shares = max(1, min(num_shares, call_frame.num_threads(frame)))
    scratch_bytes = attribute(frame, "scratch_words") * WORD
    partial_bytes = (attribute(frame, "partial_size") * item_size + WORD - 1) // WORD * WORD
    call = allocate(_SIZE)
    scratch = allocate(WORD + scratch_bytes + (num_shares - 1) * partial_bytes)
    if call == 0 or scratch == 0:
        free(call)
        free(scratch)
        return 0
    _write(call, "struct_size", 0)
    _write(call, "references", 1)
    _write(call, "num_shares", num_shares)
    _write(call, "next_share", 0)
    _write(call, "num_done", 0)
    _write(call, "num_failures", 0)
    _write(call, "frame", frame)
    _write(call, "scratch", scratch)
    _write(call, "partials", scratch + scratch_bytes)
    _write(call, "partial_bytes", partial_bytes)
    return call


@part
def schedule(call: int, task: int) -> None:
    """Let the pool call a task, a C function that takes the address of a call, for all shares but one.

    The caller has to work as a task does, and to wait.
    """
    num_tasks = _read(call, "num_shares") - 1
    _add(call, "references", num_tasks)
    for _ in range(num_tasks):
        if not call_frame.schedule(_read(call, "frame"), task, call):
            leave(call)


@part
def wait(call: int) -> None:
    """Wait until all shares are done: those that are not have been begun by others."""
    while _add(call, "num_done", 0) < _read(call, "num_shares"):
        _let_others_run()


@part
def free_scratch(call: int) -> None:
    """Free the memory of all shares, when these are done."""
    free(_read(call, "scratch"))


# -- all threads --------------------------------------------------------------------------------------------


@part
def is_task(address: int) -> bool:
    """Return whether an address is that of a :class:`Call`, and not that of a call frame."""
    return _read(address, "struct_size") == 0


@part
def next_share(call: int) -> tuple[int, int]:
    """Take the next share; return its number, and how many there are, which is the number if none is left."""
    num_shares = _read(call, "num_shares")
    return min(_add(call, "next_share", 1), num_shares), num_shares


@part
def done(call: int) -> None:
    """Count a share that is done."""
    _add(call, "num_done", 1)


@part
def fail(call: int) -> None:
    """Count an exception."""
    _add(call, "num_failures", 1)


@part
def has_failed(call: int) -> bool:
    """Return whether there has been an exception."""
    return _add(call, "num_failures", 0) > 0


@part
def leave(call: int) -> None:
    """Give up the address."""
    if _add(call, "references", -1) == 1:
        free(call)


# -- operations ---------------------------------------------------------------------------------------------


@part
def frame_of(call: int) -> int:
    """Return the address of the call frame."""
    return _read(call, "frame")


@part
def num_shares_of(call: int) -> int:
    """Return the number of shares."""
    return _read(call, "num_shares")


@part
def scratch_of(call: int) -> int:
    """Return the address of the memory that all shares read."""
    return _read(call, "scratch")


@part
def partial_outputs(call: int, share: int) -> int:
    """Return the address of the partial outputs of any share but the first, which writes to the outputs."""
    return _read(call, "partials") + (share - 1) * _read(call, "partial_bytes")
