"""The format of safetensors files: a header in JSON, and the bytes of arrays.

A file is the length of the header (8 bytes), the header, and the bytes of all arrays, little-endian and in C order. The
header says the dtype, the shape and the place of each array, and may have notes under ``__metadata__``. Files may be
hostile: everything is checked, and a ValueError says what does not fit. Specification:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np
from e3any_backends.generic import dtype_name
from numpy.typing import NDArray

from e3any.bfloat16 import bfloat16_bits, from_bfloat16_bits
from e3any.checks import shown
from e3any.strict_json import parse

__all__ = ["DTYPES", "NOTES", "Entry", "content", "read_array", "read_header"]

#: The key of the notes, which is that of no array.
NOTES = "__metadata__"
#: The names of dtypes in files. Arrays come in the order of this table and then by their keys, so that all are aligned.
DTYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_NAMES = {code: name for name, code in DTYPES.items()}
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Entry:
    """What a header says of an array.

    Attributes
    ----------
    key : str
        Its name.
    dtype : str
        The name of its dtype.
    shape : tuple of int
        Its shape.
    begin, end : int
        Its place among the bytes of all arrays.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def content(arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """Yield a file in pieces: the header with sorted notes, and the bytes of every array.

    Parameters
    ----------
    arrays : mapping of str to array
        The arrays, whose dtypes are in :data:`DTYPES`.
    notes : mapping of str to str
        The notes.

    Yields
    ------
    bytes
        The next piece. It is the same for equal arrays and notes.
    """
    codes = list(DTYPES.values())
    stored = {key: _stored(x) for key, x in arrays.items()}
    order = sorted(stored, key=lambda key: (codes.index(stored[key][0]), key.encode()))
    header: dict[str, Any] = {NOTES: dict(sorted(notes.items()))}
    begin = 0
    for key in order:
        code, x = stored[key]
        header[key] = {"dtype": code, "shape": x.shape, "data_offsets": [begin, begin + x.nbytes]}
        begin += x.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"expected names and notes of at most {_LONGEST_HEADER} bytes, got {len(text)}")
    yield len(text).to_bytes(8, "little") + text
    for key in order:
        yield _little_endian(stored[key][1]).reshape(-1).view(np.uint8).data


def _stored(x: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Return the name of a dtype in files, and the array whose bytes are stored."""
    bits = bfloat16_bits(x)
    return (DTYPES[dtype_name(x.dtype)], x) if bits is None else ("BF16", bits)


def _little_endian(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(x, x.dtype.newbyteorder("<"), order="C")


def read_header(file: BufferedReader) -> tuple[list[Entry], dict[str, str]]:
    """Read the header of a file, which is at the first byte of its arrays then.

    Parameters
    ----------
    file : file
        The file.

    Returns
    -------
    entries : list of Entry
        What it says of arrays, in the order of their bytes.
    notes : dict of str
        The notes.

    Raises
    ------
    ValueError
        If the header is none, or does not fit the file.
    """
    start = file.read(8)
    size = os.fstat(file.fileno()).st_size - 8
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size:
        raise ValueError(f"expected a header of {length} bytes, got a file of {size + 8}")
    if length > _LONGEST_HEADER:
        raise ValueError(f"expected a header of at most {_LONGEST_HEADER} bytes, got {length}")
    header = parse(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"expected a header that is an object, got {shown(header)}")
    notes = header.pop(NOTES, {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise ValueError(f"expected notes of text under {NOTES!r}, got {shown(notes)}")
    entries = sorted((_entry(*item) for item in header.items()), key=lambda entry: (entry.begin, entry.end))
    _check_places(entries, size - length)
    return entries, notes


def _entry(key: str, value: Any) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"expected dtype, shape and data_offsets of {shown(key)}, got {shown(value)}")
    code, shape, places = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in _NAMES:
        raise ValueError(f"expected a dtype of {sorted(_NAMES)} of {shown(key)}, got {shown(code)}")
    if not _are_sizes(shape):
        raise ValueError(f"expected a shape of integers >= 0 of {shown(key)}, got {shown(shape)}")
    if not (_are_sizes(places) and len(places) == 2):
        raise ValueError(f"expected two places of {shown(key)}, got {shown(places)}")
    size = math.prod(shape) * _stored_dtype(_NAMES[code]).itemsize
    if places[1] - places[0] != size:
        raise ValueError(f"expected {size} bytes of {shown(key)}, got places {places}")
    return Entry(key, _NAMES[code], tuple(shape), *places)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _check_places(entries: Iterable[Entry], size: int) -> None:
    """Raise a ValueError unless arrays fill the rest of the file, one behind the other."""
    end = 0
    for entry in entries:
        if entry.begin != end:
            raise ValueError(f"expected {shown(entry.key)} to begin at byte {end}, got {entry.begin}")
        end = entry.end
    if end != size:
        raise ValueError(f"expected {end} bytes of arrays, got {size}")


def read_array(file: BufferedReader, entry: Entry) -> NDArray[Any]:
    """Read the next array of a file.

    Parameters
    ----------
    file : file
        The file, at the first byte of the array.
    entry : Entry
        What the header says of it.

    Returns
    -------
    array
        The array, in the byte order of the machine.

    Raises
    ------
    ValueError
        If NumPy has no such arrays, the file ends, or a bool is neither 0 nor 1.
    """
    dtype = _stored_dtype(entry.dtype)
    try:
        x = np.empty(entry.shape, dtype)
    except (ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"expected {shown(entry.key)} of a shape that fits into memory: {error}") from None
    data = x.reshape(-1).view(np.uint8)
    if file.readinto(data.data) != data.size:
        raise ValueError(f"expected {data.size} bytes of {shown(entry.key)}, got the end of the file")
    if entry.dtype == "bool" and (data > 1).any():
        raise ValueError(f"expected bools of 0 and 1 in {shown(entry.key)}, got {data.max()}")
    x = x.astype(dtype.newbyteorder("="), copy=False)
    return from_bfloat16_bits(x) if entry.dtype == "bfloat16" else x


def _stored_dtype(name: str) -> np.dtype[Any]:
    return np.dtype("uint16" if name == "bfloat16" else name).newbyteorder("<")
