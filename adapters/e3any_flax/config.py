"""Defaults of options, see :class:`e3any.Config`."""

from e3any.config import Config as Config
from e3any.config import Normalization as Normalization
from e3any_flax.so3._normalization import check_normalization_is_valid as check_normalization_is_valid

__all__ = ["Config", "Normalization"]
