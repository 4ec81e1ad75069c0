"""bfloat16 in NumPy arrays, although NumPy has no such dtype.

If the package ``ml_dtypes`` (https://github.com/jax-ml/ml_dtypes) is installed, as it is with JAX, arrays have its
dtype ``bfloat16``. Otherwise they are float32 with the same values, and the metadata of their dtype mark them, so that
they become bfloat16 again in files and in other libraries. The mark does not change what NumPy computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from e3any_backends.arrays import dtype_name
from numpy.typing import NDArray

__all__ = ["bfloat16_bits", "from_bfloat16_bits"]

_MARK = {"e3any": "bfloat16"}


def from_bfloat16_bits(bits: NDArray[np.uint16]) -> NDArray[Any]:
    """Return the bfloat16 array with the given bits."""
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        return np.asarray(bits.astype(np.uint32) << 16).view(np.dtype(np.float32, metadata=_MARK))
    return bits.view(bfloat16)


def bfloat16_bits(x: NDArray[Any]) -> NDArray[np.uint16] | None:
    """Return the bits of a bfloat16 array; None for other dtypes, or if a number of a marked array is no bfloat16."""
    if dtype_name(x.dtype) == "bfloat16":
        return x.view(np.uint16)
    if x.dtype != np.float32 or dict(x.dtype.metadata or {}) != _MARK:
        return None
    bits = x.astype(np.float32).view(np.uint32)
    # Arrays that NumPy computes from marked arrays can keep the mark.
    return None if (bits & 0xFFFF).any() else np.asarray(bits >> 16, np.uint16)
