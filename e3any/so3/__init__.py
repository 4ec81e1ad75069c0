"""Rotations and their irreducible representations."""

from __future__ import annotations

from e3any.config import Normalization
from e3any.so3.cartesian_tensors import irreps_to_tensor, is_traceless_symmetric, tensor_to_irreps
from e3any.so3.clebsch_gordan import clebsch_gordan, clebsch_gordan_for_degrees
from e3any.so3.quadrature import delley_quadrature, lebedev_quadrature
from e3any.so3.quaternions import (
    axis_angle_from_quaternion,
    axis_angle_from_rotation,
    compose_quaternions,
    euler_angles_from_quaternion,
    invert_quaternion,
    quaternion_from_axis_angle,
    quaternion_from_euler,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from e3any.so3.rotations import (
    alignment_rotation,
    euler_angles_from_rotation,
    random_rotation,
    rotation,
    rotation_euler,
)
from e3any.so3.spherical_harmonics import solid_harmonics, spherical_harmonics
from e3any.so3.tensor_symmetry import CartesianTensor, Irrep
from e3any.so3.voigt import tensor_to_voigt, voigt_to_tensor
from e3any.so3.wigner import wigner_d, wigner_d_blocks, wigner_d_from_euler, wigner_d_from_quaternion

__all__ = [
    "CartesianTensor",
    "Irrep",
    "Normalization",
    "alignment_rotation",
    "axis_angle_from_quaternion",
    "axis_angle_from_rotation",
    "clebsch_gordan",
    "clebsch_gordan_for_degrees",
    "compose_quaternions",
    "delley_quadrature",
    "euler_angles_from_quaternion",
    "euler_angles_from_rotation",
    "invert_quaternion",
    "irreps_to_tensor",
    "is_traceless_symmetric",
    "lebedev_quadrature",
    "quaternion_from_axis_angle",
    "quaternion_from_euler",
    "quaternion_from_rotation",
    "random_rotation",
    "rotation",
    "rotation_euler",
    "rotation_from_quaternion",
    "solid_harmonics",
    "spherical_harmonics",
    "tensor_to_irreps",
    "tensor_to_voigt",
    "voigt_to_tensor",
    "wigner_d",
    "wigner_d_blocks",
    "wigner_d_from_euler",
    "wigner_d_from_quaternion",
]
