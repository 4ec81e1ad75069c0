"""Features as functions on the sphere, still or rotated by a slider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from e3any import so3
from e3any.checks import check_integer, floating_backend, shown
from e3any.conventions import PARITIES
from e3any.layout import Layout
from e3any.plot._surfaces import DISTANCE, axes_of_space, check_resolution, function_on_sphere, label, scene, surface
from e3any.testing import to_numpy

__all__ = ["features", "rotated_features"]

Values = NDArray[np.float64]

_SLIDER = 130  # height in pixels


def features(x: Any, *, labels: Sequence[str] | None = None, resolution: int = 30) -> Any:
    r"""Draw features as functions on the sphere.

    .. math:: f(\hat r) = \sum_{lm} x_{lm} Y_l^m(\hat r) \qquad \text{surface: } |f(\hat r)| \, \hat r

    red where f is positive, blue where it is negative; all have the same scale. Rotated features give the rotated
    surface. Without pseudotensors, reflected features give the reflected surface.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features in Cartesian order. Leading axes and channels are drawn side by side, the two parities, if there are
        two, one above the other.
    labels : sequence of str, optional
        Text below the columns.
    resolution : int
        Number of points from pole to pole, at least 4.

    Returns
    -------
    plotly.graph_objects.Figure
        The surfaces in one scene, which you can rotate.

    Raises
    ------
    ValueError
        If the shape is not that of features, there are no features, there are more or fewer ``labels`` than columns, or
        ``resolution`` is not an integer >= 4.
    TypeError
        If ``x`` is not a floating-point array.

    Examples
    --------
    >>> x = np.zeros((1, 9, 1))
    >>> x[0, 0], x[0, 3] = 0.5, 1.0
    >>> figure = features(x)
    """
    columns = _columns(x, resolution)
    names = _labels(labels, columns)
    values = function_on_sphere(columns, resolution)
    traces = _surfaces(values, np.abs(values).max())
    return scene([*traces, *_decoration(columns, names)], _centers(columns))


def rotated_features(x: Any, *, axis: Sequence[float] = (0.0, 0.0, 1.0), num: int = 24, resolution: int = 20) -> Any:
    r"""Draw features that a slider rotates, by their Wigner-D matrices.

    .. math:: x \mapsto x D(R_\alpha), \qquad \alpha = 0, \dots, 2\pi

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features, see :func:`features`.
    axis : sequence of 3 floats
        The axis of rotation.
    num : int
        Number of steps of a full turn, at least 2.
    resolution : int
        Number of points from pole to pole, at least 4.

    Returns
    -------
    plotly.graph_objects.Figure
        The surfaces, with a slider.

    Raises
    ------
    ValueError
        If the shape is not that of features, there are no features, ``axis`` is not a vector, ``num`` is not an integer
        >= 2, or ``resolution`` is not an integer >= 4.
    TypeError
        If ``x`` is not a floating-point array.
    """
    columns = _columns(x, resolution)
    check_integer(num, "num", 2)
    angles = np.linspace(0, 2 * np.pi, num, endpoint=False)
    direction = np.asarray(axis, np.float64)
    if direction.shape != (3,) or not np.linalg.norm(direction) > 0:
        raise ValueError(f"expected axis to be a vector of three numbers, got {shown(axis)}")
    rotations = so3.rotation(np.broadcast_to(direction, (num, 3)), angles)
    matrices = so3.wigner_d(rotations, Layout.of(x).max_degree, cartesian_order=True)
    # Rotated by every angle. The first angle is zero: the initial figure.
    steps = [function_on_sphere(columns @ matrix, resolution) for matrix in matrices]
    scale = np.abs(steps[0]).max()
    decoration = _decoration(columns, _labels(None, columns))
    figure = scene([*_surfaces(steps[0], scale), *decoration], _centers(columns), below=_SLIDER)
    return _with_slider(figure, [_surfaces(values, scale) for values in steps], np.degrees(angles))


def _columns(x: Any, resolution: int) -> Values:
    """Check features and resolution; return features as (columns, parities, components)."""
    floating_backend(x=x)
    layout = Layout.of(x, "x")
    check_resolution(resolution)
    array = np.moveaxis(to_numpy(x).astype(np.float64), (-1,), (-3,))
    columns: Values = array.reshape(-1, *layout.shape[:2])
    if not len(columns):
        raise ValueError(f"expected at least one feature, got shape {tuple(x.shape)}")
    return columns


def _labels(labels: Sequence[str] | None, columns: Values) -> list[str]:
    names = [""] * len(columns) if labels is None else list(labels)
    if len(names) != len(columns):
        raise ValueError(f"expected {len(columns)} labels, one for each column, got {len(names)}")
    return names


def _surfaces(values: Values, scale: float) -> list[Any]:
    """Return the surfaces of values (columns, parities, ...)."""
    return [
        surface(values[i, p], _center(i, p), scale, f"column {i}, parity {_parity(p, values.shape[1])}")
        for i in range(values.shape[0])
        for p in range(values.shape[1])
    ]


def _decoration(columns: Values, labels: list[str]) -> list[Any]:
    """Return axes and labels."""
    num, parities = columns.shape[:2]
    below = [(*_center(i, parities - 1)[:2], _center(i, parities - 1)[2] - 1.3) for i in range(num)]
    left = [(_center(0, p)[0] - 1.3, 0.0, _center(0, p)[2]) for p in range(parities if parities == 2 else 0)]
    corner = (-0.95 * DISTANCE, 0.0, -0.9 - 1.25 * DISTANCE * (parities - 1))
    return [label([*labels, *PARITIES[: len(left)]], [*below, *left]), axes_of_space(corner, 0.5)]


def _centers(columns: Values) -> list[tuple[float, float, float]]:
    num, parities = columns.shape[:2]
    return [_center(i, p) for i in range(-1, num) for p in range(parities)]  # axes are left of the first column


def _center(column: int, parity: int) -> tuple[float, float, float]:
    return DISTANCE * column, 0.0, -1.25 * DISTANCE * parity


def _parity(p: int, parities: int) -> str:
    return PARITIES[p] if parities == 2 else "(-1)^l"


def _with_slider(figure: Any, frames: list[list[Any]], degrees: Values) -> Any:
    """Add a slider that shows one frame for every angle."""
    names = [f"{angle:.0f}°" for angle in degrees]
    which = list(range(len(frames[0])))
    figure.frames = [go.Frame(data=data, name=name, traces=which) for data, name in zip(frames, names, strict=True)]
    animation = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    steps = [{"method": "animate", "label": name, "args": [[name], animation]} for name in names]
    pad = {"t": 10, "b": 15, "l": 20, "r": 20}
    figure.update_layout(sliders=[{"steps": steps, "currentvalue": {"prefix": "rotated by "}, "pad": pad}])
    return figure
