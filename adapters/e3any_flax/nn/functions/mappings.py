"""Mappings of distances to (0, 1], see :mod:`e3any.nn.radial`."""

from __future__ import annotations

from typing import get_args

from e3any.nn.radial import ReciprocalMapping, exponential_mapping, reciprocal_mapping
from e3any_flax.boundary import accept_arrays
from e3any_flax.types import Array as Array

__all__ = ["ReciprocalMapping", "exponential_mapping", "reciprocal_mapping"]

accept_arrays(globals())

_valid_reciprocal_mappings = get_args(ReciprocalMapping)
