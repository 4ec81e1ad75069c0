"""Couplings of two features, one pair of degrees at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from e3any import so3
from e3any.checks import floating_backend
from e3any.conventions import degree_slice
from e3any.layout import Layout
from e3any.plot._surfaces import DISTANCE, axes_of_space, check_resolution, function_on_sphere, label, scene, surface
from e3any.testing import to_numpy

__all__ = ["couplings"]

Values = NDArray[np.float64]
Center = tuple[float, float, float]

_MENU = 50  # height in pixels


def couplings(x: Any, y: Any, *, resolution: int = 24) -> Any:
    r"""Draw the products of two features, for the pair of degrees that a menu selects.

    .. math:: z^{(l_3)}_{m_3} = \sum_{m_1 m_2} C^{l_3 m_3}_{l_1 m_1 l_2 m_2} \, x^{(l_1)}_{m_1} \, y^{(l_2)}_{m_2},
        \qquad |l_1 - l_2| \le l_3 \le l_1 + l_2

    The two factors are above, scaled to equal size; below are their products of all degrees, at one scale. A product is
    a pseudotensor if :math:`l_1 + l_2 + l_3` is odd.

    Parameters
    ----------
    x, y : array of shape (1, (L+1)**2, 1)
        One proper tensor each, in Cartesian order; the degrees L can differ.
    resolution : int
        Number of points from pole to pole, at least 4.

    Returns
    -------
    plotly.graph_objects.Figure
        The surfaces, with a menu of the pairs of degrees.

    Raises
    ------
    ValueError
        If an array has another shape, or ``resolution`` is not an integer >= 4.
    TypeError
        If ``x`` or ``y`` is not a floating-point array.

    Examples
    --------
    >>> from e3any import so3
    >>> a, b = (so3.spherical_harmonics(np.eye(3)[i], 2)[None, :, None] for i in (0, 2))
    >>> figure = couplings(a, b)
    """
    floating_backend(x=x, y=y)
    check_resolution(resolution)
    _check_shape(x, "x")
    _check_shape(y, "y")
    first, second = _components(x), _components(y)
    pairs = [(a, b) for a in range(len(first)) for b in range(len(second))]
    start = pairs.index((min(1, len(first) - 1), min(1, len(second) - 1)))
    groups = [_traces(first[a], second[b], resolution) for a, b in pairs]
    columns = max(3, 2 * min(len(first), len(second)) - 1)
    corner = (_across(0, columns), 0.0, 0.0)
    traces = [axes_of_space(corner, 0.5), *(trace for group in groups for trace in group)]
    figure = scene(traces, [corner, *(_lower(i, columns) for i in range(columns))], below=_MENU)
    names = [f"{a} ⊗ {b} → {', '.join(map(str, _degrees(a, b)))}" for a, b in pairs]
    _add_menu(figure, names, [len(group) for group in groups], start)
    return figure


def _check_shape(x: Any, name: str) -> None:
    """Raise a ValueError unless an array is one proper tensor."""
    if tuple(x.shape) != (1, Layout.of(x, name).shape[1], 1):
        raise ValueError(f"expected {name} of shape (1, (L+1)**2, 1), got {tuple(x.shape)}")


def _components(x: Any) -> list[Values]:
    """Return the components of every degree."""
    values = to_numpy(x).astype(np.float64)[0, :, 0]
    return [values[degree_slice(l)] for l in range(Layout.of(x).max_degree + 1)]


def _products(x: Values, y: Values) -> dict[int, Values]:
    """Return the products of all degrees of components of two degrees."""
    a, b = len(x) // 2, len(y) // 2
    tables = {l: so3.clebsch_gordan_for_degrees(a, b, l, cartesian_order=True) for l in _degrees(a, b)}
    return {l: np.einsum("i,j,ijk->k", x, y, table) for l, table in tables.items()}


def _traces(x: Values, y: Values, resolution: int) -> list[Any]:
    """Return the surfaces of two factors and their products, and the text below them."""
    a, b = len(x) // 2, len(y) // 2
    products = {l: _on_sphere(values, resolution) for l, values in _products(x, y).items()}
    scale = max(np.abs(values).max() for values in products.values())
    traces, centers = [], [(-DISTANCE, 0.0, 0.0), (DISTANCE, 0.0, 0.0)]
    texts = [f"x, l = {a}", f"y, l = {b}"]
    for values, center, text in zip((x, y), centers, texts, strict=True):
        factor = _on_sphere(values, resolution)
        traces.append(surface(factor, center, np.abs(factor).max(), text))
    for i, (l, values) in enumerate(products.items()):
        centers.append(_lower(i, len(products)))
        texts.append(f"l = {l}" + ", pseudo" * ((a + b + l) % 2))
        traces.append(surface(values, centers[-1], scale, texts[-1]))
    below = [(u, v, w - 1.3) for u, v, w in centers]
    return [*traces, label([*texts, "⊗"], [*below, (0.0, 0.0, 0.0)])]


def _on_sphere(values: Values, resolution: int) -> Values:
    """Return the values on the sphere of the function that has given components of one degree."""
    degree = len(values) // 2
    coefficients = np.zeros((degree + 1) ** 2)
    coefficients[degree_slice(degree)] = values
    return function_on_sphere(coefficients, resolution)


def _degrees(a: int, b: int) -> range:
    """Return the degrees of products."""
    return range(abs(a - b), a + b + 1)


def _across(i: int, count: int) -> float:
    return DISTANCE * (i - (count - 1) / 2)


def _lower(i: int, count: int) -> Center:
    """Return the centre of a product."""
    return _across(i, count), 0.0, -1.35 * DISTANCE


def _add_menu(figure: Any, names: list[str], counts: list[int], start: int) -> None:
    """Add a menu that shows one group of traces. The first trace is always shown."""
    owner = np.repeat(np.arange(len(counts)), counts)
    shown = [[True, *(owner == group).tolist()] for group in range(len(counts))]
    for trace, visible in zip(figure.data, shown[start], strict=True):
        trace.visible = visible
    buttons = [
        {"method": "restyle", "label": name, "args": [{"visible": visible}]}
        for name, visible in zip(names, shown, strict=True)
    ]
    place = {"x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "pad": {"l": 10, "b": 5}}
    figure.update_layout(updatemenus=[{"buttons": buttons, "active": start, **place}], margin={"t": _MENU})
