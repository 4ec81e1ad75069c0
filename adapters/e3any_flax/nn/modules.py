"""Layers as Linen modules, see :mod:`e3any.nn`."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import jax.numpy as jnp
import numpy as np

from e3any import nn as _core
from e3any.conventions import component_degrees
from e3any.nn.layers.convolution import GatheredConvolution
from e3any_flax import ops as ops
from e3any_flax import so3 as so3
from e3any_flax import util as util
from e3any_flax.config import Config as Config
from e3any_flax.linen import linen_class
from e3any_flax.nn import initializers as initializers
from e3any_flax.nn.features import _extract_max_degree_and_check_shape as _extract_max_degree_and_check_shape
from e3any_flax.nn.features import change_max_degree_or_type as change_max_degree_or_type
from e3any_flax.nn.initializers import FusedTensorInitializerFn as FusedTensorInitializerFn
from e3any_flax.nn.initializers import InitializerFn as InitializerFn
from e3any_flax.types import Array as Array
from e3any_flax.types import Dtype as Dtype
from e3any_flax.types import PrecisionLike as PrecisionLike
from e3any_flax.types import PRNGKey as PRNGKey
from e3any_flax.types import Shape as Shape

__all__ = [
    "BatchNorm",
    "BesselBasis",
    "Dense",
    "Dropout",
    "Embed",
    "FusedTensor",
    "Gate",
    "JointRMSNorm",
    "LayerNorm",
    "MessagePass",
    "MultiHeadAttention",
    "NormActivation",
    "PathMessagePass",
    "RMSNorm",
    "Residual",
    "SO2Dense",
    "ScaleShift",
    "SelfAttention",
    "SpeciesDense",
    "SphereActivation",
    "SymmetricContraction",
    "Tensor",
    "TensorDense",
]

_class: Any = partial(linen_class, module="e3any_flax.nn")

BatchNorm: Any = _class(_core.BatchNorm)
BesselBasis: Any = _class(_core.BesselBasis)
Dense: Any = _class(_core.Dense)
Dropout: Any = _class(_core.Dropout)
Embed: Any = _class(_core.Embed)
FusedTensor: Any = _class(_core.FusedTensor)
Gate: Any = _class(_core.Gate)
JointRMSNorm: Any = _class(_core.JointRMSNorm)
LayerNorm: Any = _class(_core.LayerNorm)
NormActivation: Any = _class(_core.NormActivation)
PathMessagePass: Any = _class(_core.PathMessagePass)
RMSNorm: Any = _class(_core.RMSNorm)
Residual: Any = _class(_core.Residual)
SO2Dense: Any = _class(_core.SO2Dense)
SpeciesDense: Any = _class(_core.SpeciesDense)
SphereActivation: Any = _class(_core.SphereActivation)
SymmetricContraction: Any = _class(_core.SymmetricContraction)
Tensor: Any = _class(_core.Tensor)
TensorDense: Any = _class(_core.TensorDense)

# The hierarchy of classes of e3x: programs derive classes from these, and use issubclass.
_Conv: Any = _class(GatheredConvolution, name="_Conv")
MessagePass: Any = _class(_core.MessagePass, base=_Conv)
MultiHeadAttention: Any = _class(_core.MultiHeadAttention, base=_Conv)
ScaleShift: Any = _class(_core.ScaleShift)
SelfAttention: Any = _class(_core.SelfAttention, base=MultiHeadAttention)

default_embed_init = Embed.embedding_init
default_kernel_init = Dense.kernel_init
default_tensor_kernel_init = Tensor.kernel_init
default_fused_tensor_kernel_init = FusedTensor.kernel_init


def _duplication_indices_for_max_degree(max_degree: int) -> Array:
    """Return the degree of every component, as indices that repeat values of degrees for their components."""
    return jnp.asarray(component_degrees(max_degree))


def _make_tensor_product_mask(shape: Shape, dtype: Dtype = jnp.float32) -> Array:
    """Return which couplings (P1, L1+1, P2, L2+1, P3, L3+1, 1) keep parity, those of impossible degrees included."""
    # A parity axis of length one holds proper tensors, whose parity is that of their degree.
    parities = [np.indices((p, n))[0 if p == 2 else 1] for p, n in zip(shape[::2], shape[1::2], strict=True)]
    return jnp.asarray(reduce(np.add.outer, parities)[..., None] % 2 == 0, dtype)


def _create_tensor(use_fused_tensor: bool, tensor_kernel_init: Any = None) -> Any:
    """Return the class of the tensor product of layers, with its name and initialiser."""
    name, product = ("fused_tensor", FusedTensor) if use_fused_tensor else ("tensor", Tensor)
    return partial(product, kernel_init=tensor_kernel_init or product.kernel_init, name=name)
