"""Normalisations of spherical harmonics."""

from __future__ import annotations

from typing import get_args

from e3any.config import Normalization
from e3any.conventions import normalization_factor
from e3any_flax.config import check_normalization_is_valid as check_normalization_is_valid

valid_normalizations = tuple(sorted(get_args(Normalization)))


def normalization_constant(normalization: Normalization, degree: int) -> float:
    """Return the factor that takes harmonics of a degree from Racah's normalisation to another one."""
    check_normalization_is_valid(normalization)
    return normalization_factor(normalization, degree)
