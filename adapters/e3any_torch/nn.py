"""Layers as PyTorch modules; activations, basis functions and features."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as _xp

from e3any import nn as _core
from e3any.nn import *  # noqa: F403
from e3any_torch.module import module_class

__all__ = list(_core.__all__)

BatchNorm: Any = module_class(_core.BatchNorm, __name__)
BesselBasis: Any = module_class(_core.BesselBasis, __name__)
Dense: Any = module_class(_core.Dense, __name__)
Dropout: Any = module_class(_core.Dropout, __name__)
Embed: Any = module_class(_core.Embed, __name__)
ExponentialBasis: Any = module_class(_core.ExponentialBasis, __name__)
FusedTensor: Any = module_class(_core.FusedTensor, __name__)
Gate: Any = module_class(_core.Gate, __name__)
JointRMSNorm: Any = module_class(_core.JointRMSNorm, __name__)
LayerNorm: Any = module_class(_core.LayerNorm, __name__)
MessagePass: Any = module_class(_core.MessagePass, __name__)
MultiHeadAttention: Any = module_class(_core.MultiHeadAttention, __name__)
NormActivation: Any = module_class(_core.NormActivation, __name__)
PathMessagePass: Any = module_class(_core.PathMessagePass, __name__)
RMSNorm: Any = module_class(_core.RMSNorm, __name__)
Residual: Any = module_class(_core.Residual, __name__)
SO2Dense: Any = module_class(_core.SO2Dense, __name__)
ScaleShift: Any = module_class(_core.ScaleShift, __name__)
SelfAttention: Any = module_class(_core.SelfAttention, __name__)
SpeciesDense: Any = module_class(_core.SpeciesDense, __name__)
SphereActivation: Any = module_class(_core.SphereActivation, __name__)
SymmetricContraction: Any = module_class(_core.SymmetricContraction, __name__)
Tensor: Any = module_class(_core.Tensor, __name__)
TensorDense: Any = module_class(_core.TensorDense, __name__)


def even_degree_mask(max_degree: int) -> Any:
    """Return which components have an even degree, see :func:`e3any.nn.even_degree_mask`."""
    return _core.even_degree_mask(max_degree, xp=_xp)


def odd_degree_mask(max_degree: int) -> Any:
    """Return which components have an odd degree, see :func:`e3any.nn.odd_degree_mask`."""
    return _core.odd_degree_mask(max_degree, xp=_xp)
