"""The layout of features: parity, components of irreps, channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from e3any.checks import as_size, check_count, check_degree, check_flag, shown

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """The layout of features, arrays of shape ``(..., 1 or 2, (max_degree + 1)**2, features)``.

    Parameters
    ----------
    max_degree : int
        Largest degree L.
    features : int
        Number of channels F.
    pseudotensors : bool
        Whether both parities are present (a parity axis of length 2).

    Raises
    ------
    ValueError
        If ``max_degree`` or ``features`` is not an integer >= 0, or ``pseudotensors`` is neither True nor False.

    Examples
    --------
    >>> Layout(max_degree=2, features=32).shape
    (1, 9, 32)
    """

    max_degree: int
    features: int
    pseudotensors: bool = False

    def __post_init__(self) -> None:
        if type(self.max_degree) is type(self.features) is int and type(self.pseudotensors) is bool:  # noqa: SIM102
            if self.max_degree >= 0 and self.features >= 0:
                return
        check_degree(self.max_degree)
        check_count(self.features, "features")
        check_flag(self.pseudotensors, "pseudotensors")

    @property
    def num_parities(self) -> int:
        """Length of the parity axis."""
        return 2 if self.pseudotensors else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the three trailing axes."""
        return self.num_parities, (self.max_degree + 1) ** 2, self.features

    def example(self, *lead: int) -> Any:
        """Return a NumPy array of zeros of this layout, with the given leading axes."""
        return np.zeros((*lead, *self.shape), dtype=np.float32)

    @classmethod
    def of(cls, x: Any, name: str = "inputs") -> Layout:
        """Read the layout off an array.

        Parameters
        ----------
        x : array of shape (..., 1 or 2, (L+1)**2, F)
            Features.
        name : str
            Name of the array in error messages.

        Returns
        -------
        Layout
            The layout.

        Raises
        ------
        ValueError
            If the shape is not that of features.
        TypeError
            If ``x`` is not an array.
        """
        if not hasattr(x, "shape"):
            raise TypeError(f"expected {name} to be an array, got {shown(x)}")
        if len(x.shape) < 3:
            raise ValueError(f"{_expected(name)}, got {tuple(x.shape)}")
        parities, components, features = x.shape[-3:]
        if not type(parities) is type(components) is type(features) is int:
            parities, components, features = (as_size(size, "sizes of axes") for size in x.shape[-3:])
        if parities not in (1, 2):
            raise ValueError(f"{_expected(name)}, got a parity axis of length {parities} in {tuple(x.shape)}")
        degree = math.isqrt(components) - 1
        if degree < 0 or (degree + 1) ** 2 != components:
            raise ValueError(f"{_expected(name)}, got {components} components, which is no square, in {tuple(x.shape)}")
        return cls(degree, features, parities == 2)


def _expected(name: str) -> str:
    return f"expected {name} of shape (..., 1 or 2, (max_degree+1)**2, features)"
