"""See :mod:`e3any.matrix`."""

from __future__ import annotations

from e3any_flax.matrix.matmat import *
from e3any_flax.matrix.matmat import __all__ as __all__
