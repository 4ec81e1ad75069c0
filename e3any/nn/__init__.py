"""Layers, activations, basis functions and features.

A layer is a frozen description, see :mod:`e3any.nn.layer`; the adapters make modules of Flax and PyTorch from it.
"""

from e3any.nn import initializers
from e3any.nn.activations import (
    bent_identity,
    celu,
    elu,
    gelu,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    mish,
    relu,
    relu6,
    selu,
    serf,
    shifted_softplus,
    silu,
    soft_sign,
    swish,
)
from e3any.nn.basis import FactoredBasis, basis
from e3any.nn.cutoffs import cosine_cutoff, smooth_cutoff, smooth_damping, smooth_switch
from e3any.nn.features import (
    add,
    change_max_degree_or_type,
    even_degree_mask,
    odd_degree_mask,
    reflect,
    rotate,
)
from e3any.nn.layer import Layer, Parameters, ParameterSpec
from e3any.nn.layers import (
    Dense,
    Embed,
    FusedTensor,
    MessagePass,
    MultiHeadAttention,
    SelfAttention,
    Tensor,
    TensorDense,
)
from e3any.nn.radial import (
    basic_bernstein,
    exponential_bernstein,
    exponential_mapping,
    reciprocal_bernstein,
    reciprocal_mapping,
)

__all__ = [
    "Dense",
    "Embed",
    "FactoredBasis",
    "FusedTensor",
    "Layer",
    "MessagePass",
    "MultiHeadAttention",
    "ParameterSpec",
    "Parameters",
    "SelfAttention",
    "Tensor",
    "TensorDense",
    "add",
    "basic_bernstein",
    "basis",
    "bent_identity",
    "celu",
    "change_max_degree_or_type",
    "cosine_cutoff",
    "elu",
    "even_degree_mask",
    "exponential_bernstein",
    "exponential_mapping",
    "gelu",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "initializers",
    "leaky_relu",
    "mish",
    "odd_degree_mask",
    "reciprocal_bernstein",
    "reciprocal_mapping",
    "reflect",
    "relu",
    "relu6",
    "rotate",
    "selu",
    "serf",
    "shifted_softplus",
    "silu",
    "smooth_cutoff",
    "smooth_damping",
    "smooth_switch",
    "soft_sign",
    "swish",
]
