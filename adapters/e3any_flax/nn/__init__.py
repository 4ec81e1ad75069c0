"""Layers as Linen modules; activations, basis functions and features. Functions are in the same files as in e3x."""

from __future__ import annotations

from e3any import nn as _core
from e3any.nn import Layer as Layer
from e3any.nn import Parameters as Parameters
from e3any.nn import ParameterSpec as ParameterSpec
from e3any.nn import Variables as Variables
from e3any_flax.nn import initializers as initializers
from e3any_flax.nn.activations import *
from e3any_flax.nn.features import *
from e3any_flax.nn.frames import *
from e3any_flax.nn.functions import *
from e3any_flax.nn.gates import *
from e3any_flax.nn.modules import *
from e3any_flax.nn.modules import _Conv as _Conv
from e3any_flax.nn.pooling import *
from e3any_flax.nn.repulsion import *
from e3any_flax.nn.wrappers import *

__all__ = list(_core.__all__)
