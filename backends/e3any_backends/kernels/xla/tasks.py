"""Parts of a kernel as tasks of XLA's pool of threads.

Whoever comes takes the next part: the thread that XLA calls, and tasks on those of its pool. So a call ends even if no
thread of the pool is free. What they share is memory that the last of them frees: tasks may start when all is done.
"""

from __future__ import annotations

import sys
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from e3any_backends.kernels.code.jit import part

__all__ = ["WORD", "call", "done", "is_task", "leave", "next_part", "num_parts", "start", "wait"]

# Where a word is in what threads share: zero, which no call frame begins with; who has its address; the next part; how
# many are done, and how many there are; the call frame, memory of all parts, copies of outputs, and the bytes of one.
_REFERENCES, _NEXT, _DONE, _PARTS, _FRAME, _ROOM, _COPIES, _PITCH, _SIZE = 1, 2, 3, 4, 5, 6, 7, 8, 9
# In the call frame,
_API, _CONTEXT = 2, 3
# and in the table of XLA's functions, whose version 0.2 has all of these.
_VERSION, _DESTROY_ERROR, _SCHEDULE, _NUM_THREADS = 4, 8, 17, 18
_LEAST_VERSION = 2 << 32
#: Bytes of a word.
WORD = 8

# -- instructions -------------------------------------------------------------------------------------------

_INT = ir.IntType(64)


def _pointer(builder: Any, address: Any, n: Any) -> Any:
    return builder.gep(builder.inttoptr(address, _INT.as_pointer()), [n])


def _read(typing_context: Any, address: Any, n: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, *arguments))

    return types.intp(types.intp, types.intp), emit


def _write(typing_context: Any, address: Any, n: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(builder, *arguments[:2]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), emit


def _add(typing_context: Any, address: Any, n: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, *arguments[:2]), arguments[2], "acq_rel")

    return types.intp(types.intp, types.intp, types.intp), emit


def _allocate(typing_context: Any, size: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(cgutils.voidptr_t, [_INT]), "NRT_Allocate"
        )
        return builder.ptrtoint(builder.call(function, arguments), _INT)

    return types.intp(types.intp), emit


def _free(typing_context: Any, address: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        type_ = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        function = cgutils.get_or_insert_function(builder.module, type_, "NRT_Free")
        builder.call(function, [builder.inttoptr(arguments[0], cgutils.voidptr_t)])
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _call(typing_context: Any, table: Any, name: Any, first: Any, second: Any, third: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, name, *operands = arguments
        structure = cgutils.alloca_once(builder, _INT, 5)
        # XLA takes structures that are longer than it knows.
        for n, word in enumerate([_INT(5 * WORD), _INT(0), *operands]):
            builder.store(word, builder.gep(structure, [_INT(n)]))
        function = builder.inttoptr(
            builder.load(_pointer(builder, table, name)), ir.FunctionType(_INT, [structure.type]).as_pointer()
        )
        return builder.call(function, [structure])

    return types.intp(*[types.intp] * 5), emit


def _place(typing_context: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(cgutils.alloca_once(builder, _INT), _INT)

    return types.intp(), emit


# Read and write a word, counted from an address; add to one that threads share, and return what it was; get and free
# memory of so many bytes; call a function of XLA's table with three operands; return the address of a word.
_read_word: Any = intrinsic(_read)
_write_word: Any = intrinsic(_write)
_add_to_word: Any = intrinsic(_add)
_allocate_bytes: Any = intrinsic(_allocate)
_free_bytes: Any = intrinsic(_free)
_call_table: Any = intrinsic(_call)
_new_word: Any = intrinsic(_place)

if sys.platform == "win32":
    import ctypes

    _switch = ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value
    llvmlite.binding.add_symbol("sched_yield", _switch)
_let_others_run: Any = types.ExternalFunction("sched_yield", types.int32())


# -- the pool -----------------------------------------------------------------------------------------------


@part
def num_parts(frame: int, wanted: int) -> int:
    """Return how many parts to make of a call: as many as wanted, but not more than the pool has threads."""
    table = _read_word(frame, _API)
    if wanted <= 1 or _read_word(table, _VERSION) & 0xFFFFFFFF != 0 or _read_word(table, _VERSION) < _LEAST_VERSION:
        return 1
    threads = _new_word()
    _write_word(threads, 0, 1)
    _succeeds(table, _NUM_THREADS, _read_word(frame, _CONTEXT), threads, 0)
    return max(1, min(wanted, int(_read_word(threads, 0))))


@part
def _succeeds(table: int, name: int, context: int, first: int, second: int) -> bool:
    """Call a function of XLA; return whether there was no error."""
    error = _call_table(table, name, context, first, second)
    if error != 0:
        _call_table(table, _DESTROY_ERROR, error, 0, 0)
    return bool(error == 0)


@part
def start(frame: int, parts: int, room: int, copies: int, pitch: int, task: int) -> int:
    """Let the pool call a task for all parts but one; return the address of what the task is given.

    The caller has to do as a task does, to wait, and to leave once more.
    """
    shared = int(_allocate_bytes(_SIZE * WORD))
    _write_word(shared, 0, 0)
    _write_word(shared, _REFERENCES, parts + 1)
    _write_word(shared, _NEXT, 0)
    _write_word(shared, _DONE, 0)
    _write_word(shared, _PARTS, parts)
    _write_word(shared, _FRAME, frame)
    _write_word(shared, _ROOM, room)
    _write_word(shared, _COPIES, copies)
    _write_word(shared, _PITCH, pitch)
    for _ in range(parts - 1):
        if not _succeeds(_read_word(frame, _API), _SCHEDULE, _read_word(frame, _CONTEXT), task, shared):
            leave(shared)
    return shared


@part
def is_task(address: int) -> bool:
    """Return whether an address is what :func:`start` gives to tasks, and not a call frame."""
    return bool(_read_word(address, 0) == 0)


@part
def next_part(shared: int) -> tuple[int, int]:
    """Take the next part; return its number, and how many parts there are, which is the number if none is left."""
    parts = _read_word(shared, _PARTS)
    return min(_add_to_word(shared, _NEXT, 1), parts), parts


@part
def call(shared: int) -> tuple[int, int, int, int]:
    """Return where the call frame is, the memory of all parts, and copies of outputs, and the bytes of a copy."""
    frame, room = _read_word(shared, _FRAME), _read_word(shared, _ROOM)
    return frame, room, _read_word(shared, _COPIES), _read_word(shared, _PITCH)


@part
def done(shared: int) -> None:
    """Say that a part is done."""
    _add_to_word(shared, _DONE, 1)


@part
def wait(shared: int) -> None:
    """Wait until all parts are done: those that are not have been begun by others."""
    while _add_to_word(shared, _DONE, 0) < _read_word(shared, _PARTS):
        _let_others_run()


@part
def leave(shared: int) -> None:
    """Give up the address."""
    if _add_to_word(shared, _REFERENCES, -1) == 1:
        _free_bytes(shared)
