"""Kernels as functions of C that XLA calls on CPUs, by the typed version of its foreign function interface.

XLA hands over the address of a structure, the call frame, where the addresses and shapes of all buffers are found.
Its layout, in words of eight bytes, is that of the file ``c_api.h`` which comes with jaxlib.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray

from e3any_backends.generic import Array
from e3any_backends.kernels import edges
from e3any_backends.kernels.contraction import Schedule, contract
from e3any_backends.kernels.jit import address_as_pointer, c_function, jit

__all__ = ["HANDLERS"]

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
def _data(buffers: Array) -> Array:
    """Return the addresses of the numbers in buffers."""
    addresses = np.empty(len(buffers), np.intp)
    for n in range(len(buffers)):
        addresses[n] = _words(buffers[n], _BUFFER)[_DATA]
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
def _contractions(frame: Array, like: Array) -> None:
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
    contract(np.concatenate((_data(arguments[7:]), _data(results))), plan)


def _contractions_handler(dtype: Any) -> Any:
    @c_function
    def handle(address: int) -> int:
        frame = _words(address, _FRAME)
        if not _answers(frame):
            _contractions(frame, np.empty(0, dtype))
        return 0

    return handle


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
def _edge_products(frame: Array, like: Array) -> None:
    """Read edges in rows, as the primitive has them, and factors."""
    arguments, results = _buffers(frame)
    out = _sums(results[0], like)
    out[:] = 0
    factors = _box(arguments[3], like), _matrix(arguments[4], like), _box(arguments[5], like)
    edges.product(out, *factors, _list(arguments[1], np.empty(0, np.int32)), _receivers(arguments))


def _edge_products_handler(dtype: Any) -> Any:
    @c_function
    def handle(address: int) -> int:
        frame = _words(address, _FRAME)
        if not _answers(frame):
            _edge_products(frame, np.empty(0, dtype))
        return 0

    return handle


@jit
def _edge_slopes(frame: Array, like: Array) -> None:
    """Read edges in rows, factors, and what multiplies the sums over edges."""
    arguments, results = _buffers(frame)
    slopes = _box(results[0], like), _matrix(results[1], like), _box(results[2], like)
    slopes[0][:] = 0
    slopes[1][:] = 0
    slopes[2][:] = 0
    factors = _box(arguments[3], like), _matrix(arguments[4], like), _box(arguments[5], like)
    src = _list(arguments[1], np.empty(0, np.int32))
    edges.pull(*slopes, *factors, _sums(arguments[6], like), src, _receivers(arguments))


def _edge_slopes_handler(dtype: Any) -> Any:
    @c_function
    def handle(address: int) -> int:
        frame = _words(address, _FRAME)
        if not _answers(frame):
            _edge_slopes(frame, np.empty(0, dtype))
        return 0

    return handle


#: What compiles the function of a name for a dtype.
HANDLERS: dict[str, Callable[[Any], Any]] = {
    "contractions": _contractions_handler,
    "edge_products": _edge_products_handler,
    "edge_slopes": _edge_slopes_handler,
}
