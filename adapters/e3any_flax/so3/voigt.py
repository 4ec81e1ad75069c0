"""Notations of Voigt and Mandel, see :mod:`e3any.so3.voigt`."""

from __future__ import annotations

from e3any.so3.voigt import *  # noqa: F403
from e3any.so3.voigt import __all__ as __all__
from e3any_flax.boundary import accept_arrays

accept_arrays(globals())
