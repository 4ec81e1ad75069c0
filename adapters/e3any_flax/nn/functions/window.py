"""Window functions, see :mod:`e3any.nn.radial`."""

from __future__ import annotations

from e3any.nn.radial import rectangular_window, smooth_window, triangular_window
from e3any_flax.boundary import accept_arrays
from e3any_flax.nn.functions.switch import smooth_switch as smooth_switch
from e3any_flax.types import Array as Array

__all__ = ["rectangular_window", "smooth_window", "triangular_window"]

accept_arrays(globals())
