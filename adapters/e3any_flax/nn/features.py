"""Functions of whole features, see :mod:`e3any.nn.features`."""

from __future__ import annotations

import jax

from e3any.layout import Layout
from e3any.nn.features import *  # noqa: F403
from e3any.nn.features import __all__ as __all__
from e3any_flax.boundary import accept_arrays
from e3any_flax.e3x_errors import in_words_of_e3x
from e3any_flax.types import Array as Array
from e3any_flax.types import Shape as Shape

accept_arrays(globals(), integers=["add", "change_max_degree_or_type"], signs=["reflect"])


def _extract_max_degree_and_check_shape(shape: Shape) -> int:
    """Return the largest degree of features of a shape; raise a ValueError for other shapes."""
    with in_words_of_e3x():
        return Layout.of(jax.ShapeDtypeStruct(tuple(shape), "float32"), "features").max_degree
