"""Kernels as functions of C that XLA calls on CPUs, by the typed version of its foreign function interface.

XLA hands over the address of a structure, the call frame, where the addresses and shapes of all buffers are found.
Its layout, in words of eight bytes, is that of the file ``c_api.h`` which comes with jaxlib.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray
from numba.extending import overload

from e3any_backends.arrays import Array
from e3any_backends.kernels import edges, harmonics, linear
from e3any_backends.kernels.code.jit import address_as_pointer, c_function, guarded, inlined, inner
from e3any_backends.kernels.code.simd import clear
from e3any_backends.kernels.contraction import Schedule, contract
from e3any_backends.kernels.xla import tasks
from e3any_backends.kernels.xla.pages import advise
from e3any_backends.kernels.xla.tasks import WORD

__all__ = ["OPERATIONS", "handler"]

# Where a word is in the call frame and how many there are,
_EXTENSION, _NUM_ARGUMENTS, _ARGUMENTS, _NUM_RESULTS, _RESULTS, _NUM_ATTRIBUTES, _ATTRIBUTES = 1, 7, 9, 12, 14, 17, 20
_FRAME = 21
# in a buffer,
_DATA, _RANK, _SHAPE, _BUFFER = 3, 4, 5, 6
# in an attribute that is a number, and which attribute is which,
_VALUE, _NUMBER, _COPIED, _PARTS, _SHARED = 1, 2, 0, 1, 2
# in an extension of the frame, and in the metadata that one of them asks for.
_TYPE, _METADATA, _VERSION = 1, 3, 3
# The version of the interface that has this layout, 0.1, as a pair of integers of four bytes, the major one first.
# XLA keeps to the layout of older versions, or refuses to register functions of theirs.
_LAYOUT = 1 << 32


@inner
def _words(address: int, num: int) -> Array:
    return carray(address_as_pointer(address), (num,), np.intp)


@inner
def _answers(frame: Array) -> bool:
    """Answer the question for the version, if it is one: an extension of type 1, which has four bytes."""
    if frame[_EXTENSION] == 0:
        return False
    extension = _words(frame[_EXTENSION], _METADATA + 1)
    if extension[_TYPE] & 0xFFFFFFFF != 1:
        return False
    _words(extension[_METADATA], _VERSION + 1)[_VERSION] = _LAYOUT
    return True


@inner
def _buffers(frame: Array) -> tuple[Array, Array]:
    """Return the addresses of the buffers of arguments and of results."""
    return _words(frame[_ARGUMENTS], frame[_NUM_ARGUMENTS]), _words(frame[_RESULTS], frame[_NUM_RESULTS])


@inner
def _advise(frame: Array, itemsize: int) -> None:
    """Ask for large pages for all results."""
    results = _buffers(frame)[1]
    for n in range(len(results)):
        buffer, size = _words(results[n], _BUFFER), itemsize
        for length in _words(buffer[_SHAPE], buffer[_RANK]):
            size *= length
        advise(buffer[_DATA], size)


@inner
def _attribute(frame: Array, n: int) -> int:
    """Return an attribute of a call, in alphabetical order."""
    number = _words(_words(frame[_ATTRIBUTES], n + 1)[n], _NUMBER)
    return int(_words(number[_VALUE], 1)[0])


@inner
def _data(arguments: Array, results: Array) -> Array:
    """Return the addresses of the numbers in buffers."""
    num = len(arguments)
    addresses = np.empty(num + len(results), np.intp)
    for n in range(len(addresses)):
        addresses[n] = _words(arguments[n] if n < num else results[n - num], _BUFFER)[_DATA]
    return addresses


@inner
def _view(address: int) -> tuple[Array, Array]:
    """Return where a buffer's numbers are, and its shape."""
    buffer = _words(address, _BUFFER)
    return address_as_pointer(buffer[_DATA]), _words(buffer[_SHAPE], buffer[_RANK])


@inner
def _list(address: int, like: Array) -> Array:
    data, shape = _view(address)
    return carray(data, (shape[0],), like.dtype)


@inner
def _matrix(address: int, like: Array) -> Array:
    data, shape = _view(address)
    return carray(data, (shape[0], shape[1]), like.dtype)


@inner
def _box(address: int, like: Array) -> Array:
    data, shape = _view(address)
    return carray(data, (shape[0], shape[1], shape[2]), like.dtype)


@inner
def _sums(address: int, like: Array) -> Array:
    """Return sums over edges (num, M, K, F) as (num, M, K F)."""
    data, shape = _view(address)
    return carray(data, (shape[0], shape[1], shape[2] * shape[3]), like.dtype)


# -- operations ---------------------------------------------------------------------------------------------

# An operation has three functions: what is done before and after all parts, and a part. They take the call frame, an
# array whose dtype is that of the numbers, and where the memory is that parts share, as many words as ``shared``
# says. Every part but the first also has memory for as many numbers as ``copied`` says. Both are attributes.


@inner
def _do_nothing(frame: Array, like: Array, room: int) -> None:
    pass


@inner
def _add_nothing(frame: Array, like: Array, parts: int, copies: int, pitch: int) -> None:
    pass


