"""Errors of equivariance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e3any.checks import shown
from e3any.plot._axes import figure_and_axes
from e3any.testing import TOLERANCES

__all__ = ["equivariance_errors"]


def equivariance_errors(
    errors: Mapping[str, Mapping[int, float]], *, xlabel: str = "largest degree", axes: Any = None
) -> Any:
    r"""Draw errors of equivariance by degree, one curve for every dtype, on a logarithmic scale.

    If a curve is named after a dtype of :data:`e3any.testing.TOLERANCES`, a dotted line shows the tolerance of tests.
    Errors are those of :func:`e3any.testing.equivariance_error`; errors of zero are left out.

    Parameters
    ----------
    errors : mapping of str to mapping of int to float
        For every dtype, or other name of a curve, errors by degree.
    xlabel : str
        Meaning of the integers.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If there are no errors, or one is negative.

    Examples
    --------
    >>> figure = equivariance_errors({"float32": {1: 1e-7, 2: 2e-7}})
    """
    if not errors or not all(errors.values()):
        raise ValueError(f"expected at least one error for each curve, got {shown(dict(errors))}")
    negative = [e for curve in errors.values() for e in curve.values() if not e >= 0]
    if negative:
        raise ValueError(f"expected errors >= 0, got {negative[0]}")
    figure, axes = figure_and_axes(axes)
    for name, curve in errors.items():
        positive = {degree: error for degree, error in sorted(curve.items()) if error > 0}
        (line,) = axes.semilogy(list(positive), list(positive.values()), "o-", label=name)
        if name in TOLERANCES:
            axes.axhline(TOLERANCES[name], color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xlabel=xlabel, ylabel="relative error of equivariance")
    axes.set_xticks(sorted({degree for curve in errors.values() for degree in curve}))
    axes.legend()
    return figure
