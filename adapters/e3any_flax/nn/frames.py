"""Frames of edges, see :mod:`e3any.nn.frames`."""

from __future__ import annotations

from e3any.nn.frames import edge_frame, from_frame, to_frame
from e3any_flax.boundary import accept_arrays

__all__ = ["edge_frame", "from_frame", "to_frame"]

accept_arrays(globals())
