"""Spherical harmonics as surfaces, in the order and with the signs and axes of any convention."""

from __future__ import annotations

from typing import Any

from e3any.conventions import component_degrees
from e3any.interop.convention import Convention, change_of_basis, convention_of
from e3any.plot._surfaces import DISTANCE, axes_of_space, check_resolution, function_on_sphere, label, scene, surface

__all__ = ["spherical_harmonics"]


def spherical_harmonics(max_degree: int, *, convention: Convention | str = "e3x", resolution: int = 30) -> Any:
    r"""Draw all spherical harmonics up to a degree, one row for each degree.

    .. math:: |Y_l^m(\hat r)| \, \hat r

    for all directions :math:`\hat r`: red where the harmonic is positive, blue where it is negative. Each harmonic is
    labelled with its position in an array of harmonics, so that pictures of two conventions show how they differ.

    Parameters
    ----------
    max_degree : int
        Largest degree L.
    convention : Convention or str
        A convention, or its name in :data:`e3any.interop.CONVENTIONS`; the default is that of e3any itself.
    resolution : int
        Number of points from pole to pole, at least 4.

    Returns
    -------
    plotly.graph_objects.Figure
        The surfaces in one scene, which you can rotate.

    Raises
    ------
    ValueError
        If ``max_degree`` is not an integer >= 0, the convention is unknown or not defined up to this degree, or
        ``resolution`` is not an integer >= 4.

    Examples
    --------
    >>> figure = spherical_harmonics(2)
    >>> figure.write_html("harmonics.html")  # doctest: +SKIP
    """
    check_resolution(resolution)
    # Row i has the coefficients of the harmonic at position i in terms of the harmonics of e3any.
    coefficients = change_of_basis(convention, max_degree)
    orders = convention_of(convention).orders
    values = function_on_sphere(coefficients, resolution)
    traces, centers = [], []
    for i, l in enumerate(component_degrees(max_degree)):
        center = _center(i, int(l))
        centers.append(center)
        traces.append(surface(values[i], center, 1.0, f"[{i}]: l={l}, m={list(orders(int(l)))[i - l * l]}"))
    below = [(x, y, z - 1.3) for x, y, z in centers]
    corner = (-DISTANCE * max(max_degree, 1.0), 0.0, 0.0)
    names = label([f"[{i}]" for i in range(len(centers))], below)
    return scene([*traces, names, axes_of_space(corner)], [*centers, corner])


def _center(i: int, l: int) -> tuple[float, float, float]:
    """Return the centre of a harmonic in the pyramid of all harmonics."""
    return DISTANCE * (i - l * l - l), 0.0, -1.3 * DISTANCE * l
