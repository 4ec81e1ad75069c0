"""Features of graphs from those of their nodes, see :mod:`e3any.nn.pooling`."""

from __future__ import annotations

from e3any.nn.pooling import pool
from e3any_flax.boundary import accept_arrays

__all__ = ["pool"]

accept_arrays(globals(), integers=["pool"])
