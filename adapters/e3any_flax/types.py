"""Types that the files of e3x define."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax

__all__ = ["Array", "Dtype", "PRNGKey", "PrecisionLike", "Shape"]

Array: TypeAlias = jax.Array
Dtype: TypeAlias = Any
PRNGKey: TypeAlias = jax.Array
PrecisionLike: TypeAlias = Any
Shape: TypeAlias = Sequence[int | Any]
