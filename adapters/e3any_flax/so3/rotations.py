"""Rotations and their Wigner-D matrices, see :mod:`e3any.so3.rotations` and :mod:`e3any.so3.wigner`."""

from __future__ import annotations

from e3any.so3 import (
    alignment_rotation,
    euler_angles_from_rotation,
    random_rotation,
    rotation,
    rotation_euler,
    wigner_d,
    wigner_d_blocks,
    wigner_d_from_euler,
    wigner_d_from_quaternion,
)
from e3any.so3._matrices import check_rotations
from e3any_flax import ops as ops
from e3any_flax.boundary import accept_arrays
from e3any_flax.config import Config as Config
from e3any_flax.so3.irreps import clebsch_gordan as clebsch_gordan
from e3any_flax.types import Array as Array
from e3any_flax.types import PRNGKey as PRNGKey

__all__ = [
    "alignment_rotation",
    "euler_angles_from_rotation",
    "random_rotation",
    "rotation",
    "rotation_euler",
    "wigner_d",
    "wigner_d_blocks",
    "wigner_d_from_euler",
    "wigner_d_from_quaternion",
]

accept_arrays(globals())

_check_rotation_matrix_shape = check_rotations
