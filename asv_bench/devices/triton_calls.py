"""The PTX of Triton kernels in a lowered program, where jax-triton has put it into its calls."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any

__all__ = ["CALL", "kernel_sources"]

#: The call with its kernel, which is compressed and has paths of files and numbers of lines.
CALL = re.compile(r'(custom_call @triton_kernel_call\([^)]*\) \{[^"]*backend_config = )"(?:[^"\\]|\\.)*"')
# Fields of jax-triton's message: the call of a kernel has the kernel, which has its PTX.
_PTX = (1, 1, 4)
_DEBUG = re.compile(r"(?ms)^\t\.(?:loc\t[^\n]*\n|(?:file|section)\t.*\Z)|, debug$")


def kernel_sources(module: Any) -> list[str]:
    """Return the PTX of all calls in a module of MLIR, without what only debuggers read."""
    calls = (op for op in _operations(module.operation) if op.name == "stablehlo.custom_call")
    messages = (op.attributes["backend_config"] for op in calls if op.attributes["call_target_name"].value == _TARGET)
    return [_DEBUG.sub("", _field(zlib.decompress(m.value_bytes), _PTX).decode()) for m in messages]


_TARGET = "triton_kernel_call"


def _operations(operation: Any) -> Iterator[Any]:
    for region in operation.regions:
        for block in region.blocks:
            for inner in block.operations:
                yield inner.operation
                yield from _operations(inner.operation)


def _field(message: bytes, path: tuple[int, ...]) -> bytes:
    """Return the first field of a message in the format of protocol buffers that has these numbers."""
    if not path:
        return message
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 2:
            length, position = _varint(message, position)
            if key >> 3 == path[0]:
                return _field(message[position : position + length], path[1:])
            position += length
        elif kind == 0:
            _, position = _varint(message, position)
        else:
            position += {1: 8, 5: 4}[kind]
    raise ValueError(f"expected the call of a Triton kernel with fields {path}, got {message[:40]!r}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Read a number, seven bits a byte; return it and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        shift, position = shift + 7, position + 1
        if byte < 128:
            return value, position
