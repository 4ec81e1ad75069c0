"""Layers as Linen modules; activations, basis functions and features."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from e3any import nn as _core
from e3any.nn import *  # noqa: F403
from e3any.public_names import adopt
from e3any_flax.linen import linen_class

__all__ = list(_core.__all__)

BatchNorm: Any = linen_class(_core.BatchNorm, __name__)
Dense: Any = linen_class(_core.Dense, __name__)
Dropout: Any = linen_class(_core.Dropout, __name__)
Embed: Any = linen_class(_core.Embed, __name__)
ExponentialBasis: Any = linen_class(_core.ExponentialBasis, __name__)
FusedTensor: Any = linen_class(_core.FusedTensor, __name__)
Gate: Any = linen_class(_core.Gate, __name__)
LayerNorm: Any = linen_class(_core.LayerNorm, __name__)
MessagePass: Any = linen_class(_core.MessagePass, __name__)
MultiHeadAttention: Any = linen_class(_core.MultiHeadAttention, __name__)
NormActivation: Any = linen_class(_core.NormActivation, __name__)
PathMessagePass: Any = linen_class(_core.PathMessagePass, __name__)
RMSNorm: Any = linen_class(_core.RMSNorm, __name__)
Residual: Any = linen_class(_core.Residual, __name__)
SelfAttention: Any = linen_class(_core.SelfAttention, __name__)
SymmetricContraction: Any = linen_class(_core.SymmetricContraction, __name__)
Tensor: Any = linen_class(_core.Tensor, __name__)
TensorDense: Any = linen_class(_core.TensorDense, __name__)


def _accept_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of an array ``x`` take a Python number, as functions of jax.numpy do."""

    @functools.wraps(function)
    def wrapped(x: Any, *arguments: Any, **options: Any) -> Any:
        return function(jnp.asarray(float(x)) if isinstance(x, int | float) else x, *arguments, **options)

    return wrapped


for _name in __all__:
    _value = getattr(_core, _name)
    if inspect.isfunction(_value) and next(iter(inspect.signature(_value).parameters), None) == "x":
        globals()[_name] = _accept_numbers(_value)


def even_degree_mask(max_degree: int) -> Any:
    """Return which components have an even degree, see :func:`e3any.nn.even_degree_mask`."""
    return _core.even_degree_mask(max_degree, xp=jnp)


def odd_degree_mask(max_degree: int) -> Any:
    """Return which components have an odd degree, see :func:`e3any.nn.odd_degree_mask`."""
    return _core.odd_degree_mask(max_degree, xp=jnp)


adopt(__name__)
