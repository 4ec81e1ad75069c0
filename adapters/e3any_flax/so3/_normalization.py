"""Normalisations of spherical harmonics."""

from __future__ import annotations

from typing import Any, get_args

from e3any.config import Normalization, check_normalization
from e3any.conventions import normalization_factor
from e3any_flax.e3x_errors import in_words_of_e3x

valid_normalizations = tuple(sorted(get_args(Normalization)))


def check_normalization_is_valid(normalization: Any) -> None:
    """Raise a ValueError unless ``normalization`` is the name of one."""
    with in_words_of_e3x():
        check_normalization(normalization)


def normalization_constant(normalization: Normalization, degree: int) -> float:
    """Return the factor between harmonics of a degree in Racah's normalisation and in another one."""
    check_normalization_is_valid(normalization)
    return normalization_factor(normalization, degree)
