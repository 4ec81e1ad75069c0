"""Irreps: harmonics, coefficients of couplings, Cartesian tensors; see :mod:`e3any.so3`."""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp

from e3any.so3 import (
    Normalization,
    clebsch_gordan,
    clebsch_gordan_for_degrees,
    irreps_to_tensor,
    is_traceless_symmetric,
    solid_harmonics,
    spherical_harmonics,
    tensor_to_irreps,
)
from e3any_flax import ops as ops
from e3any_flax.boundary import accept_arrays
from e3any_flax.config import Config as Config
from e3any_flax.so3._common import _cartesian_permutation as _cartesian_permutation
from e3any_flax.so3._common import _cartesian_permutation_for_degree as _cartesian_permutation_for_degree
from e3any_flax.so3._common import _check_degree_is_positive_or_zero
from e3any_flax.so3._normalization import check_normalization_is_valid as check_normalization_is_valid
from e3any_flax.so3._normalization import normalization_constant as normalization_constant
from e3any_flax.types import Array as Array

__all__ = [
    "Normalization",
    "clebsch_gordan",
    "clebsch_gordan_for_degrees",
    "irreps_to_tensor",
    "is_traceless_symmetric",
    "solid_harmonics",
    "spherical_harmonics",
    "tensor_to_irreps",
]

accept_arrays(globals())


def _check_tensor_shape(x: Any, degree: int) -> None:
    """Raise a ValueError unless the last axes of an array are those of a tensor."""
    is_traceless_symmetric(jnp.zeros(x.shape), degree)


def _tensor_compression_indices(degree: int) -> tuple[Array, ...]:
    """Return the indices of the independent entries of a symmetric tensor."""
    _check_degree_is_positive_or_zero(degree)
    return tuple(map(jnp.asarray, zip(*itertools.combinations_with_replacement(range(3), degree), strict=True)))


def _tensor_expansion_indices(degree: int) -> Array:
    """Return, for every entry of a symmetric tensor, its index among the independent entries."""
    _check_degree_is_positive_or_zero(degree)
    numbers = {entry: i for i, entry in enumerate(itertools.combinations_with_replacement(range(3), degree))}
    return jnp.asarray([numbers[tuple(sorted(entry))] for entry in itertools.product(range(3), repeat=degree)])
