"""Degrees and irreps of components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["component_degrees", "component_irreps"]


def component_degrees(max_degree: int) -> NDArray[np.intp]:
    """Return the degree of each of (L+1)**2 components: 0, 1, 1, 1, 2, ..."""
    degrees = np.arange(max_degree + 1)
    return np.repeat(degrees, 2 * degrees + 1)


def component_irreps(max_degree: int, num_parities: int) -> NDArray[np.intp]:
    """Return the number of the irrep that each component of a feature belongs to, parity by parity."""
    degrees = component_degrees(max_degree)
    return np.concatenate([p * (max_degree + 1) + degrees for p in range(num_parities)])
