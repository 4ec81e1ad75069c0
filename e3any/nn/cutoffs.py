"""Cutoff, damping and switch functions.

Functions called smooth join their constant parts with continuous derivatives of every order.

Exponentials are set to zero below the smallest normal number. Derivatives multiply them by factors that are moderate
up to there, so that derivatives of every order are finite.
"""

from __future__ import annotations

import math

import numpy as np
from e3any_backends import Array, Backend

from e3any.checks import check_integer, floating_backend
from e3any.nn._functions import scalar_like, sigmoid

__all__ = [
    "cosine_cutoff",
    "polynomial_cutoff",
    "smooth_cutoff",
    "smooth_damping",
    "smooth_switch",
    "xplor_cutoff",
]

_SWITCH_RATE = 0.5 * math.sqrt(3.0)


def smooth_cutoff(x: Array, cutoff: Array | float = 1.0) -> Array:
    r"""Return a bump function, which is zero beyond a cutoff and smooth everywhere.

    .. math::
        f(x) = \begin{cases} \exp\left(1 - \frac{1}{1 - (x/c)^2}\right) & |x| < c \\ 0 & |x| \ge c \end{cases}

    Parameters
    ----------
    x : array
        Distances.
    cutoff : float or array, optional
        The cutoff c > 0. An array can be traced and differentiated; only Python numbers are checked.

    Returns
    -------
    array of the shape of ``x``
        Values in [0, 1].

    Raises
    ------
    ValueError
        If ``cutoff`` is a number that is not positive, or an array that does not broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``cutoff`` is neither a number nor an array of its library.
    """
    backend = checked_backend(x)
    check_positive(cutoff, "cutoff")
    xp = backend.xp
    t = x / scalar_like(backend, cutoff, x)
    rest = 1.0 - t * t
    inside = rest > 1.0 / (1.0 + _range(backend, x))
    bump = xp.exp(1.0 - 1.0 / xp.where(inside, rest, xp.ones_like(rest)))
    return xp.where(inside, bump, xp.zeros_like(bump))


def cosine_cutoff(x: Array, cutoff: Array | float = 1.0) -> Array:
    r"""Return half a cosine wave, which is zero beyond a cutoff.

    .. math::
        f(x) = \begin{cases} \frac12 \bigl(1 + \cos(\pi x / c)\bigr) = \cos^2\frac{\pi x}{2c} & |x| < c \\
        0 & |x| \ge c \end{cases}

    The first derivative is continuous at the cutoff, the second one is not.

    Parameters
    ----------
    x : array
        Distances.
    cutoff : float or array, optional
        The cutoff c > 0. An array can be traced and differentiated; only Python numbers are checked.

    Returns
    -------
    array of the shape of ``x``
        Values in [0, 1].

    Raises
    ------
    ValueError
        If ``cutoff`` is a number that is not positive, or an array that does not broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``cutoff`` is neither a number nor an array of its library.
    """
    backend = checked_backend(x)
    check_positive(cutoff, "cutoff")
    xp = backend.xp
    t = x / scalar_like(backend, cutoff, x)
    inside = xp.abs(t) < 1
    wave = xp.cos((0.5 * math.pi) * xp.where(inside, t, xp.zeros_like(t)))
    return xp.where(inside, wave * wave, xp.zeros_like(wave))


def polynomial_cutoff(x: Array, cutoff: Array | float = 1.0, order: int = 6) -> Array:
    r"""Return the polynomial of lowest degree that goes from one to zero with several zero derivatives at both ends.

    .. math::
        f(x) = 1 - \tfrac{(p+1)(p+2)}{2} t^p + p(p+2)\, t^{p+1} - \tfrac{p(p+1)}{2} t^{p+2}
             = (1 - t)^3 \sum_{k=0}^{p-1} \tfrac{(k+1)(k+2)}{2} t^k \qquad t = x / c

    for :math:`0 \le x < c`, zero beyond and one below zero (Gasteiger et al., `Directional message passing for
    molecular graphs <https://arxiv.org/abs/2003.03123>`_, 2020). The code evaluates the second form, which has no
    cancellation. Derivatives of orders 1 to p - 1 are zero at zero, the first and the second at the cutoff.

    Parameters
    ----------
    x : array
        Distances >= 0.
    cutoff : float or array, optional
        The cutoff c > 0. An array can be traced and differentiated; only Python numbers are checked.
    order : int
        The order p >= 1; the higher, the closer to the cutoff the function falls.

    Returns
    -------
    array of the shape of ``x``
        Values in [0, 1].

    Raises
    ------
    ValueError
        If ``order`` is not an integer >= 1, or ``cutoff`` is a number that is not positive or an array that does not
        broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``cutoff`` is neither a number nor an array of its library.
    """
    backend = checked_backend(x)
    check_positive(cutoff, "cutoff")
    check_integer(order, "order", least=1)
    xp = backend.xp
    t = x / scalar_like(backend, cutoff, x)
    t = xp.where(t < 0.0, xp.zeros_like(t), xp.where(t < 1.0, t, xp.ones_like(t)))
    total = xp.full_like(t, 0.5 * order * (order + 1))
    for k in range(order - 1, 0, -1):
        total = total * t + 0.5 * k * (k + 1)
    rest = 1.0 - t
    return rest * rest * rest * total


