"""Unusual NumPy arrays: subclasses, other byte orders, and dtypes of other packages.

================================  ============================================  ======================================
array                             problem                                       treatment
================================  ============================================  ======================================
subclass, such as a masked array  computes differently; conversions lose data   refused by :func:`check_class`
another byte order                kernels and other libraries misread its       converted by :func:`native` and
                                  memory; HDF5 and FITS files have such arrays  :func:`converting`
bfloat16                          NumPy has few functions for it                computed in float32 by
                                                                                :func:`converting`
================================  ============================================  ======================================
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np

from e3any_backends.arrays import Array, Arrays

__all__ = ["check_class", "converting", "is_usual", "native", "packed"]

T = TypeVar("T")
A = TypeVar("A", bound=Arrays)

# A memory map is an array whose memory is a file.
_CLASSES = (np.ndarray, np.memmap)


def check_class(x: Array) -> None:
    """Raise a TypeError if an array of NumPy is of a subclass that computes otherwise."""
    if type(x) in _CLASSES or isinstance(x, np.generic):
        return
    if isinstance(x, np.ma.MaskedArray):
        remedy = "fill in what is masked, x.filled(0.0), or leave it out, x.compressed()"
    else:
        remedy = "convert it, numpy.asarray(x)"
    raise TypeError(f"expected a numpy.ndarray, got {type(x).__name__}: {remedy}")


def is_usual(x: Array) -> bool:
    """Return whether an array has a dtype of NumPy's own, in the byte order of the machine."""
    return bool(x.dtype.isnative and x.dtype.kind != "V")


def native(x: T) -> T:
    """Return a NumPy array in the byte order of the machine, and everything else unchanged.

    Raises
    ------
    TypeError
        If the array is of a subclass that computes otherwise, such as a masked one.

    Examples
    --------
    >>> native(np.ones(2, ">f4")).dtype.isnative
    True
    """
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    check_class(x)
    return x if x.dtype.isnative else cast(T, x.astype(x.dtype.newbyteorder("=")))


def packed(x: Array) -> Array:
    """Return an array that kernels can read: in the byte order of the machine, contiguous and aligned."""
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return x
    return np.require(x, x.dtype.newbyteorder("="), ["C", "A"])


def converting(backend: A) -> A:
    """Return a backend of NumPy that takes unusual arrays.

    Its results are in the byte order of the machine, and in float32 instead of bfloat16.
    """
    result = _Converting(backend)
    vars(result)["xp"] = _Converting(backend.xp)
    return cast(A, result)


class _Converting:
    """The functions of a module or an object, which are called with converted arrays and dtypes."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        value = getattr(self._target, name)
        if not callable(value) or isinstance(value, type):
            return value
        return lambda *arguments, **options: value(
            *map(_usual, arguments), **{n: _usual(x) for n, x in options.items()}
        )


def _usual(x: object) -> object:
    """Convert arrays, also those in lists and tuples, and dtypes."""
    if type(x) is list:
        return list(map(_usual, x))
    if type(x) is tuple:
        return tuple(map(_usual, x))
    if isinstance(x, np.dtype):
        return np.dtype(np.float32) if x.name == "bfloat16" else x.newbyteorder("=")
    if isinstance(x, (np.ndarray, np.generic)):
        x = native(x)
        return x.astype(np.float32) if x.dtype.name == "bfloat16" else x
    return x
