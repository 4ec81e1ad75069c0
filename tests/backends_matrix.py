"""The array libraries that every backend-agnostic test runs on."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np


class Library(enum.Enum):
    """An array library, with how to make and read its arrays."""

    NUMPY = "numpy"
    STRICT = "array_api_strict"
    JAX = "jax"
    TORCH = "torch"

    @property
    def xp(self) -> Any:
        """The namespace."""
        if self is Library.JAX:
            import jax.numpy

            return jax.numpy
        return __import__(self.value)

    def array(self, x: Any, dtype: str | None = None) -> Any:
        """Make an array of the library from a NumPy array."""
        x = np.asarray(x) if dtype is None else np.asarray(x).astype(dtype)
        if self is Library.TORCH:
            import torch

            return torch.from_numpy(np.array(x))
        return self.xp.asarray(x)

    def numpy(self, x: Any) -> np.ndarray:
        """Read an array of the library as NumPy."""
        if self is Library.TORCH:
            return x.detach().cpu().numpy()
        if self is Library.STRICT:
            return np.from_dlpack(x)
        return np.asarray(x)

    def owns(self, x: Any) -> bool:
        """Return whether ``x`` is an array of this library."""
        return type(x).__module__.partition(".")[0] in ({"jax", "jaxlib"} if self is Library.JAX else {self.value})
