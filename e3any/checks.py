"""Checks of arguments, before anything is computed.

Errors say "expected ..., got ...". Checks look at types, dtypes, shapes and devices, never at the values of arrays, so
that they also work while a compiler traces.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of
from e3any_backends.arrays import dtype_name

__all__ = [
    "FLOATING",
    "as_size",
    "check_axis",
    "check_broadcast",
    "check_callable",
    "check_count",
    "check_counts",
    "check_degree",
    "check_degrees",
    "check_dtype",
    "check_flag",
    "check_flags",
    "check_fraction",
    "check_integer",
    "check_number",
    "check_size",
    "check_vectors",
    "cut",
    "floating_backend",
    "shown",
]

_LONGEST = 160
#: Names of the supported floating-point dtypes.
FLOATING = ("float64", "float32", "bfloat16", "float16")


def shown(value: Any) -> str:
    """Return the repr of a value as errors show it: on one line, and without its middle if it is long."""
    try:
        text = repr(value)
    except Exception as error:  # a user's class may raise anything here; the error being reported matters more
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return cut(" ".join(text.split()) if "\n" in text else text)


def cut(text: str) -> str:
    """Return a text, without its middle if it is long."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST * 2 // 3]} ... {text[-_LONGEST // 4 :]}"


def check_integer(value: Any, name: str, least: int | None = 0) -> None:
    """Raise a ValueError unless ``value`` is an integer, and not less than ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (least is not None and value < least):
        _check_traced(value, name)
        bound = "" if least is None else f" >= {least}"
        raise ValueError(f"expected {name} to be an integer{bound}, got {shown(value)}")


def _check_traced(value: Any, name: str) -> None:
    """Raise a ValueError if ``value`` is a size in a trace of PyTorch that would freeze its current number."""
    kind = type(value).__name__
    if kind == "SymInt":
        raise ValueError(
            f"expected {name} to be an integer, got {shown(value)}, a symbol of a trace with sizes of any value: give "
            f"int(...) of it, a number that the trace keeps, or trace with torch.compile or torch.export.export"
        )
    if kind == "Tensor" and "torch" in sys.modules and sys.modules["torch"].jit.is_tracing():
        raise ValueError(
            f"expected {name} to be an integer, got {shown(value)}: tensors are sizes within torch.jit.trace, which "
            f"keeps the values of one call for all; use torch.compile or torch.export.export, which do not"
        )


def as_size(size: Any, name: str) -> Any:
    """Return the size of an axis as an integer; a symbolic size of PyTorch becomes the number that it is traced with.

    Raises
    ------
    ValueError
        If the size is a tensor, as within ``torch.jit.trace``.
    """
    if isinstance(size, int):
        return size
    if type(size).__name__ == "SymInt":
        return int(size)
    _check_traced(size, name)
    return size


def check_degree(degree: Any, name: str = "max_degree") -> None:
    """Raise a ValueError unless ``degree`` is an integer >= 0."""
    check_integer(degree, name)


def check_count(value: Any, name: str) -> None:
    """Raise a ValueError unless ``value``, a number of features for example, is an integer >= 0."""
    check_integer(value, name)


def check_counts(values: Any, name: str) -> None:
    """Raise an error unless ``values``, the lengths of axes for example, are integers >= 0."""
    if not isinstance(values, Iterable):
        raise TypeError(f"expected {name} to be a sequence of integers, got {type(values).__name__}")
    for value in values:
        check_count(value, f"every one of {name}")


def check_degrees(degrees: Any, name: str = "degrees") -> None:
    """Raise an error unless ``degrees`` are integers >= 0."""
    check_counts(degrees, name)


def check_size(num: Any, name: str) -> None:
    """Raise a ValueError unless ``num`` is an integer >= 0, a symbolic size or a zero-dimensional array.

    Within ``torch.jit.trace`` sizes are tensors and refused, because the trace would freeze the values of one call.
    """
    if isinstance(num, (int, float, complex, str, Sequence, np.generic)):
        check_integer(num, name)
    elif type(num).__name__ != "SymInt":
        _check_traced(num, name)


def check_number(value: Any, name: str, least: float | None = None) -> None:
    """Raise a TypeError unless ``value`` is a number, and a ValueError if it is NaN or less than ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"expected {name} to be a number, got {shown(value)}")
    if value != value or (least is not None and value < least):
        bound = "" if least is None else f" >= {least}"
        raise ValueError(f"expected {name} to be a number{bound}, got {shown(value)}")


