"""Activations of features, see :mod:`e3any.nn.activations`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from e3any.layout import Layout
from e3any.nn.activations import *  # noqa: F403
from e3any.nn.activations import __all__ as __all__
from e3any_flax.boundary import accept_arrays
from e3any_flax.e3x_errors import in_words_of_e3x
from e3any_flax.types import Array as Array

accept_arrays(globals(), signs=["relu"])


def _gated_linear(g: Callable[[Array], Array], x: Any) -> Any:
    """Multiply features by a function of their scalars of even parity."""
    with in_words_of_e3x():
        Layout.of(x, "x")
    return g(x[..., 0:1, 0:1, :]) * x
