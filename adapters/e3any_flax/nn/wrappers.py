"""Basis functions, see :func:`e3any.nn.basis` and :class:`e3any.nn.ExponentialBasis`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from e3any import nn as _core
from e3any.nn.basis import FactoredBasis, basis
from e3any_flax import config as config
from e3any_flax import ops as ops
from e3any_flax import so3 as so3
from e3any_flax.boundary import accept_arrays
from e3any_flax.linen import linen_class
from e3any_flax.types import Array as Array
from e3any_flax.types import Dtype as Dtype

__all__ = ["AngularFn", "ExponentialBasis", "FactoredBasis", "basis"]

AngularFn: TypeAlias = Callable[..., Array]

ExponentialBasis: Any = linen_class(_core.ExponentialBasis, "e3any_flax.nn")

accept_arrays(globals())
