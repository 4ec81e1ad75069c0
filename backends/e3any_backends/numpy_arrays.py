"""Arrays of NumPy as they come: of other classes, in another byte order, of dtypes of other packages.

Subclasses of :class:`numpy.ndarray` compute something else than NumPy's functions do (masked arrays leave entries out,
matrices multiply by ``*``), and functions that convert arrays drop what they know. They are refused.

Arrays in the byte order of other machines, which HDF5 and FITS files hold, are right for NumPy and wrong for everything
that is handed their memory; of bfloat16, NumPy knows little. :func:`converting` wraps what computes with them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

__all__ = ["check_class", "converting", "is_usual", "native", "packed"]

Array: TypeAlias = Any

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


def native(x: Any) -> Any:
    """Return an array of NumPy in the byte order of the machine, and everything else as it is.

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
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def packed(x: Array) -> Array:
    """Return an array as kernels read it: in the byte order of the machine, contiguous and aligned."""
    if x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        return x
    return np.require(x, x.dtype.newbyteorder("="), ["C", "A"])


def converting(backend: Any) -> Any:
    """Return a backend of NumPy that takes unusual arrays, and returns results that are not.

    They are in the byte order of the machine, and float32 in place of bfloat16.
    """
    result = _Converting(backend)
    vars(result)["xp"] = _Converting(backend.xp)
    return result


class _Converting:
    """The functions of a module, or the methods of an object, called with usual arrays and dtypes."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value) or isinstance(value, type):
            return value
        return lambda *arguments, **options: value(
            *map(_usual, arguments), **{n: _usual(x) for n, x in options.items()}
        )


def _usual(x: Any) -> Any:
    """Return arrays, also those in lists and tuples, and dtypes as NumPy computes with them."""
    if type(x) in (list, tuple):
        return type(x)(map(_usual, x))
    if isinstance(x, np.dtype):
        return np.dtype(np.float32) if x.name == "bfloat16" else x.newbyteorder("=")
    if isinstance(x, (np.ndarray, np.generic)):
        x = native(x)
        return x.astype(np.float32) if x.dtype.name == "bfloat16" else x
    return x
