"""Switch functions, see :mod:`e3any.nn.cutoffs`."""

from __future__ import annotations

from e3any.nn.cutoffs import smooth_switch
from e3any_flax.boundary import accept_arrays
from e3any_flax.types import Array as Array

__all__ = ["smooth_switch"]

accept_arrays(globals())
