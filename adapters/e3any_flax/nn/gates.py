"""Activations by gates, see :mod:`e3any.nn.gates`."""

from __future__ import annotations

from e3any.nn.gates import gate, norm_activation
from e3any_flax.boundary import accept_arrays

__all__ = ["gate", "norm_activation"]

accept_arrays(globals())
