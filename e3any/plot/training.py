"""Curves of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from e3any.checks import check_integer, shown
from e3any.plot._axes import figure_and_axes

__all__ = ["learning_curves"]


def learning_curves(
    losses: Mapping[str, Sequence[float]], *, window: int = 1, ylabel: str = "loss", axes: Any = None
) -> Any:
    r"""Draw losses of every step, or running means of them, on a logarithmic scale.

    .. math:: \bar L_t = \frac{1}{w} \sum_{s=t-w+1}^{t} L_s

    Parameters
    ----------
    losses : mapping of str to sequence of floats
        The losses of the steps of each run, by name of the run.
    window : int
        Number w of steps in each mean; a shorter run has one mean, over all of its steps.
    ylabel : str
        Label of the vertical axis, with the unit.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If there is no run, a run has no steps, or ``window`` is not an integer >= 1.

    Examples
    --------
    >>> figure = learning_curves({"run": [1.0, 0.5, 0.25]}, window=2)
    """
    check_integer(window, "window", 1)
    if not losses or not all(len(values) for values in losses.values()):
        raise ValueError(f"expected losses of at least one step, got {shown(dict(losses))}")
    figure, axes = figure_and_axes(axes)
    for name, values in losses.items():
        width = min(window, len(values))
        means = np.convolve(values, np.full(width, 1.0 / width), mode="valid")
        axes.semilogy(np.arange(width, len(values) + 1), means, label=name)
    axes.set(xlabel="step", ylabel=ylabel)
    axes.legend()
    return figure
