"""Figures of matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt

__all__ = ["figure_and_axes", "name_of"]


def figure_and_axes(axes: Any, width: float = 6.0, height: float = 4.0) -> tuple[Any, Any]:
    """Return axes and their figure, which are new if ``axes`` is None."""
    if axes is not None:
        return axes.get_figure(), axes
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)  # else pyplot keeps it, and notebooks show it twice: they already show a returned figure
    return figure, figure.add_subplot()


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, with the bound arguments of a partial."""
    if isinstance(function, partial):
        given = [*map(str, function.args), *(f"{name}={value}" for name, value in function.keywords.items())]
        return f"{name_of(function.func)}({', '.join(given)})"
    return getattr(function, "__name__", type(function).__name__)
