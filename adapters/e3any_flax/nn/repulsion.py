"""Repulsion of atoms, see :mod:`e3any.nn.repulsion`."""

from __future__ import annotations

from e3any.nn.repulsion import zbl_repulsion
from e3any_flax.boundary import accept_arrays

__all__ = ["zbl_repulsion"]

accept_arrays(globals(), integers=["zbl_repulsion"])
