"""Figures of matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt

__all__ = ["figure_and_axes", "name_of"]


def figure_and_axes(axes: Any, width: float = 6.0, height: float = 4.0) -> tuple[Any, Any]:
    """Return axes and their figure; new ones if there are none."""
    if axes is not None:
        return axes.get_figure(), axes
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)  # pyplot neither keeps it nor shows it a second time; notebooks show what is returned
    return figure, figure.add_subplot()


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, with the arguments that it was given already."""
    if isinstance(function, partial):
        given = [*map(str, function.args), *(f"{name}={value}" for name, value in function.keywords.items())]
        return f"{name_of(function.func)}({', '.join(given)})"
    return getattr(function, "__name__", type(function).__name__)
