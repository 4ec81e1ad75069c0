"""C structures at addresses: kernels read and write their fields by name.

Structures are classes of :mod:`ctypes`, which compute the offsets of fields as C compilers do. In kernels addresses
are integers of eight bytes, as are all fields. The instructions are described in https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from e3any_backends.kernels.code.annotations import Context, CPUContext, Intrinsic, Name, Signature, Typed, Values

__all__ = ["INT", "adder", "allocate", "free", "locate", "pointer", "reader", "stack_word", "text", "writer"]

#: The LLVM type of addresses and integers in kernels.
INT = ir.IntType(64)

Structure = type[ctypes.Structure]

# -- fields -------------------------------------------------------------------------------------------------


def locate(structure: Structure, field: str) -> tuple[int, ir.IntType]:
    """Return the offset of a field in bytes, and its LLVM type; ``"args.size"`` is a field of the field ``args``."""
    name, _, inner = field.partition(".")
    place = getattr(structure, name)
    if not inner:
        return place.offset, ir.IntType(8 * place.size)
    types_of = {n: t for n, t, *_ in structure._fields_ if issubclass(t, ctypes.Structure)}
    offset, type_ = locate(types_of[name], inner)
    return place.offset + offset, type_


def pointer(builder: ir.IRBuilder, address: ir.Value, offset: int, type_: ir.Type) -> ir.Value:
    """Return the pointer to a value of an LLVM type, so many bytes behind an address."""
    return builder.inttoptr(builder.add(address, INT(offset)), type_.as_pointer())


def reader(structure: Structure) -> Callable[[int, str], int]:
    """Return a function that reads a field at an address: ``reader(CallFrame)(frame, "args.size")``."""

    def read(typing_context: Context, address: types.Integer, field: Name) -> Typed:
        offset, type_ = locate(structure, field.literal_value)

        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            return builder.sext(builder.load(pointer(builder, arguments[0], offset, type_)), INT)

        return types.intp(types.intp, field), emit

    return _with_names(read)


def writer(structure: Structure) -> Callable[[int, str, int], None]:
    """Return a function that writes a field at an address: ``writer(Buffer)(buffer, "rank", 3)``."""

    def write(typing_context: Context, address: types.Integer, field: Name, value: types.Integer) -> Typed:
        offset, type_ = locate(structure, field.literal_value)

        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            builder.store(builder.trunc(arguments[2], type_), pointer(builder, arguments[0], offset, type_))
            return context.get_dummy_value()

        return types.void(types.intp, field, types.intp), emit

    return _with_names(write)


def adder(structure: Structure) -> Callable[[int, str, int], int]:
    """Return a function that adds to a field of eight bytes, as one step for all threads, and returns what it was.

    What a thread has written before it adds is seen by threads that add to the same field later:
    https://llvm.org/docs/Atomics.html.
    """

    def add(typing_context: Context, address: types.Integer, field: Name, value: types.Integer) -> Typed:
        offset, type_ = locate(structure, field.literal_value)

        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            place = pointer(builder, arguments[0], offset, type_)
            return builder.atomic_rmw("add", place, arguments[2], "acq_rel")

        return types.intp(types.intp, field, types.intp), emit

    return _with_names(add)


# Names of fields are constants of the type of numba's literal strings: they cost nothing when the kernel runs.
_with_names: Intrinsic = intrinsic(prefer_literal=True)


def text(value: str) -> Callable[[], int]:
    """Return a function of no arguments that returns the address of a constant C string."""

    def address(typing_context: Context) -> Typed:
        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
            return builder.ptrtoint(context.insert_const_string(builder.module, value), INT)

        return types.intp(), emit

    function: Callable[[], int] = intrinsic(address)
    return function


# -- memory -------------------------------------------------------------------------------------------------


def _allocate(typing_context: Context, size: types.Integer) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        type_ = ir.FunctionType(cgutils.voidptr_t, [INT])
        function = cgutils.get_or_insert_function(builder.module, type_, "NRT_Allocate")
        return builder.ptrtoint(builder.call(function, arguments), INT)

    return types.intp(types.intp), emit


def _free(typing_context: Context, address: types.Integer) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        type_ = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t])
        function = cgutils.get_or_insert_function(builder.module, type_, "NRT_Free")
        builder.call(function, [builder.inttoptr(arguments[0], cgutils.voidptr_t)])
        return context.get_dummy_value()

    return types.void(types.intp), emit


def _stack_word(typing_context: Context) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        return builder.ptrtoint(cgutils.alloca_once(builder, INT), INT)

    return types.intp(), emit


#: Return the address of eight bytes on the stack of the function that calls.
stack_word: Callable[[], int] = intrinsic(_stack_word)
#: Return the address of so many bytes of memory, 0 if there are not so many.
allocate: Callable[[int], int] = intrinsic(_allocate)
#: Free memory that :func:`allocate` returned.
free: Callable[[int], None] = intrinsic(_free)
