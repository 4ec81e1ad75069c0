"""Norms with finite derivatives, see :mod:`e3any.ops`."""

from __future__ import annotations

from e3any.ops import norm, normalize, normalize_and_return_norm
from e3any_flax.boundary import accept_arrays
from e3any_flax.types import Array as Array

__all__ = ["norm", "normalize", "normalize_and_return_norm"]

accept_arrays(globals())
