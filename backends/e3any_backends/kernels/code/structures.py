"""C structures at addresses: kernels read and write their fields by name.

Structures are classes of :mod:`ctypes`, which compute the offsets of fields as C compilers do. In kernels addresses
are integers of eight bytes, as are all fields. The instructions are described in https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["INT", "adder", "allocate", "free", "locate", "pointer", "reader", "stack_word", "text", "writer"]

#: The LLVM type of addresses and integers in kernels.
INT = ir.IntType(64)

Structure = type[ctypes.Structure]

# -- fields -------------------------------------------------------------------------------------------------


def locate(structure: Structure, field: str) -> tuple[int, Any]:
    """Return the offset of a field in bytes, and its LLVM type; ``"args.size"`` is a field of the field ``args``."""
    name, _, inner = field.partition(".")
    place = getattr(structure, name)
    if not inner:
        return place.offset, ir.IntType(8 * place.size)
    types_of: dict[str, Any] = {name: type_ for name, type_, *_ in structure._fields_}
    offset, type_ = locate(types_of[name], inner)
    return place.offset + offset, type_


def pointer(builder: Any, address: Any, offset: int, type_: Any) -> Any:
    """Return the pointer to a value of an LLVM type, so many bytes behind an address."""
    return builder.inttoptr(builder.add(address, INT(offset)), type_.as_pointer())


def reader(structure: Structure) -> Any:
    """Return a function that reads a field at an address: ``reader(CallFrame)(frame, "args.size")``."""

    def read(typing_context: Any, address: Any, field: Any) -> Any:
        offset, type_ = locate(structure, field.literal_value)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.sext(builder.load(pointer(builder, arguments[0], offset, type_)), INT)

        return types.intp(types.intp, field), emit

    return _with_names(read)


def writer(structure: Structure) -> Any:
    """Return a function that writes a field at an address: ``writer(Buffer)(buffer, "rank", 3)``."""

    def write(typing_context: Any, address: Any, field: Any, value: Any) -> Any:
        offset, type_ = locate(structure, field.literal_value)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(builder.trunc(arguments[2], type_), pointer(builder, arguments[0], offset, type_))
            return context.get_dummy_value()

        return types.void(types.intp, field, types.intp), emit

    return _with_names(write)


def adder(structure: Structure) -> Any:
    """Return a function that adds to a field of eight bytes, as one step for all threads, and returns what it was.

    What a thread has written before it adds is seen by threads that add to the same field later:
    https://llvm.org/docs/Atomics.html.
    """

    def add(typing_context: Any, address: Any, field: Any, value: Any) -> Any:
        offset, type_ = locate(structure, field.literal_value)

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = pointer(builder, arguments[0], offset, type_)
            return builder.atomic_rmw("add", place, arguments[2], "acq_rel")

        return types.intp(types.intp, field, types.intp), emit

    return _with_names(add)


# Names of fields are constants of the type of numba's literal strings: they cost nothing when the kernel runs.
_with_names = intrinsic(prefer_literal=True)


def text(value: str) -> Any:
    """Return a function of no arguments that returns the address of a constant C string."""

    def address(typing_context: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ptrtoint(context.insert_const_string(builder.module, value), INT)

        return types.intp(), emit

    return intrinsic(address)


# -- memory -------------------------------------------------------------------------------------------------


def _allocate(typing_context: Any, size: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        type_ = ir.FunctionType(cgutils.voidptr_t, [INT])
        function = cgutils.get_or_insert_function(builder.module, type_, "NRT_Allocate")
        return builder.ptrtoint(builder.call(function, arguments), INT)

    return types.intp(types.intp), emit


def _free(typing_context: Any, address: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        type_ = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        function = cgutils.get_or_insert_function(builder.module, type_, "NRT_Free")
        builder.call(function, [builder.inttoptr(arguments[0], cgutils.voidptr_t)])
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _stack_word(typing_context: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(cgutils.alloca_once(builder, INT), INT)

    return types.intp(), emit


#: Return the address of eight bytes on the stack of the function that calls.
stack_word: Any = intrinsic(_stack_word)
#: Return the address of so many bytes of memory, 0 if there are not so many.
allocate: Any = intrinsic(_allocate)
#: Free memory that :func:`allocate` returned.
free: Any = intrinsic(_free)
