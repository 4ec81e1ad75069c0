"""Surfaces of plotly in one scene: the distance from a centre is the value of a function on the sphere."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from e3any import so3
from e3any.checks import check_integer

__all__ = ["DISTANCE", "axes_of_space", "check_resolution", "function_on_sphere", "label", "scene", "surface"]

Values = NDArray[np.float64]
Center = tuple[float, float, float]

#: Distance of the centres of neighbouring surfaces, whose radii are at most 1.
DISTANCE = 2.2

_WIDTH, _HEIGHT = 680.0, 640.0  # of pictures, in pixels
_MARGIN = np.asarray([1.2, 1.0, 1.65])  # around centres


def check_resolution(resolution: int) -> None:
    """Raise a ValueError unless the number of points from pole to pole is an integer >= 4."""
    check_integer(resolution, "resolution", 4)


@cache
def _directions(resolution: int) -> Values:
    """Return unit vectors (resolution, 2 * resolution - 1, 3), both poles and the seam included."""
    theta, phi = np.meshgrid(
        np.linspace(0, math.pi, resolution), np.linspace(0, 2 * math.pi, 2 * resolution - 1), indexing="ij"
    )
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


@cache
def _harmonics(resolution: int, max_degree: int) -> Values:
    y = so3.spherical_harmonics(_directions(resolution), max_degree, cartesian_order=True, normalization="racah")
    return np.asarray(y)


def function_on_sphere(coefficients: Values, resolution: int) -> Values:
    """Return the sum of harmonics with coefficients (..., (L+1)**2), of shape (..., resolution, 2 * resolution - 1)."""
    max_degree = math.isqrt(coefficients.shape[-1]) - 1
    return np.tensordot(coefficients, _harmonics(resolution, max_degree), axes=(-1, -1))


def surface(values: Values, center: Center, scale: float, text: str) -> Any:
    """Return the surface at the distances ``|values| / scale`` from its centre, coloured by the values."""
    scale = scale or 1.0
    points = np.abs(values[..., None] / scale) * _directions(len(values)) + center
    x, y, z = (points[..., i].astype(np.float32) for i in range(3))
    return go.Surface(
        x=x,
        y=y,
        z=z,
        surfacecolor=(values / scale).astype(np.float32),
        cmin=-1,
        cmax=1,
        colorscale="RdBu_r",
        showscale=False,
        hovertemplate=f"{text}<extra></extra>",
        lighting={"ambient": 0.7, "diffuse": 0.5, "specular": 0.1},
    )


def label(text: list[str], centers: list[Center]) -> Any:
    """Return texts at points."""
    x, y, z = zip(*centers, strict=True)
    return go.Scatter3d(
        x=x, y=y, z=z, text=text, mode="text", textposition="middle center", hoverinfo="skip", showlegend=False
    )


def axes_of_space(origin: Center, length: float = 0.8) -> Any:
    """Return the axes x, y and z as lines with names."""
    points, names = [], []
    for i, name in enumerate("xyz"):
        end = np.asarray(origin) + length * np.eye(3)[i]
        points += [origin, tuple(end), (None, None, None)]
        names += ["", name, ""]
    x, y, z = zip(*points, strict=True)
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        text=names,
        mode="lines+text",
        line={"color": "black", "width": 4},
        hoverinfo="skip",
        showlegend=False,
    )


def scene(traces: list[Any], centers: list[Center], below: int = 0) -> Any:
    """Return a figure of traces around centres, seen from the front: x to the right, z up; ``below`` adds pixels."""
    low, high = np.min(centers, axis=0) - _MARGIN, np.max(centers, axis=0) + _MARGIN
    sides, height = _sides_and_height(high - low)
    axes = {f"{n}axis": {"visible": False, "range": [a, b]} for n, a, b in zip("xyz", low, high, strict=True)}
    camera = {"eye": {"x": 0.1, "y": -1.0, "z": 0.25}, "projection": {"type": "orthographic"}}
    layout = go.Layout(
        scene={**axes, "aspectmode": "manual", "aspectratio": sides, "camera": camera},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        height=height + below,
    )
    return go.Figure(traces, layout)


def _sides_and_height(box: Values) -> tuple[dict[str, float], int]:
    """Return the sides of a box, scaled to fit a picture of at most _WIDTH and _HEIGHT, and its height in pixels."""
    pixels = min(_WIDTH / box[0], _HEIGHT / box[2], 90.0)
    height = max(pixels * box[2], 200.0)
    # From the direction of the camera, a side of 1 takes about half of the height.
    return dict(zip("xyz", (2.0 * pixels / height * box).tolist(), strict=True)), round(height)
