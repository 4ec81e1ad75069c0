"""Small arrays as JSON, with their dtype, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from e3any_backends.arrays import dtype_name
from numpy.typing import NDArray

from e3any.checks import shown
from e3any.files.bfloat16 import bfloat16_bits, from_bfloat16_bits

__all__ = ["decoded", "encoded"]

_KINDS: dict[str, tuple[type, ...]] = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}
_SIZES = ("8", "16", "32", "64")
_DTYPES = ("bool", *(kind + size for kind in ("int", "uint") for size in _SIZES), "float16", "float32", "float64")
_INFINITE = ("inf", "-inf", "nan")


def encoded(x: NDArray[Any], where: str) -> dict[str, Any]:
    """Return an array of real numbers or bools as JSON.

    Parameters
    ----------
    x : array
        The array.
    where : str
        Its name in errors.

    Returns
    -------
    dict
        ``array``, nested lists with infinite numbers and NaN as strings, and ``dtype``; also ``shape`` if the array is
        empty. For example ``{"array": [1.0, "inf"], "dtype": "float32"}``.

    Raises
    ------
    TypeError
        If the array has another dtype, or a mask.
    """
    short = bfloat16_bits(x) is not None
    if isinstance(x, np.ma.MaskedArray) or not (short or (x.dtype.kind in _KINDS and x.dtype.itemsize <= 8)):
        raise TypeError(f"expected {where} to be an array of real numbers or bools, got dtype {x.dtype}")
    entries = (x.astype(np.float32) if short else x).tolist()
    if short or x.dtype.kind == "f":
        entries = _with_text(entries)
    shape = {} if x.size else {"shape": list(x.shape)}
    return {"array": entries, "dtype": "bfloat16" if short else dtype_name(x.dtype), **shape}


def _with_text(value: Any) -> Any:
    """Return nested lists of numbers, with infinite numbers and NaN as strings."""
    if isinstance(value, list):
        return [_with_text(v) for v in value]
    return value if math.isfinite(value) else str(value)


def decoded(value: dict[str, Any]) -> NDArray[Any]:
    """Return the array that :func:`encoded` has turned into JSON.

    Parameters
    ----------
    value : dict
        A result of :func:`encoded`.

    Returns
    -------
    array
        The array.

    Raises
    ------
    ValueError
        If ``value`` is anything else.
    """
    name, short = value.get("dtype"), value.get("dtype") == "bfloat16"
    dtype = np.dtype("float32" if short else _known(name))
    if not value.keys() <= {"array", "dtype", "shape"}:
        raise ValueError(f"expected an array and its dtype, got {shown(sorted(value))}")
    if not all(_fits(entry, dtype) for entry in _entries(value["array"])):
        raise ValueError(f"expected an array of {name}, got {shown(value['array'])}")
    try:
        with np.errstate(over="raise"):
            x = np.asarray(value["array"], dtype)
        x = x.reshape(value.get("shape", x.shape))
    except (ValueError, TypeError, OverflowError, FloatingPointError) as error:
        raise ValueError(f"expected an array of {name}, got {shown(value['array'])}: {error}") from None
    return _shortened(x) if short else x


def _shortened(x: NDArray[np.float32]) -> NDArray[Any]:
    bits = x.view(np.uint32)
    if (bits & 0xFFFF).any():
        raise ValueError(f"expected an array of bfloat16, got other numbers: {shown(x)}")
    return from_bfloat16_bits(np.asarray(bits >> 16, np.uint16))


def _known(name: Any) -> str:
    if not isinstance(name, str) or name not in _DTYPES:
        raise ValueError(f"expected a dtype of {_DTYPES}, got {shown(name)}")
    return name


def _fits(entry: Any, dtype: np.dtype[Any]) -> bool:
    return type(entry) in _KINDS[dtype.kind] or (dtype.kind == "f" and entry in _INFINITE)


def _entries(value: Any) -> Iterator[Any]:
    # Without recursion, because texts can be nested deeply.
    rest = [value]
    while rest:
        entry = rest.pop()
        if isinstance(entry, list):
            rest.extend(entry)
        else:
            yield entry
