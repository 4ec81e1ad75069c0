"""Defaults of options, see :class:`e3any.Config`, and the settings of caches that programs for e3x use."""

from __future__ import annotations

from typing import Any

from e3any.config import Config as _CoreConfig
from e3any.config import Normalization as Normalization
from e3any.config import check_normalization
from e3any_flax.e3x_errors import in_words_of_e3x

__all__ = ["Config", "Normalization"]


class Config(_CoreConfig):
    """Defaults of options, shared with :class:`e3any.Config`.

    It also stores the paths of caches that programs for e3x set. Nothing reads them, because tables are computed from
    formulas.
    """

    spherical_harmonics_cache: Any = None
    clebsch_gordan_cache: Any = None
    wigner_d_cache: Any = None
    tensor_conversion_cache: Any = None

    @staticmethod
    def set_spherical_harmonics_cache(path: Any = None) -> None:
        """Store a path, which has no effect."""
        Config.spherical_harmonics_cache = path

    @staticmethod
    def set_clebsch_gordan_cache(path: Any = None) -> None:
        """Store a path, which has no effect."""
        Config.clebsch_gordan_cache = path

    @staticmethod
    def set_wigner_d_cache(path: Any = None) -> None:
        """Store a path, which has no effect."""
        Config.wigner_d_cache = path

    @staticmethod
    def set_tensor_conversion_cache(path: Any = None) -> None:
        """Store a path, which has no effect."""
        Config.tensor_conversion_cache = path


def check_normalization_is_valid(normalization: Any) -> None:
    """Raise a ValueError unless ``normalization`` names a normalisation."""
    with in_words_of_e3x():
        check_normalization(normalization)
