"""The C functions that XLA calls: handlers, in the words of https://openxla.org/xla/custom_call.

XLA calls a handler with the address of a call frame. For one operation and dtype there is one compiled function,
which takes the address of unrolled machine code. A short function for each unrolled code calls it with that address.
XLA's pool of threads runs the same functions as tasks, with the address of a
:class:`~e3any_backends.kernels.xla.tasks.Call`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import overload
from numpy.typing import DTypeLike

from e3any_backends.kernels.code.jit import c_function, compiled_module, guarded, inner
from e3any_backends.kernels.code.structures import INT
from e3any_backends.kernels.xla import call_frame, tasks
from e3any_backends.kernels.xla.call_frame import data, results, shape
from e3any_backends.kernels.xla.operations import OPERATIONS
from e3any_backends.kernels.xla.pages import advise

if TYPE_CHECKING:
    from numba.core.ccallback import CFunc

    from e3any_backends.kernels.code.annotations import Name
    from e3any_backends.kernels.code.edges import EdgeProgram
    from e3any_backends.kernels.code.paths import PathProgram
    from e3any_backends.kernels.code.unrolled import Program

__all__ = ["handler"]

_HANDLER = ir.FunctionType(INT, [INT])
_FUNCTION = ir.FunctionType(INT, [INT, INT, INT])


@cache
def handler(
    operation: str, dtype: str, program: Program | EdgeProgram | PathProgram | None = None
) -> Callable[[int], int]:
    """Return the handler of an operation. The cache keeps it: XLA only has its address.

    Parameters
    ----------
    operation : str
        A key of :data:`e3any_backends.kernels.xla.operations.OPERATIONS`.
    dtype : str
        The dtype of floating-point arrays.
    program : Program, EdgeProgram or PathProgram, optional
        Unrolled machine code for an operation that takes it.
    """
    name, code = (f"e3any_{operation}_{dtype}", 0) if program is None else (program.name, program.code)
    return _bound(f"{name}_handler", code, _compiled(operation, dtype))


@guarded
def _bound(name: str, code: int, function: CFunc) -> Callable[[int], int]:
    """Return a C function that calls another with its argument, the address of code, and its own address."""
    module = ir.Module(name)
    handle = ir.Function(module, _HANDLER, name)
    builder = ir.IRBuilder(handle.append_basic_block())
    pointer = builder.inttoptr(INT(function.address), _FUNCTION.as_pointer())
    builder.ret(builder.call(pointer, [handle.args[0], INT(code), builder.ptrtoint(handle, INT)]))
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(compiled_module(module, name))


# -- steps of an operation, chosen by its name when a handler is compiled -----------------------------------


def _prepare(name: str, call: int, dtype: DTypeLike) -> None:
    OPERATIONS[name].prepare(call, dtype)


def _share(name: str, share: int, num_shares: int, call: int, dtype: DTypeLike, code: int) -> None:
    OPERATIONS[name].share(share, num_shares, call, dtype, code)


def _finish(name: str, call: int, dtype: DTypeLike) -> None:
    OPERATIONS[name].finish(call, dtype)


def _prepare_of(name: Name, call: types.Integer, dtype: types.DType) -> Callable[..., None]:
    function = OPERATIONS[name.literal_value].prepare
    return lambda name, call, dtype: function(call, dtype)


def _share_of(
    name: Name,
    share: types.Integer,
    num_shares: types.Integer,
    call: types.Integer,
    dtype: types.DType,
    code: types.Integer,
) -> Callable[..., None]:
    function = OPERATIONS[name.literal_value].share
    return lambda name, share, num_shares, call, dtype, code: function(share, num_shares, call, dtype, code)


def _finish_of(name: Name, call: types.Integer, dtype: types.DType) -> Callable[..., None]:
    function = OPERATIONS[name.literal_value].finish
    return lambda name, call, dtype: function(call, dtype)


for _step, _chosen in ((_prepare, _prepare_of), (_share, _share_of), (_finish, _finish_of)):
    overload(_step, strict=False, prefer_literal=True)(_chosen)  # strict would compare annotations


# -- handlers -----------------------------------------------------------------------------------------------


@inner
def _advise_pages(frame: int, item_size: int) -> None:
    """Ask for large pages for all results."""
    for buffer in results(frame):
        size = item_size
        for length in shape(buffer):
            size *= length
        advise(data(buffer), size)


@cache
@guarded
def _compiled(operation: str, dtype_name: str) -> CFunc:
    """Compile the function of an address, the address of unrolled code, and the handler to run as a task."""
    # The file on disk is found by the values of these variables: they must be the same in every process.
    name, dtype, item_size = operation, np.dtype(dtype_name), np.dtype(dtype_name).itemsize

    @c_function
    def handle(address: int, code: int, task: int) -> int:
        is_call, call, error = not tasks.is_task(address), address, 0
        if is_call:
            if call_frame.answers_version(address):
                return 0
            call = tasks.begin(address, item_size)
            if call == 0:
                return call_frame.out_of_memory(address)
            try:
                _advise_pages(address, item_size)
                _prepare(name, call, dtype)
            except Exception:
                tasks.fail(call)
            tasks.schedule(call, task)
        # A task may come when all shares are done, and the call frame is gone.
        share, num_shares = tasks.next_share(call)
        while share < num_shares:
            if not tasks.has_failed(call):
                try:
                    _share(name, share, num_shares, call, dtype, code)
                except Exception:
                    tasks.fail(call)
            tasks.done(call)  # also if it has failed: the caller waits for all
            share, num_shares = tasks.next_share(call)
        if is_call:
            tasks.wait(call)
            if not tasks.has_failed(call):
                try:
                    _finish(name, call, dtype)
                except Exception:
                    tasks.fail(call)
            if tasks.has_failed(call):
                error = call_frame.internal_error(address)
            tasks.free_scratch(call)
        tasks.leave(call)
        return error

    return handle
