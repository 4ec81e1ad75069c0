"""The call frame, in which XLA passes the arguments of a custom call to a C function.

The structures are those of ``xla/ffi/api/c_api.h``, a header that jaxlib ships (in :func:`jax.ffi.include_dir`); see
https://openxla.org/xla/custom_call. Fields have the names of the header, so ``CallFrame`` is its
``XLA_FFI_CallFrame``. Those behind the last one that is used here are left out. Tests compare offsets and constants
with the header.

What kernels take from a call frame:

=================  ===============================================================================
arguments          operands and tables: an address of a ``Buffer`` each
results            the same for the arrays to write
attributes         the integers :data:`ATTRIBUTES`: an address of a ``Scalar`` each, sorted by name
``api``, ``ctx``   functions of XLA, and what they take: its pool of threads, and errors to return
=================  ===============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import Structure, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba import carray
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import DTypeLike

from e3any_backends.arrays import Array, Shape
from e3any_backends.kernels.code.jit import address_as_pointer, inner, part
from e3any_backends.kernels.code.structures import INT, locate, pointer, reader, stack_word, text, writer

if TYPE_CHECKING:
    from e3any_backends.kernels.code.annotations import Context, CPUContext, Name, Signature, Typed, UniTuple, Values

__all__ = ["ATTRIBUTES", "WORD", "Api", "CallFrame", "answers_version", "arguments", "array_1d"]
__all__ += ["array_2d", "array_3d", "array_at", "attribute", "attributes", "data", "internal_error", "num_threads"]
__all__ += ["out_of_memory", "results", "schedule", "shape", "words"]

#: Bytes of a pointer, and of an integer of most fields.
WORD = 8

# -- structures ---------------------------------------------------------------------------------------------

# The first fields of most structures. XLA compares the size with that in its own header.
_HEAD: list[tuple[str, type[c_size_t | c_void_p]]] = [("struct_size", c_size_t), ("extension_start", c_void_p)]


class ExtensionBase(Structure):
    """The first fields of every extension of a structure."""

    _fields_ = [("struct_size", c_size_t), ("type", c_int), ("next", c_void_p)]


class ApiVersion(Structure):
    """A version of the interface."""

    _fields_ = [*_HEAD, ("major_version", c_int), ("minor_version", c_int)]


class Metadata(Structure):
    """What XLA asks a handler for when it is registered."""

    _fields_ = [("struct_size", c_size_t), ("api_version", ApiVersion), ("traits", c_uint32)]


class MetadataExtension(Structure):
    """The extension of a call frame that asks for metadata."""

    _fields_ = [("extension_base", ExtensionBase), ("metadata", c_void_p)]


class Buffer(Structure):
    """An array."""

    _fields_ = [*_HEAD, ("dtype", c_int), ("data", c_void_p), ("rank", c_int64), ("dims", c_void_p)]


class Scalar(Structure):
    """An attribute that is a number."""

    _fields_ = [("dtype", c_int), ("value", c_void_p)]


class Args(Structure):
    """The arguments of a call."""

    _fields_ = [*_HEAD, ("size", c_int64), ("types", c_void_p), ("args", c_void_p)]


class Rets(Structure):
    """The results of a call."""

    _fields_ = [*_HEAD, ("size", c_int64), ("types", c_void_p), ("rets", c_void_p)]


class Attrs(Structure):
    """The attributes of a call."""

    _fields_ = [*_HEAD, ("size", c_int64), ("types", c_void_p), ("names", c_void_p), ("attrs", c_void_p)]


class CallFrame(Structure):
    """A call."""

    _fields_ = [*_HEAD, ("api", c_void_p), ("ctx", c_void_p), ("stage", c_int)]
    _fields_ += [("args", Args), ("rets", Rets), ("attrs", Attrs)]


class Api(Structure):
    """Addresses of functions of XLA, which take the address of a structure and return that of an error, or 0."""

    _fields_ = [
        *_HEAD,
        ("api_version", ApiVersion),
        ("internal_api", c_void_p),
        ("XLA_FFI_Error_Create", c_void_p),
        ("XLA_FFI_Error_GetMessage", c_void_p),
        ("XLA_FFI_Error_Destroy", c_void_p),
        ("XLA_FFI_Handler_Register", c_void_p),
        ("XLA_FFI_Stream_Get", c_void_p),
        ("XLA_FFI_Type_Register", c_void_p),
        ("XLA_FFI_ExecutionContext_Get", c_void_p),
        ("XLA_FFI_State_Set", c_void_p),
        ("XLA_FFI_State_Get", c_void_p),
        ("XLA_FFI_DeviceMemory_Allocate", c_void_p),
        ("XLA_FFI_DeviceMemory_Free", c_void_p),
        ("XLA_FFI_ThreadPool_Schedule", c_void_p),
        ("XLA_FFI_ThreadPool_NumThreads", c_void_p),
    ]


class ErrorCreateArgs(Structure):
    """Arguments of ``XLA_FFI_Error_Create``, which returns the new error."""

    _fields_ = [*_HEAD, ("message", c_char_p), ("errc", c_int)]


class ErrorDestroyArgs(Structure):
    """Arguments of ``XLA_FFI_Error_Destroy``."""

    _fields_ = [*_HEAD, ("error", c_void_p)]


class ThreadPoolScheduleArgs(Structure):
    """Arguments of ``XLA_FFI_ThreadPool_Schedule``."""

    _fields_ = [*_HEAD, ("ctx", c_void_p), ("task", c_void_p), ("data", c_void_p)]


class ThreadPoolNumThreadsArgs(Structure):
    """Arguments of ``XLA_FFI_ThreadPool_NumThreads``."""

    _fields_ = [*_HEAD, ("ctx", c_void_p), ("num_threads", c_void_p)]


#: The type of extensions that ask for metadata.
EXTENSION_METADATA = 1
#: Codes of errors.
RESOURCE_EXHAUSTED, INTERNAL = 8, 13
#: The version, major and minor, that handlers are registered for. XLA passes them structures with the layout of this
#: version, or refuses to register them.
VERSION = 0, 1
# The first minor version in which XLA has a pool of threads.
_POOL_VERSION = 2

_read_frame, _read_buffer, _read_api = reader(CallFrame), reader(Buffer), reader(Api)
_read_extension, _write_metadata = reader(MetadataExtension), writer(Metadata)

# -- the version --------------------------------------------------------------------------------------------


@part
def answers_version(frame: int) -> bool:
    """Write the version of the interface if XLA asks for it, and return whether it does: then there is no work."""
    extension = _read_frame(frame, "extension_start")
    if extension == 0 or _read_extension(extension, "extension_base.type") != EXTENSION_METADATA:
        return False
    metadata = _read_extension(extension, "metadata")
    _write_metadata(metadata, "api_version.major_version", VERSION[0])
    _write_metadata(metadata, "api_version.minor_version", VERSION[1])
    return True


# -- arrays -------------------------------------------------------------------------------------------------


@inner
def words(address: int, num: int) -> Array:
    """Return the integers at an address as an array."""
    return carray(address_as_pointer(address), (num,), np.intp)


@inner
def arguments(frame: int) -> Array:
    """Return the addresses of the buffers of arguments."""
    return words(_read_frame(frame, "args.args"), _read_frame(frame, "args.size"))


@inner
def results(frame: int) -> Array:
    """Return the addresses of the buffers of results."""
    return words(_read_frame(frame, "rets.rets"), _read_frame(frame, "rets.size"))


@part
def data(buffer: int) -> int:
    """Return the address of the elements of a buffer."""
    return _read_buffer(buffer, "data")


@inner
def shape(buffer: int) -> Array:
    """Return the shape of a buffer."""
    return words(_read_buffer(buffer, "dims"), _read_buffer(buffer, "rank"))


@inner
def array_1d(buffer: int, dtype: DTypeLike) -> Array:
    """Return a buffer of one axis as an array."""
    return array_at(data(buffer), (shape(buffer)[0],), dtype)


@inner
def array_2d(buffer: int, dtype: DTypeLike) -> Array:
    """Return a buffer of two axes as an array."""
    sizes = shape(buffer)
    return array_at(data(buffer), (sizes[0], sizes[1]), dtype)


@inner
def array_3d(buffer: int, dtype: DTypeLike) -> Array:
    """Return a buffer of three axes as an array, or one of four, whose last two are merged."""
    sizes = shape(buffer)
    last = sizes[2]
    for size in sizes[3:]:
        last *= size
    return array_at(data(buffer), (sizes[0], sizes[1], last), dtype)


@inner
def array_at(address: int, shape: Shape, dtype: DTypeLike) -> Array:
    """Return the elements at an address as an array."""
    return carray(address_as_pointer(address), shape, dtype)


# -- attributes ---------------------------------------------------------------------------------------------

#: The attributes of a call. XLA sorts them by name, hence their positions are those of this list.
#:
#: =================  =====================================================================
#: ``num_shares``     how many threads share the work, at most
#: ``partial_size``   elements of the partial outputs that all shares but the first write to
#: ``scratch_words``  words of eight bytes that all shares read
#: =================  =====================================================================
ATTRIBUTES = sorted(["num_shares", "partial_size", "scratch_words"])


def attributes(*, num_shares: int, partial_size: int, scratch_words: int) -> dict[str, np.int64]:
    """Return the attributes of a call, as :func:`jax.ffi.ffi_call` takes them."""
    values = {"num_shares": num_shares, "partial_size": partial_size, "scratch_words": scratch_words}
    return {name: np.int64(values[name]) for name in ATTRIBUTES}


def _attribute(typing_context: Context, frame: types.Integer, name: Name) -> Typed:
    position = ATTRIBUTES.index(name.literal_value)
    way = locate(CallFrame, "attrs.attrs")[0], position * WORD, locate(Scalar, "value")[0], 0

    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        value = arguments[0]
        for offset in way:
            value = builder.load(pointer(builder, value, offset, INT))
        return value

    return types.intp(types.intp, name), emit


#: Read an attribute of a call, by its name.
attribute: Callable[[int, str], int] = intrinsic(prefer_literal=True)(_attribute)


# -- functions of XLA ---------------------------------------------------------------------------------------


def _function(name: str, structure: type[Structure]) -> Callable[[int, tuple[int, ...]], int]:
    """Return a function ``call(api, fields)`` that calls a function of XLA, and returns the address of an error or 0.

    ``api`` is the address of an :class:`Api`, ``fields`` are the values of the structure behind its head.
    """
    offset, _ = locate(Api, name)
    names = [field[0] for field in structure._fields_]
    last = getattr(structure, names[-1])
    size = last.offset + last.size

    def call(typing_context: Context, api: types.Integer, fields: UniTuple) -> Typed:
        def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, operands: Values) -> ir.Value:
            memory = cgutils.alloca_once(builder, INT, -(-size // WORD))
            address = builder.ptrtoint(memory, INT)
            values = [INT(size), INT(0), *cgutils.unpack_tuple(builder, operands[1])]
            for field, value in zip(names, values, strict=True):
                at, type_ = locate(structure, field)
                builder.store(builder.trunc(value, type_), pointer(builder, address, at, type_))
            function = builder.load(pointer(builder, operands[0], offset, INT))
            return builder.call(builder.inttoptr(function, _FUNCTION.as_pointer()), [address])

        return types.intp(types.intp, types.containers.UniTuple(types.intp, len(names) - len(_HEAD))), emit

    function: Callable[[int, tuple[int, ...]], int] = intrinsic(call)
    return function


_FUNCTION = ir.FunctionType(INT, [INT])
_create_error = _function("XLA_FFI_Error_Create", ErrorCreateArgs)
_destroy_error = _function("XLA_FFI_Error_Destroy", ErrorDestroyArgs)
_schedule = _function("XLA_FFI_ThreadPool_Schedule", ThreadPoolScheduleArgs)
_num_threads = _function("XLA_FFI_ThreadPool_NumThreads", ThreadPoolNumThreadsArgs)
_no_memory = text("e3any: there is no memory for scratch arrays of a kernel; with E3ANY_THREADS=1 it needs less")
_failure = text("e3any: a kernel failed, perhaps because there is no memory; with E3ANY_KERNELS=0 none is used")


@part
def out_of_memory(frame: int) -> int:
    """Return the address of an error for XLA: there is no memory."""
    return _create_error(_read_frame(frame, "api"), (_no_memory(), RESOURCE_EXHAUSTED))


@part
def internal_error(frame: int) -> int:
    """Return the address of an error for XLA: a kernel has raised an exception."""
    return _create_error(_read_frame(frame, "api"), (_failure(), INTERNAL))


@part
def _succeeds(api: int, error: int) -> bool:
    """Return whether a function of XLA has returned no error, and free the error."""
    if error != 0:
        _destroy_error(api, (error,))
    return error == 0


@inner
def num_threads(frame: int) -> int:
    """Return how many threads the pool of XLA has, 1 if there is none."""
    api, count = _read_frame(frame, "api"), words(stack_word(), 1)
    count[0] = 1
    if (
        _read_api(api, "api_version.major_version") == 0
        and _read_api(api, "api_version.minor_version") >= _POOL_VERSION
    ):
        _succeeds(api, _num_threads(api, (_read_frame(frame, "ctx"), count.ctypes.data)))
    return int(count[0])


@part
def schedule(frame: int, task: int, address: int) -> bool:
    """Let the pool call a C function with an address; return whether it will."""
    api = _read_frame(frame, "api")
    return _succeeds(api, _schedule(api, (_read_frame(frame, "ctx"), task, address)))
