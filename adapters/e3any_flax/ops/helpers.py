"""Derivatives and the inverse softplus, see :mod:`e3any.ops`."""

from __future__ import annotations

from e3any.ops import evaluate_derivatives, inverse_softplus
from e3any_flax.boundary import accept_arrays
from e3any_flax.types import Array as Array

__all__ = ["evaluate_derivatives", "inverse_softplus"]

accept_arrays(globals())
