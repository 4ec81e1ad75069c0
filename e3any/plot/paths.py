"""Paths of tensor products and their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator

from e3any.checks import floating_backend
from e3any.conventions import parity_names
from e3any.nn.initializers import allowed_couplings
from e3any.plot._axes import figure_and_axes
from e3any.testing import to_numpy

__all__ = ["tensor_paths"]


def tensor_paths(kernel: Any, *, axes: Any = None) -> Any:
    r"""Draw which irreps of two features couple to which of their product, and how strongly.

    .. math:: \bigl(x^{(l_1 p_1)} \otimes y^{(l_2 p_2)}\bigr)^{(l_3 p_3)}: \qquad
        |l_1 - l_2| \le l_3 \le l_1 + l_2, \quad p_3 = p_1 p_2

    A row for every pair of irreps, a column for every irrep of the product. Colours are the root mean square of the
    weights of a path over its features; paths that parity or degrees forbid stay white.

    Parameters
    ----------
    kernel : array of shape (P1, L1+1, P2, L2+1, P3, L3+1, F)
        Parameter ``kernel`` of :class:`e3any.nn.Tensor`. An array of ones shows the paths alone.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If the shape is not that of a kernel.
    TypeError
        If ``kernel`` is not a floating-point array.

    Examples
    --------
    >>> figure = tensor_paths(np.ones((1, 3, 1, 3, 1, 3, 8)))
    """
    floating_backend(kernel=kernel)
    shape = tuple(kernel.shape)
    if len(shape) != 7 or any(n not in (1, 2) for n in shape[:5:2]) or 0 in shape:
        raise ValueError(f"expected a kernel of shape (P1, L1+1, P2, L2+1, P3, L3+1, F), got {shape}")
    strength = np.sqrt(np.mean(to_numpy(kernel).astype(np.float64) ** 2, axis=-1))
    strength = np.where(allowed_couplings(*shape[:6]), strength, np.nan)
    first, second, third = (parity_names(shape[i + 1] - 1, shape[i]) for i in (0, 2, 4))
    pairs = [(a, b) for a in first for b in second]
    matrix = np.asarray([[strength[*a[:2], *b[:2], *c[:2]] for c in third] for a, b in pairs])
    return _draw(matrix, [f"{a[2]} ⊗ {b[2]}" for a, b in pairs], [c[2] for c in third], axes)


def _draw(matrix: Any, rows: list[str], columns: list[str], axes: Any) -> Any:
    """Draw a matrix with names."""
    figure, axes = figure_and_axes(axes, 2.5 + 0.35 * len(columns), 1.2 + 0.22 * len(rows))
    image = axes.imshow(matrix, cmap="viridis_r", aspect="auto", vmin=0)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows, fontsize="small")
    for axis, count in ((axes.xaxis, len(columns)), (axes.yaxis, len(rows))):
        axis.set_minor_locator(FixedLocator([i - 0.5 for i in range(count + 1)]))
    axes.grid(which="minor", color="0.85", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    axes.set(xlabel="product", ylabel="factors")
    figure.colorbar(image, ax=axes, label="root mean square of weights")
    return figure
