"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from e3any_backends import kernels
from e3any_backends.kernels.code.disk import Disk
from e3any_backends.kernels.parallel.pool import undisturbed

__all__ = ["address_as_pointer", "c_function", "guarded", "inlined", "inner", "jit", "part"]

F = TypeVar("F", bound=Callable[..., Any])

# Not what takes infinities and NaN for impossible, or multiplies by a reciprocal for a quotient.
_OPTIONS: dict[str, Any] = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
_KERNEL: dict[str, Any] = {**_OPTIONS, "nogil": True, "no_cfunc_wrapper": True}
_PART: dict[str, Any] = {**_KERNEL, "no_cpython_wrapper": True, "forceinline": True, "_nrt": False}


def guarded(function: F) -> F:
    """Decorate what compiles kernels: no signal interrupts it, and errors switch kernels off.

    Raises
    ------
    KernelError
        If there is an error, or has been one before.
    """

    def attempt(*arguments: Any) -> Any:
        if not kernels.available():
            raise kernels.KernelError("kernels are switched off")
        try:
            return function(*arguments)
        except kernels.KernelError:
            raise
        except Exception as error:
            raise kernels.give_up(error) from error

    @wraps(function)
    def call(*arguments: Any) -> Any:
        # Another thread would wait for this one, where it compiles something else.
        return attempt(*arguments) if global_compiler_lock.is_locked() else undisturbed(attempt, *arguments)

    return cast(F, call)


def jit(function: F) -> F:
    """Compile a function when it is called, and keep the machine code on disk if there is a place for it.

    Assignments to slices of arrays, and functions that make arrays, take numba seconds to compile: loops are better,
    and arrays that the caller has made.
    """
    compiled: Any = numba.njit(**_KERNEL)(function)
    compiled._cache = Disk(function)
    # What dispatchers call for arguments of new types.
    compiled._compile_for_args = guarded(compiled._compile_for_args)
    return cast(F, compiled)


def part(function: F) -> F:
    """Compile a part of kernels, which only they call, into each of them."""
    compiled: F = numba.njit(**_PART)(function)
    return compiled


def inner(function: F) -> F:
    """Compile a function that only compiled functions call, and which may make arrays."""
    compiled: F = numba.njit(**_KERNEL, no_cpython_wrapper=True)(function)
    return compiled


def inlined(function: F) -> F:
    """Take a function into those that call it before these are compiled: what it calls is then compiled once less."""
    compiled: F = numba.njit(**_KERNEL, inline="always")(function)
    return compiled


def c_function(function: F) -> Any:
    """Compile a function of addresses now, to be called from C, and keep the machine code as :func:`jit` does."""
    signature = types.intp(*[types.intp] * function.__code__.co_argcount)
    compiled: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options=dict(_OPTIONS))
    compiled._cache = Disk(function)
    compiled.compile()
    return compiled


def _address_as_pointer(typing_context: Any, address: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), emit


#: Return an integer, an address, as a pointer, within compiled functions.
address_as_pointer: Any = intrinsic(_address_as_pointer)
