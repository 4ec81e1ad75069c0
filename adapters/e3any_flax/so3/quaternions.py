"""Quaternions, see :mod:`e3any.so3.quaternions`."""

from __future__ import annotations

from e3any.so3.quaternions import *  # noqa: F403
from e3any.so3.quaternions import __all__ as __all__
from e3any_flax.boundary import accept_arrays

accept_arrays(globals())
