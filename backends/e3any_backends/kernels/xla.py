"""Kernels as functions of C that XLA calls on CPUs, by the typed version of its foreign function interface.

XLA hands over the address of a structure, the call frame, where the addresses and shapes of all buffers are found.
Its layout, in words of eight bytes, is that of the file ``c_api.h`` which comes with jaxlib.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray
from numba.extending import overload

from e3any_backends.generic import Array
from e3any_backends.kernels import edges, harmonics, linear
from e3any_backends.kernels.contraction import Schedule, contract
from e3any_backends.kernels.jit import address_as_pointer, c_function, jit
from e3any_backends.kernels.pages import advise
from e3any_backends.kernels.simd import clear

__all__ = ["OPERATIONS", "OPERATIONS_WITH_CODE", "handler"]

# Where a word is in the call frame and how many there are,
_EXTENSION, _NUM_ARGUMENTS, _ARGUMENTS, _NUM_RESULTS, _RESULTS, _FRAME = 1, 7, 9, 12, 14, 15
# in a buffer,
_DATA, _RANK, _SHAPE, _BUFFER = 3, 4, 5, 6
# in an extension of the frame, and in the metadata that one of them asks for.
_TYPE, _METADATA, _VERSION = 1, 3, 3
# The version of the interface that has this layout, 0.1, as a pair of integers of four bytes, the major one first.
# XLA keeps to the layout of older versions, or refuses to register functions of theirs.
_LAYOUT = 1 << 32


@jit
def _words(address: int, num: int) -> Array:
    return carray(address_as_pointer(address), (num,), np.intp)


@jit
def _answers(frame: Array) -> bool:
    """Answer the question for the version, if it is one: an extension of type 1, which has four bytes."""
    if frame[_EXTENSION] == 0:
        return False
    extension = _words(frame[_EXTENSION], _METADATA + 1)
    if extension[_TYPE] & 0xFFFFFFFF != 1:
        return False
    _words(extension[_METADATA], _VERSION + 1)[_VERSION] = _LAYOUT
    return True


@jit
def _buffers(frame: Array) -> tuple[Array, Array]:
    """Return the addresses of the buffers of arguments and of results."""
    return _words(frame[_ARGUMENTS], frame[_NUM_ARGUMENTS]), _words(frame[_RESULTS], frame[_NUM_RESULTS])


@jit
def _advise(frame: Array, itemsize: int) -> None:
    """Ask for large pages for all results."""
    results = _buffers(frame)[1]
    for n in range(len(results)):
        buffer, size = _words(results[n], _BUFFER), itemsize
        for length in _words(buffer[_SHAPE], buffer[_RANK]):
            size *= length
        advise(buffer[_DATA], size)


@jit
def _data(arguments: Array, results: Array) -> Array:
    """Return the addresses of the numbers in buffers."""
    num = len(arguments)
    addresses = np.empty(num + len(results), np.intp)
    for n in range(len(addresses)):
        addresses[n] = _words(arguments[n] if n < num else results[n - num], _BUFFER)[_DATA]
    return addresses


@jit
def _view(address: int) -> tuple[Array, Array]:
    """Return where a buffer's numbers are, and its shape."""
    buffer = _words(address, _BUFFER)
    return address_as_pointer(buffer[_DATA]), _words(buffer[_SHAPE], buffer[_RANK])


@jit
def _list(address: int, like: Array) -> Array:
    data, shape = _view(address)
    return carray(data, (shape[0],), like.dtype)


@jit
def _matrix(address: int, like: Array) -> Array:
    data, shape = _view(address)
    return carray(data, (shape[0], shape[1]), like.dtype)


@jit
def _box(address: int, like: Array) -> Array:
    data, shape = _view(address)
    return carray(data, (shape[0], shape[1], shape[2]), like.dtype)


@jit
def _contractions(frame: Array, like: Array, code: int) -> None:
    """Read the tables of a :class:`~e3any_backends.kernels.contraction.Schedule`, then operands."""
    arguments, results = _buffers(frame)
    integers = np.empty(0, np.int32)
    plan = Schedule(
        _list(arguments[0], integers),
        _matrix(arguments[1], integers),
        _matrix(arguments[2], integers),
        _matrix(arguments[3], integers),
        _matrix(arguments[4], integers),
        _matrix(arguments[5], integers),
        _list(arguments[6], like),
    )
    contract(0, 1, _data(arguments[7:], results), plan, code)


@jit
def _receivers(arguments: Array) -> Array:
    """Return the node that receives, for every edge, -1 for padding, from rows of edges."""
    integers = np.empty(0, np.int32)
    rows, receivers = _matrix(arguments[0], integers), _list(arguments[2], integers)
    result = np.full(len(_list(arguments[1], integers)), -1, np.int32)
    for row in range(len(rows)):
        for edge in rows[row]:
            if edge < len(result):
                result[edge] = receivers[row]
    return result


@jit
def _sums(address: int, like: Array) -> Array:
    """Return sums over edges (num, M, K, F) as (num, M, K F)."""
    data, shape = _view(address)
    return carray(data, (shape[0], shape[1], shape[2] * shape[3]), like.dtype)


@jit
def _edge_products(frame: Array, like: Array, code: int) -> None:
    """Read edges in rows, as the primitive has them, and factors."""
    arguments, results = _buffers(frame)
    out = _sums(results[0], like)
    factors = _box(arguments[3], like), _matrix(arguments[4], like), _box(arguments[5], like)
    src, dst = _list(arguments[1], np.empty(0, np.int32)), _receivers(arguments)
    edges.product(0, 1, out, *factors, src, *edges.by_receiver(src, dst, len(factors[0]), len(out)), code)


