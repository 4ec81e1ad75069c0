"""Matrices whose blocks are coupled from irreps, see :mod:`e3any.matrix`."""

from __future__ import annotations

from e3any.matrix import *  # noqa: F403
from e3any.matrix import __all__ as __all__
from e3any_flax.boundary import accept_arrays

accept_arrays(globals())
