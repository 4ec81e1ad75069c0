"""An extension of Sphinx: a plot for every radial function, window, cut-off and activation in the reference."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from e3any import nn, plot

FOLDER = "generated/pictures"


def draw(name: str) -> Any:
    """Return the figure of a function of :mod:`e3any.nn`, or None if it is no function of one variable."""
    function = getattr(nn, name)
    module = getattr(function, "__module__", "")
    if inspect.isclass(function) or not callable(function):
        return None
    if module == "e3any.nn.activations":
        return plot.activations(function)
    if module == "e3any.nn.cutoffs" or module.startswith("e3any.nn.radial"):
        parameters = inspect.signature(function).parameters
        if "num" in parameters:
            return plot.radial_functions(function, limits=interval(parameters))
        return plot.scalar_functions(function, limits=interval(parameters))
    return None


def interval(parameters: Any) -> tuple[float, float]:
    """Return the interval to draw: a little more than the range of a function, or a part of the half line."""
    if "x0" in parameters:
        return -0.5, 1.5
    return (0.0, 1.2) if {"limit", "cutoff"} & set(parameters) else (0.0, 6.0)


def write(app: Any) -> None:
    """Write all pictures before pages are read."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in nn.__all__:
        figure = draw(name)
        if figure is not None:
            figure.savefig(folder / f"{name}.svg")


def insert(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put the picture of a function between its formula and its parameters."""
    module, _, short = name.rpartition(".")
    path = Path(app.srcdir) / FOLDER / f"{short}.svg"
    if what == "function" and module == "e3any.nn" and path.exists():
        fields = [i for i, line in enumerate(lines) if line.startswith(":")]
        position = fields[0] if fields else len(lines)
        lines[position:position] = ["", f".. image:: /{FOLDER}/{short}.svg", f"   :alt: plot of {short}", ""]


def setup(app: Any) -> dict[str, bool]:
    """Connect the events of Sphinx."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", insert, priority=900)  # after numpydoc
    return {"parallel_read_safe": True}
