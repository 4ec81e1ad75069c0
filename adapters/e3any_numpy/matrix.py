"""See :mod:`e3any.matrix`."""

from __future__ import annotations

from e3any import matrix as _core
from e3any.matrix import *  # noqa: F403

__all__ = list(_core.__all__)
