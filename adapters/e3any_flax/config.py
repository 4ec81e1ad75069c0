"""Defaults of options, see :class:`e3any.Config`."""

from e3any.config import Config as Config
from e3any.config import Normalization as Normalization

__all__ = ["Config", "Normalization"]