@jit
def _edge_slopes(frame: Array, like: Array, code: int) -> None:
    """Read edges in rows, factors, and what multiplies the sums over edges."""
    arguments, results = _buffers(frame)
    slopes = _box(results[0], like), _matrix(results[1], like), _box(results[2], like)
    clear(slopes[0])
    clear(slopes[1])
    clear(slopes[2])
    factors = _box(arguments[3], like), _matrix(arguments[4], like), _box(arguments[5], like)
    src, dst = _list(arguments[1], np.empty(0, np.int32)), _receivers(arguments)
    g = _sums(arguments[6], like)
    edges.pull(0, 1, *slopes, *factors, g, src, *edges.by_receiver(src, dst, len(factors[0]), len(g)), code)


@jit
def _linear_product(frame: Array, like: Array) -> None:
    """Read rows, matrices, which of them acts on each component, and a bias."""
    arguments, results = _buffers(frame)
    which, bias = _list(arguments[2], np.empty(0, np.int32)), _list(arguments[3], like)
    linear.product(0, 1, _box(results[0], like), _box(arguments[0], like), _box(arguments[1], like), which, bias)


@jit
def _linear_slope(frame: Array, like: Array) -> None:
    """Read rows, what multiplies their products, and which matrix acts on each component."""
    arguments, results = _buffers(frame)
    which, slope = _list(arguments[2], np.empty(0, np.int32)), _box(results[0], like)
    clear(slope)
    linear.slope(0, 1, slope, _box(arguments[0], like), _box(arguments[1], like), which)


@jit
def _harmonics_tables(arguments: Array, like: Array) -> Any:
    integers = np.empty(0, np.int32)
    return (
        _list(arguments[0], integers),
        _list(arguments[1], like),
        _box(arguments[2], like),
        _matrix(arguments[3], integers),
        _matrix(arguments[4], like),
        _list(arguments[5], like),
    )


@jit
def _harmonics_value(frame: Array, like: Array) -> None:
    """Read the tables of :class:`~e3any_backends.kernels.harmonics.Tables`, and vectors."""
    arguments, results = _buffers(frame)
    harmonics.value(0, 1, _matrix(results[0], like), _matrix(arguments[6], like), *_harmonics_tables(arguments, like))


@jit
def _harmonics_push(frame: Array, like: Array) -> None:
    """Read tables, vectors, and directions."""
    arguments, results = _buffers(frame)
    operands = _matrix(arguments[6], like), _matrix(arguments[7], like)
    harmonics.push(0, 1, _matrix(results[0], like), *operands, *_harmonics_tables(arguments, like))


@jit
def _harmonics_pull(frame: Array, like: Array) -> None:
    """Read tables, vectors, and weights of harmonics."""
    arguments, results = _buffers(frame)
    operands = _matrix(arguments[6], like), _matrix(arguments[7], like)
    harmonics.pull(0, 1, _matrix(results[0], like), *operands, *_harmonics_tables(arguments, like))


@jit
def _harmonics_curve(frame: Array, like: Array) -> None:
    """Read tables, vectors, weights of harmonics, and directions."""
    arguments, results = _buffers(frame)
    operands = _matrix(arguments[6], like), _matrix(arguments[7], like), _matrix(arguments[8], like)
    harmonics.curve(0, 1, _matrix(results[0], like), *operands, *_harmonics_tables(arguments, like))


#: The operations that XLA can call, functions of a call frame and an array whose dtype is that of the numbers.
OPERATIONS: dict[str, Any] = {
    "linear_product": _linear_product,
    "linear_slope": _linear_slope,
    "harmonics_value": _harmonics_value,
    "harmonics_push": _harmonics_push,
    "harmonics_pull": _harmonics_pull,
    "harmonics_curve": _harmonics_curve,
}
#: Those that also take the address of the code of a program, or 0.
OPERATIONS_WITH_CODE: dict[str, Any] = {
    "contractions": _contractions,
    "edge_products": _edge_products,
    "edge_slopes": _edge_slopes,
}


def _run(name: str, frame: Array, like: Array) -> None:
    OPERATIONS[name](frame, like)


def _run_code(name: str, frame: Array, like: Array, code: int) -> None:
    OPERATIONS_WITH_CODE[name](frame, like, code)


def _operation(name: Any, frame: Any, like: Any) -> Any:
    operation = OPERATIONS[name.literal_value]
    return lambda name, frame, like: operation(frame, like)


def _operation_with_code(name: Any, frame: Any, like: Any, code: Any) -> Any:
    operation = OPERATIONS_WITH_CODE[name.literal_value]
    return lambda name, frame, like, code: operation(frame, like, code)


overload(_run, strict=False, prefer_literal=True)(_operation)  # else numba compares annotations
overload(_run_code, strict=False, prefer_literal=True)(_operation_with_code)


def handler(name: str, dtype: Any) -> Any:
    """Compile the function of C of an operation for numbers of a dtype; some take the address of code as well."""
    # What is kept on disk is found by the values of these variables: they must be the same in every process.
    if name in OPERATIONS_WITH_CODE:

        @c_function
        def handle_with_code(address: int, code: int) -> int:
            frame = _words(address, _FRAME)
            if not _answers(frame):
                _advise(frame, np.empty(0, dtype).itemsize)
                _run_code(name, frame, np.empty(0, dtype), code)
            return 0

        return handle_with_code

    @c_function
    def handle(address: int) -> int:
        frame = _words(address, _FRAME)
        if not _answers(frame):
            _advise(frame, np.empty(0, dtype).itemsize)
            _run(name, frame, np.empty(0, dtype))
        return 0

    return handle
