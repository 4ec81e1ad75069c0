"""Radial functions, see :mod:`e3any.nn.radial`."""

from __future__ import annotations

from e3any.nn.radial import basic_bernstein, exponential_bernstein, reciprocal_bernstein
from e3any_flax.boundary import accept_arrays
from e3any_flax.nn.functions import mappings as mappings
from e3any_flax.types import Array as Array

__all__ = ["basic_bernstein", "exponential_bernstein", "reciprocal_bernstein"]

accept_arrays(globals())

_bernstein = basic_bernstein
