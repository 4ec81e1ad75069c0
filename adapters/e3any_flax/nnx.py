"""Layers as NNX modules, constructed from layouts of inputs; functions as in :mod:`e3any_flax.nn`.

::

    from e3any_flax import Layout, nnx as e3n

    layer = e3n.TensorDense(Layout(max_degree=2, features=32), features=64, rngs=flax.nnx.Rngs(0))
    y = layer(x)
"""

from __future__ import annotations

from typing import Any

from e3any import nn as _core
from e3any_flax.nn import *  # noqa: F403
from e3any_flax.nnx_module import LayerModule, nnx_class, to_nnx

__all__ = [*_core.__all__, "LayerModule", "nnx_class", "to_nnx"]

BatchNorm: Any = nnx_class(_core.BatchNorm, __name__)
BesselBasis: Any = nnx_class(_core.BesselBasis, __name__)
Dense: Any = nnx_class(_core.Dense, __name__)
Dropout: Any = nnx_class(_core.Dropout, __name__)
Embed: Any = nnx_class(_core.Embed, __name__)
ExponentialBasis: Any = nnx_class(_core.ExponentialBasis, __name__)
FusedTensor: Any = nnx_class(_core.FusedTensor, __name__)
Gate: Any = nnx_class(_core.Gate, __name__)
JointRMSNorm: Any = nnx_class(_core.JointRMSNorm, __name__)
LayerNorm: Any = nnx_class(_core.LayerNorm, __name__)
MessagePass: Any = nnx_class(_core.MessagePass, __name__)
MultiHeadAttention: Any = nnx_class(_core.MultiHeadAttention, __name__)
NormActivation: Any = nnx_class(_core.NormActivation, __name__)
PathMessagePass: Any = nnx_class(_core.PathMessagePass, __name__)
RMSNorm: Any = nnx_class(_core.RMSNorm, __name__)
Residual: Any = nnx_class(_core.Residual, __name__)
SO2Dense: Any = nnx_class(_core.SO2Dense, __name__)
ScaleShift: Any = nnx_class(_core.ScaleShift, __name__)
SelfAttention: Any = nnx_class(_core.SelfAttention, __name__)
SpeciesDense: Any = nnx_class(_core.SpeciesDense, __name__)
SphereActivation: Any = nnx_class(_core.SphereActivation, __name__)
SymmetricContraction: Any = nnx_class(_core.SymmetricContraction, __name__)
Tensor: Any = nnx_class(_core.Tensor, __name__)
TensorDense: Any = nnx_class(_core.TensorDense, __name__)
