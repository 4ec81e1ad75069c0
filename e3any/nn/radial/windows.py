"""Windows of equal width between 0 and a limit."""

from __future__ import annotations

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.nn._functions import scalar_like
from e3any.nn.cutoffs import smooth_switch
from e3any.nn.radial.arguments import scaled

__all__ = ["rectangular_window", "smooth_window", "triangular_window"]


def rectangular_window(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return the indicators of intervals of equal length, both ends included.

    .. math::
        f_k(x) = \begin{cases} 1 & k \le K x / x_\mathrm{max} \le k + 1 \\ 0 & \text{otherwise} \end{cases} \qquad
        k = 0, \dots, K - 1

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit :math:`x_\mathrm{max} > 0`, in the unit of ``x``: give the cut-off. By default it is 1, and windows
        end there. Arrays can be traced.

    Returns
    -------
    array of shape (..., num)
        Values of the functions, 0 or 1.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``limit`` is a number that is not positive or an array that does not
        broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``limit`` is neither a number nor an array of its library.
    """
    backend, _ = scaled(x, num, limit)
    xp, unit = backend.xp, scalar_like(backend, limit, x)
    x = x[..., None]
    bounds = backend.aligned(backend.table(_bounds, num, like=x), x)
    bounds = bounds * (unit if isinstance(unit, float) else unit[..., None])
    return xp.where((x >= bounds[..., :-1]) & (x <= bounds[..., 1:]), xp.ones_like(x), xp.zeros_like(x))


def triangular_window(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return hat functions, whose neighbours overlap by half.

    .. math::
        f_k(x) = \max\bigl(1 - |K x / x_\mathrm{max} - k|, 0\bigr) \qquad k = 0, \dots, K - 1

    Parameters, results and errors are those of :func:`rectangular_window`; limits can be differentiated.
    """
    backend, y = _offsets(x, num, limit)
    xp = backend.xp
    hat = xp.where(y < 0.0, 1.0 + y, 1.0 - y)
    return xp.where(hat > 0.0, hat, xp.zeros_like(hat))


def smooth_window(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return smooth bumps, whose neighbours overlap by half and sum to one.

    .. math::
        f_k(x) = S(y + 1) - S(y) \qquad y = K x / x_\mathrm{max} - k \qquad k = 0, \dots, K - 1

    with the function S of :func:`e3any.nn.smooth_switch`. Parameters, results and errors are those of
    :func:`rectangular_window`; limits can be differentiated.
    """
    _, y = _offsets(x, num, limit)
    return smooth_switch(y + 1.0) - smooth_switch(y)


def _offsets(x: Array, num: int, limit: Array | float) -> tuple[Backend, Array]:
    """Return the backend, and x relative to the start of every window in units of its width."""
    backend, t = scaled(x, num, limit)
    return backend, num * t[..., None] - backend.aligned(backend.table(_starts, num, like=t), t[..., None])


def _bounds(num: int) -> NDArray[np.float64]:
    return np.linspace(0.0, 1.0, num + 1)


def _starts(num: int) -> NDArray[np.float64]:
    return np.arange(float(num))