@inner
def _add_copies(total: int, size: int, like: Array, parts: int, copies: int, pitch: int) -> None:
    """Add what all parts but the first have written to copies, so many bytes apart, to an output of a size."""
    first = carray(address_as_pointer(total), (size,), like.dtype)
    for number in range(parts - 1):
        copy = carray(address_as_pointer(copies + number * pitch), (size,), like.dtype)
        for n in range(size):
            first[n] += copy[n]


@inner
def _add_to_first(frame: Array, like: Array, parts: int, copies: int, pitch: int) -> None:
    """Add copies of the first result."""
    result = _box(_buffers(frame)[1][0], like)
    _add_copies(result.ctypes.data, result.size, like, parts, copies, pitch)


@inner
def _box_at(address: int, shape: tuple[int, ...], like: Array) -> Array:
    return carray(address_as_pointer(address), shape, like.dtype)


# Contractions. All parts but the first have copies of outputs that are sums over rows.


@inner
def _plan(arguments: Array, like: Array) -> Any:
    """Read the tables of a :class:`~e3any_backends.kernels.contraction.Schedule`; operands follow them."""
    integers = np.empty(0, np.int32)
    return Schedule(
        _list(arguments[0], integers),
        _matrix(arguments[1], integers),
        _matrix(arguments[2], integers),
        _matrix(arguments[3], integers),
        _matrix(arguments[4], integers),
        _matrix(arguments[5], integers),
        _list(arguments[6], like),
    )


@inner
def _copied(sizes: Array, arrays: Array, n: int) -> int:
    """Return how many numbers an array has if there are copies of it, else 0."""
    return int(arrays[n, 0] * arrays[n, 3] * sizes[2] if n >= sizes[3] and arrays[n, 1] == 0 else 0)