def xplor_cutoff(x: Array, cutoff: Array | float = 1.0, onset: Array | float | None = None) -> Array:
    r"""Return the switching function of X-PLOR: one up to an onset, then down to zero at a cutoff.

    .. math::
        f(x) = \begin{cases} 1 & |x| \le x_0 \\
        \frac{(c^2 - x^2)^2 (c^2 + 2 x^2 - 3 x_0^2)}{(c^2 - x_0^2)^3} = t^2 (3 - 2t) & x_0 < |x| < c \\
        0 & |x| \ge c \end{cases} \qquad t = \frac{c^2 - x^2}{c^2 - x_0^2}

    (`documentation of HOOMD-blue <https://hoomd-blue.readthedocs.io/en/stable/hoomd/md/module-pair.html>`_). The code
    evaluates the second form. The first derivative is continuous, the second one is not.

    Parameters
    ----------
    x : array
        Distances.
    cutoff : float or array, optional
        The cutoff c > 0. An array can be traced and differentiated; only Python numbers are checked.
    onset : float or array, optional
        The onset :math:`x_0 < c`, at least 0; by default 0.9 c.

    Returns
    -------
    array of the shape of ``x``
        Values in [0, 1].

    Raises
    ------
    ValueError
        If ``cutoff`` is a number that is not positive, ``onset`` is a number that is negative or not below the cutoff,
        or an array does not broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or a bound is neither a number nor an array of its library.
    """
    backend = checked_backend(x)
    check_positive(cutoff, "cutoff")
    if onset is not None and _is_number(onset) and not (onset >= 0 and (not _is_number(cutoff) or onset < cutoff)):
        raise ValueError(f"expected 0 <= onset < cutoff, got onset = {onset} and cutoff = {cutoff}")
    xp = backend.xp
    end = scalar_like(backend, cutoff, x)
    start = 0.9 if onset is None else scalar_like(backend, onset, x) / end
    s = x / end
    s = xp.where(s < -1.0, -xp.ones_like(s), xp.where(s < 1.0, s, xp.ones_like(s)))
    t = (1.0 - s) * (1.0 + s) / ((1.0 - start) * (1.0 + start))
    t = xp.where(t < 1.0, t, xp.ones_like(t))
    return t * t * (3.0 - 2.0 * t)


def smooth_damping(x: Array, gamma: Array | float = 1.0) -> Array:
    r"""Return a function that is zero with all its derivatives at zero and tends to one.

    .. math::
        f(x) = \begin{cases} 0 & x \le 0 \\ \exp\left(-\frac{1}{e^{\gamma x} - 1}\right) & x > 0 \end{cases}

    Parameters
    ----------
    x : array
        Distances.
    gamma : float or array, optional
        Rate :math:`\gamma > 0`. An array can be traced and differentiated; only Python numbers are checked.

    Returns
    -------
    array of the shape of ``x``
        Values in [0, 1].

    Raises
    ------
    ValueError
        If ``gamma`` is a number that is not positive, or an array that does not broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``gamma`` is neither a number nor an array of its library.
    """
    backend = checked_backend(x)
    check_positive(gamma, "gamma")
    xp = backend.xp
    y = scalar_like(backend, gamma, x) * x
    inside = y > math.log1p(1.0 / _range(backend, x))
    y = xp.where(inside, y, xp.ones_like(y))
    damped = xp.exp(xp.exp(-y) / xp.expm1(-y))
    return xp.where(inside, damped, xp.zeros_like(damped))


def smooth_switch(x: Array, x0: Array | float = 0.0, x1: Array | float = 1.0) -> Array:
    r"""Return a smooth function that goes from zero to one within an interval.

    .. math::
        f(x) = \left(1 + \exp\left(\frac{\sqrt3}{2}
        \left(\frac{1}{t} - \frac{1}{1 - t}\right)\right)\right)^{-1} \qquad t = \frac{x - x_0}{x_1 - x_0}

    for 0 < t < 1, zero below and one above.

    Parameters
    ----------
    x : array
        Points.
    x0 : float or array, optional
        Where the function leaves zero.
    x1 : float or array, optional
        Where the function reaches one. Arrays can be traced and differentiated; only Python numbers are
        checked.

    Returns
    -------
    array of the shape of ``x``
        Values in [0, 1].

    Raises
    ------
    ValueError
        If ``x0`` and ``x1`` are numbers with :math:`x_0 \ge x_1`, or arrays that do not broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or a bound is neither a number nor an array of its library.
    """
    backend = checked_backend(x)
    if _is_number(x0) and _is_number(x1) and not x0 < x1:
        raise ValueError(f"expected x0 < x1, got x0 = {x0} and x1 = {x1}")
    xp = backend.xp
    start, end = scalar_like(backend, x0, x), scalar_like(backend, x1, x)
    t = (x - start) / (end - start)
    margin = _SWITCH_RATE / _range(backend, x)
    inside = (t > margin) & (t < 1.0 - margin)
    s = xp.where(inside, t, xp.full_like(t, 0.5))
    switch = sigmoid(backend, _SWITCH_RATE * (1.0 / (1.0 - s) - 1.0 / s))
    return xp.where(inside, switch, xp.where(t < 0.5, xp.zeros_like(t), xp.ones_like(t)))


def checked_backend(x: Array) -> Backend:
    """Return the backend of ``x``; raise a TypeError unless it is a floating-point array."""
    return floating_backend(x=x)


def check_positive(value: Array | float, name: str) -> None:
    """Raise a ValueError if ``value`` is a number that is not positive; arrays pass."""
    if _is_number(value) and not value > 0:
        raise ValueError(f"expected {name} > 0, got {value}")


def _is_number(value: Array | float) -> bool:
    return isinstance(value, (int, float, np.generic))


def _range(backend: Backend, x: Array) -> float:
    """Return a such that exp(-a) is the smallest normal number of the dtype of ``x``."""
    return -math.log(float(backend.xp.finfo(x.dtype).smallest_normal))
