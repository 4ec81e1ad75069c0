"""The mathematics of rotations; tables are JAX arrays. Functions are in the same files as in e3x."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from e3any import so3 as _core
from e3any.so3 import CartesianTensor as CartesianTensor
from e3any.so3 import Irrep as Irrep
from e3any.so3 import Normalization as Normalization
from e3any_flax.so3 import _common as _common
from e3any_flax.so3 import _normalization as _normalization
from e3any_flax.so3.irreps import *
from e3any_flax.so3.quadrature import *
from e3any_flax.so3.quaternions import *
from e3any_flax.so3.rotations import *
from e3any_flax.so3.voigt import *

__all__ = list(_core.__all__)

_ON_DEMAND = {
    "_clebsch_gordan_lut",
    "_spherical_harmonics_lut",
    "_symbolic",
    "_tensor_conversion_lut",
    "_wigner_d_lut",
}


def __getattr__(name: str) -> Any:
    if name in _ON_DEMAND:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