@inlined
def _contractions(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    plan, addresses = _plan(arguments, like), _data(arguments[7:], results)
    if number > 0:
        for n in range(len(addresses)):
            size = _copied(plan.sizes, plan.arrays, n)
            if size > 0:
                addresses[n] = copy
                copy += size * like.itemsize
    contract(number, parts, addresses, plan, code)


@inner
def _add_contractions(frame: Array, like: Array, parts: int, copies: int, pitch: int) -> None:
    arguments, results = _buffers(frame)
    integers, addresses = np.empty(0, np.int32), _data(arguments[7:], results)
    sizes, arrays = _list(arguments[0], integers), _matrix(arguments[1], integers)
    for n in range(len(addresses)):
        size = _copied(sizes, arrays, n)
        _add_copies(addresses[n], size, like, parts, copies, pitch)
        copies += size * like.itemsize


# Sums over edges: edges in rows, as the primitive has them, and factors. Parts share the order of edges.


@inner
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


@inner
def _order(frame: Array, room: int) -> tuple[Array, Array, Array]:
    """Return who sends, and what :func:`e3any_backends.kernels.edges.by_receiver` fills."""
    arguments, _ = _buffers(frame)
    src = _list(arguments[1], np.empty(0, np.int32))
    num_starts = _attribute(frame, _SHARED) - len(src)
    return src, _words(room, num_starts), _words(room + num_starts * WORD, len(src))


@inner
def _sort_edges(frame: Array, like: Array, room: int) -> None:
    arguments, _ = _buffers(frame)
    src, starts, order = _order(frame, room)
    edges.by_receiver(starts, order, src, _receivers(arguments), len(_box(arguments[3], like)))


@inlined
def _edge_products(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    out, (src, starts, order) = _sums(results[0], like), _order(frame, room)
    factors = _box(arguments[3], like), _matrix(arguments[4], like), _box(arguments[5], like)
    edges.product(number, parts, out, *factors, src, starts, order, code)


@inlined
def _edge_gradients(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    dx, (src, starts, order) = _box(results[0], like), _order(frame, room)
    if number > 0:
        dx = _box_at(copy, dx.shape, like)
    clear(dx)
    factors = _box(arguments[3], like), _matrix(arguments[4], like), _box(arguments[5], like)
    gradients, g = (_matrix(results[1], like), _box(results[2], like)), _sums(arguments[6], like)
    edges.vjp(number, parts, dx, *gradients, *factors, g, src, starts, order, code)


# Linear maps: rows, matrices or what multiplies products, which matrix acts on each component, and a bias.


@inlined
def _linear_product(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    which, bias = _list(arguments[2], np.empty(0, np.int32)), _list(arguments[3], like)
    factors = _box(arguments[0], like), _box(arguments[1], like)
    linear.product(number, parts, _box(results[0], like), *factors, which, bias)


@inlined
def _linear_matrix_vjp(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    which, dw = _list(arguments[2], np.empty(0, np.int32)), _box(results[0], like)
    if number > 0:
        dw = _box_at(copy, dw.shape, like)
    clear(dw)
    linear.matrix_vjp(number, parts, dw, _box(arguments[0], like), _box(arguments[1], like), which)


# Harmonics: tables of :class:`~e3any_backends.forms.harmonics.HarmonicsTables`, vectors, weights and directions.


@inner
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


@inlined
def _harmonics_value(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    harmonics.value(
        number, parts, _matrix(results[0], like), _matrix(arguments[6], like), *_harmonics_tables(arguments, like)
    )


@inlined
def _harmonics_jvp(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    operands = _matrix(arguments[6], like), _matrix(arguments[7], like)
    harmonics.jvp(number, parts, _matrix(results[0], like), *operands, *_harmonics_tables(arguments, like))


@inlined
def _harmonics_vjp(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    operands = _matrix(arguments[6], like), _matrix(arguments[7], like)
    harmonics.vjp(number, parts, _matrix(results[0], like), *operands, *_harmonics_tables(arguments, like))


@inlined
def _harmonics_second_vjp(number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    arguments, results = _buffers(frame)
    operands = _matrix(arguments[6], like), _matrix(arguments[7], like), _matrix(arguments[8], like)
    harmonics.second_vjp(number, parts, _matrix(results[0], like), *operands, *_harmonics_tables(arguments, like))


_SIMPLE = _do_nothing, _add_nothing
#: The operations that XLA can call: what is done before and after all parts, and a part.
OPERATIONS: dict[str, Any] = {
    "contractions": (_do_nothing, _add_contractions, _contractions),
    "edge_products": (_sort_edges, _add_nothing, _edge_products),
    "edge_gradients": (_sort_edges, _add_to_first, _edge_gradients),
    "linear_product": (*_SIMPLE, _linear_product),
    "linear_matrix_vjp": (_do_nothing, _add_to_first, _linear_matrix_vjp),
    "harmonics_value": (*_SIMPLE, _harmonics_value),
    "harmonics_jvp": (*_SIMPLE, _harmonics_jvp),
    "harmonics_vjp": (*_SIMPLE, _harmonics_vjp),
    "harmonics_second_vjp": (*_SIMPLE, _harmonics_second_vjp),
}


# -- calls --------------------------------------------------------------------------------------------------


def _begin(name: str, frame: Array, like: Array, room: int) -> None:
    OPERATIONS[name][0](frame, like, room)


def _end(name: str, frame: Array, like: Array, parts: int, copies: int, pitch: int) -> None:
    OPERATIONS[name][1](frame, like, parts, copies, pitch)


def _part(name: str, number: int, parts: int, frame: Array, like: Array, room: int, copy: int, code: int) -> None:
    OPERATIONS[name][2](number, parts, frame, like, room, copy, code)


def _begin_of(name: Any, frame: Any, like: Any, room: Any) -> Any:
    function = OPERATIONS[name.literal_value][0]
    return lambda name, frame, like, room: function(frame, like, room)


def _end_of(name: Any, frame: Any, like: Any, parts: Any, copies: Any, pitch: Any) -> Any:
    function = OPERATIONS[name.literal_value][1]
    return lambda name, frame, like, parts, copies, pitch: function(frame, like, parts, copies, pitch)


def _part_of(name: Any, number: Any, parts: Any, frame: Any, like: Any, room: Any, copy: Any, code: Any) -> Any:
    function = OPERATIONS[name.literal_value][2]
    return lambda name, number, parts, frame, like, room, copy, code: function(
        number, parts, frame, like, room, copy, code
    )


for _function, _chosen in ((_begin, _begin_of), (_end, _end_of), (_part, _part_of)):
    overload(_function, strict=False, prefer_literal=True)(_chosen)  # else numba compares annotations


@guarded
def handler(name: str, dtype: Any) -> Any:
    """Compile the function of C of an operation for numbers of a dtype.

    It takes the address of a call frame, or of what tasks share, that of the code of a program, and that of a function
    of C that hands an address on to this one.
    """

    # What is kept on disk is found by the values of these variables: they must be the same in every process.
    @c_function
    def handle(address: int, code: int, task: int) -> int:
        is_call, shared, like = not tasks.is_task(address), address, np.empty(0, dtype)
        if is_call:
            frame = _words(address, _FRAME)
            if _answers(frame):
                return 0
            _advise(frame, like.itemsize)
            parts, size = tasks.num_parts(address, _attribute(frame, _PARTS)), _attribute(frame, _SHARED)
            step = (_attribute(frame, _COPIED) * like.itemsize + WORD - 1) // WORD
            memory = np.empty(size + (parts - 1) * step, np.intp)
            room = memory.ctypes.data
            _begin(name, frame, like, room)
            shared = tasks.start(address, parts, room, room + size * WORD, step * WORD, task)
        # When all parts are done, there may be no call frame any more.
        number, parts = tasks.next_part(shared)
        frame_address, room, copies, pitch = tasks.call(shared)
        while number < parts:
            copy = copies + (number - 1) * pitch
            _part(name, number, parts, _words(frame_address, _FRAME), like, room, copy, code)
            tasks.done(shared)
            number, parts = tasks.next_part(shared)
        if is_call:
            tasks.wait(shared)
            _end(name, frame, like, parts, memory.ctypes.data + size * WORD, pitch)
            tasks.leave(shared)
        tasks.leave(shared)
        return 0

    return handle
