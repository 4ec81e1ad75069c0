"""Layers, one file each."""

from e3any.nn.layers.attention import MultiHeadAttention, SelfAttention
from e3any.nn.layers.batch_norm import BatchNorm
from e3any.nn.layers.bessel_basis import BesselBasis
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.dropout import Dropout
from e3any.nn.layers.embed import Embed
from e3any.nn.layers.exponential_basis import ExponentialBasis
from e3any.nn.layers.fused_tensor import FusedTensor
from e3any.nn.layers.gate import Gate
from e3any.nn.layers.joint_norm import JointRMSNorm
from e3any.nn.layers.message_pass import MessagePass
from e3any.nn.layers.norm_activation import NormActivation
from e3any.nn.layers.norms import LayerNorm, RMSNorm
from e3any.nn.layers.path_message_pass import PathMessagePass
from e3any.nn.layers.residual import Residual
from e3any.nn.layers.scale_shift import ScaleShift
from e3any.nn.layers.so2_dense import SO2Dense
from e3any.nn.layers.species_dense import SpeciesDense
from e3any.nn.layers.sphere_activation import SphereActivation
from e3any.nn.layers.symmetric_contraction import SymmetricContraction
from e3any.nn.layers.tensor import Tensor
from e3any.nn.layers.tensor_dense import TensorDense

__all__ = [
    "BatchNorm",
    "BesselBasis",
    "Dense",
    "Dropout",
    "Embed",
    "ExponentialBasis",
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
