"""Rotations and their irreducible representations."""

from __future__ import annotations

from e3any.so3.cartesian_tensors import irreps_to_tensor, is_traceless_symmetric, tensor_to_irreps
from e3any.so3.clebsch_gordan import clebsch_gordan, clebsch_gordan_for_degrees
from e3any.so3.quadrature import delley_quadrature, lebedev_quadrature
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
from e3any.so3.wigner import wigner_d

__all__ = [
    "CartesianTensor",
    "Irrep",
    "alignment_rotation",
    "clebsch_gordan",
    "clebsch_gordan_for_degrees",
    "delley_quadrature",
    "euler_angles_from_rotation",
    "irreps_to_tensor",
    "is_traceless_symmetric",
    "lebedev_quadrature",
    "random_rotation",
    "rotation",
    "rotation_euler",
    "solid_harmonics",
    "spherical_harmonics",
    "tensor_to_irreps",
    "tensor_to_voigt",
    "voigt_to_tensor",
    "wigner_d",
]