def check_fraction(value: Any, name: str) -> None:
    """Raise an error unless ``value`` is a number in [0, 1]."""
    check_number(value, name, least=0.0)
    if value > 1.0:
        raise ValueError(f"expected {name} to be a number <= 1, got {shown(value)}")


def check_flag(value: Any, name: str, *, optional: bool = False) -> None:
    """Raise a ValueError unless ``value`` is True or False (also of NumPy), or None if ``optional``."""
    if not (isinstance(value, (bool, np.bool_)) or (optional and value is None)):
        raise ValueError(
            f"expected {name} to be True{', False or None' if optional else ' or False'}, got {shown(value)}"
        )


def check_flags(**flags: Any) -> None:
    """Raise a ValueError unless all values are True or False."""
    for name, value in flags.items():
        check_flag(value, name)


def check_callable(function: Any, name: str) -> None:
    """Raise a TypeError unless ``function`` can be called."""
    if not callable(function):
        raise TypeError(f"expected {name} to be a function, got {shown(function)}")


def check_dtype(dtype: Any, name: str = "dtype") -> None:
    """Raise a TypeError unless ``dtype`` is a floating-point dtype of any library, the name of one, or None."""
    if dtype is not None and dtype_name(dtype) not in FLOATING:
        raise TypeError(f"expected {name} to be one of {FLOATING}, got {shown(dtype)}")


def floating_backend(*beside: Array, **arrays: Array) -> Backend:
    """Return the backend of floating-point arrays of one library; raise a TypeError that names any other.

    Arrays ``beside`` them, such as index lists, belong to the same library and have any dtype.
    """
    backend = backend_of(*arrays.values(), *beside)
    for name, x in arrays.items():
        if not hasattr(x, "dtype"):
            raise TypeError(f"expected {name} to be an array, got {shown(x)}")
        if not backend.is_floating(x):
            raise TypeError(f"expected {name} to be a floating-point array, got dtype {x.dtype}")
    return backend


def check_vectors(r: Array, name: str = "r", length: int = 3) -> None:
    """Raise a ValueError unless the last axis of an array has the given length."""
    if len(r.shape) < 1 or r.shape[-1] != length:
        raise ValueError(f"expected {name} of shape (..., {length}), got {tuple(r.shape)}")


def check_broadcast(what: str, *shapes: Sequence[int], to: Sequence[int] | None = None) -> None:
    """Raise a ValueError unless shapes broadcast with each other, and ``to`` a shape if one is given.

    For example (5, 1) and (4,) broadcast with each other, but (5, 1) does not broadcast to (4,). The rules are those of
    https://data-apis.org/array-api/latest/API_specification/broadcasting.html.
    """
    for ours, theirs in itertools.combinations(shapes, 2):
        if ours != theirs and any(
            n != m and 1 not in (n, m) for n, m in zip(reversed(ours), reversed(theirs), strict=False)
        ):
            raise ValueError(f"expected {what} that broadcast, got {' and '.join([f'{tuple(s)}' for s in shapes])}")
    if to is None:
        return
    for shape in shapes:
        pairs = zip(reversed(shape), reversed(to), strict=False)
        if len(shape) > len(to) or any(n not in (1, m) for n, m in pairs):
            raise ValueError(f"expected {what} that broadcast to shape {tuple(to)}, got {tuple(shape)}")


def check_axis(axis: Any, ndim: int) -> None:
    """Raise a ValueError unless ``axis`` is an axis of an array, or a tuple of different axes."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    for number in axes:
        check_integer(number, "axis", least=None)
    if not all(-ndim <= number < ndim for number in axes) or len({number % ndim for number in axes}) < len(axes):
        raise ValueError(f"expected different axes of an array that has {ndim}, got {shown(axis)}")
