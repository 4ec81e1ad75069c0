"""Functions of one variable: radial functions, cut-offs, activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e3any.checks import check_callable, shown
from e3any.nn.radial import check_num
from e3any.plot._axes import figure_and_axes, name_of

__all__ = ["activations", "radial_functions", "scalar_functions"]

_POINTS = 401


def radial_functions(
    function: Callable[..., Any], num: int = 6, *, limits: Sequence[float] = (0.0, 1.0), axes: Any = None
) -> Any:
    r"""Draw radial functions :math:`g_k(r)`, one curve for each k.

    Parameters
    ----------
    function : callable
        ``function(x, num)`` returns an array of shape (..., num), for example :func:`e3any.nn.basic_bernstein`.
    num : int
        Number of functions K.
    limits : sequence of 2 floats
        The interval of distances.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, ``limits`` are not two increasing numbers, or the function returns another
        shape.
    TypeError
        If ``function`` is not a function.

    Examples
    --------
    >>> from e3any import nn
    >>> figure = radial_functions(nn.basic_bernstein, num=4)
    """
    check_callable(function, "function")
    check_num(num)
    x = _interval(limits)
    values = np.asarray(function(x, num))
    if values.shape != (len(x), num):
        raise ValueError(f"expected functions of shape {(len(x), num)}, got {values.shape}")
    figure, axes = figure_and_axes(axes)
    for k in range(num):
        axes.plot(x, values[:, k], label=f"k = {k}")
    axes.set(xlabel="distance", title=name_of(function))
    axes.legend(fontsize="small")
    return figure


def scalar_functions(*functions: Callable[..., Any], limits: Sequence[float] = (0.0, 1.0), axes: Any = None) -> Any:
    r"""Draw functions of one variable: cut-offs, dampings, switches, mappings.

    Parameters
    ----------
    *functions : callable
        Functions of an array that return an array of the same shape; curves have their names.
    limits : sequence of 2 floats
        The interval.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If there are no functions, ``limits`` are not two increasing numbers, or a function returns another shape.
    TypeError
        If one of ``functions`` is not a function.

    Examples
    --------
    >>> from e3any import nn
    >>> figure = scalar_functions(nn.smooth_cutoff, nn.cosine_cutoff)
    """
    x = _interval(limits)
    curves = [(name_of(f), _values(f, x)) for f in _checked(functions)]
    figure, axes = figure_and_axes(axes)
    for name, values in curves:
        axes.plot(x, values, label=name)
    axes.set(xlabel="x")
    axes.legend(fontsize="small")
    return figure


def activations(*functions: Callable[..., Any], limits: Sequence[float] = (-4.0, 4.0), axes: Any = None) -> Any:
    r"""Draw activations: their effect on scalars, and the gate that multiplies all other components.

    .. math:: \mathrm{act}(t) = t \, \mathrm{gate}(t)

    as full and dashed lines.

    Parameters
    ----------
    *functions : callable
        Activations of features, for example :func:`e3any.nn.silu`.
    limits : sequence of 2 floats
        The interval of scalars t.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If there are no functions, ``limits`` are not two increasing numbers, or a function returns another shape.
    TypeError
        If one of ``functions`` is not a function.

    Examples
    --------
    >>> from e3any import nn
    >>> figure = activations(nn.silu, nn.gelu)
    """
    x = _interval(limits)
    # A scalar and a unit vector, which is multiplied by the gate.
    inputs = np.zeros((len(x), 1, 4, 1))
    inputs[:, 0, 0, 0], inputs[:, 0, 1, 0] = x, 1.0
    curves = [(name_of(f), _values(f, inputs)) for f in _checked(functions)]
    figure, axes = figure_and_axes(axes)
    for name, values in curves:
        (line,) = axes.plot(x, values[:, 0, 0, 0], label=f"{name}: scalars")
        axes.plot(x, values[:, 0, 1, 0], "--", color=line.get_color(), label=f"{name}: gate of all other components")
    axes.set(xlabel="scalar t")
    axes.legend(fontsize="small")
    return figure


def _interval(limits: Sequence[float]) -> NDArray[np.float64]:
    if len(limits) != 2 or not limits[0] < limits[1]:
        raise ValueError(f"expected limits to be two increasing numbers, got {shown(limits)}")
    return np.linspace(limits[0], limits[1], _POINTS)


def _checked(functions: Sequence[Callable[..., Any]]) -> Sequence[Callable[..., Any]]:
    if not functions:
        raise ValueError("expected at least one function, got none")
    for function in functions:
        check_callable(function, "every one of functions")
    return functions


def _values(function: Callable[..., Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.asarray(function(x))
    if values.shape != x.shape:
        raise ValueError(f"expected values of shape {x.shape} from {name_of(function)}, got {values.shape}")
    return values
