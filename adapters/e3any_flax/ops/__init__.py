"""Operations on index lists and safe norms. Functions are in the same files as in e3x."""

from __future__ import annotations

from e3any import ops as _core
from e3any_flax.ops.helpers import *
from e3any_flax.ops.indexed import *
from e3any_flax.ops.padding import *
from e3any_flax.ops.safe import *

__all__ = list(_core.__all__)
