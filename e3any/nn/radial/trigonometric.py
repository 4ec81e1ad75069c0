"""Trigonometric functions."""

from __future__ import annotations

import math

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.checks import floating_backend
from e3any.nn._functions import scalar_like
from e3any.nn.radial.arguments import check_num, scaled

__all__ = ["basic_fourier", "bessel", "fourier", "sinc"]

# Terms of the series of sin(z)/z, and the largest z for which they suffice in float64.
_TERMS = 10
_SMALL = 1.0


def sinc(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return the spherical waves in a sphere, which are zero at its surface and beyond.

    .. math::
        f_k(t) = \begin{cases} \dfrac{\sin(\pi k t)}{\pi k t} & t \le 1 \\ 0 & t > 1 \end{cases} \qquad
        t = x / x_\mathrm{max} \qquad k = 1, \dots, K

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit :math:`x_\mathrm{max} > 0`, in the unit of ``x``: give the cut-off. By default it is 1, and all
        functions of distances above 1 are zero. Arrays can be traced and differentiated.

    Returns
    -------
    array of shape (..., num)
        Values of the functions. First derivatives are not continuous at the limit.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``limit`` is a number that is not positive or an array that does not
        broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``limit`` is neither a number nor an array of its library.
    """
    backend, t = scaled(x, num, limit)
    xp = backend.xp
    inside = t <= 1.0
    t = xp.where(inside, t, xp.zeros_like(t))
    z = _frequencies(backend, 1, num, t) * t[..., None]
    values = _sine_over(backend, z, z)
    return xp.where(inside[..., None], values, xp.zeros_like(values))


def bessel(x: Array, num: int, limit: Array | float = 1.0, frequencies: Array | None = None) -> Array:
    r"""Return spherical Bessel functions of degree zero, which are orthonormal on a sphere.

    .. math::
        f_k(x) = \sqrt{\frac{2}{c}}\, \frac{\sin(\pi k x / c)}{x} \qquad k = 1, \dots, K, \qquad
        \int_0^c f_k(x) f_{k'}(x)\, x^2 dx = \delta_{kk'}

    (Gasteiger et al., `Directional message passing for molecular graphs <https://arxiv.org/abs/2003.03123>`_, 2020).
    They are zero at the limit but not beyond it: multiply them by a cut-off, for example
    :func:`e3any.nn.polynomial_cutoff`.

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit c > 0, in the unit of ``x``. Arrays can be traced and differentiated.
    frequencies : array of shape (num,), optional
        Numbers that replace :math:`\pi k`; see :class:`e3any.nn.BesselBasis`, which learns them. Functions with others
        are neither orthogonal nor zero at the limit.

    Returns
    -------
    array of shape (..., num)
        Values of the functions, in units of :math:`c^{-3/2}`; :math:`\sqrt{2/c}\, \pi k / c` at zero.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, ``limit`` is a number that is not positive or an array that does not
        broadcast with ``x``, or ``frequencies`` are not of shape (num,).
    TypeError
        If ``x`` is not a floating-point array, ``limit`` is neither a number nor an array of its library, or
        ``frequencies`` are not a floating-point array.
    """
    if frequencies is not None:
        _check_frequencies(x, num, frequencies)
    backend, t = scaled(x, num, limit)
    if frequencies is None:
        frequencies = _frequencies(backend, 1, num, t)
        phase = frequencies * _in_period(backend, t)[..., None]
    else:
        frequencies = backend.aligned(backend.promote(frequencies, dtype=t.dtype)[0], t[..., None])
        phase = frequencies * t[..., None]
    values = _sine_over(backend, frequencies * t[..., None], phase)
    unit = scalar_like(backend, limit, x)
    amplitude = math.sqrt(2.0) * (1.0 / unit) ** 1.5
    return frequencies * values * (amplitude if isinstance(amplitude, float) else amplitude[..., None])


def basic_fourier(x: Array, num: int, limit: Array | float = 1.0) -> Array:
    r"""Return cosines of a distance.

    .. math::
        f_k(t) = \cos(\pi k t) \qquad t = x / x_\mathrm{max} \qquad k = 0, \dots, K - 1

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    limit : float or array, optional
        The limit :math:`x_\mathrm{max} > 0`, in the unit of ``x``: give the cut-off. By default it is 1, and values
        repeat beyond it. Arrays can be traced and differentiated.

    Returns
    -------
    array of shape (..., num)
        Values of the functions.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, or ``limit`` is a number that is not positive or an array that does not
        broadcast with ``x``.
    TypeError
        If ``x`` is not a floating-point array, or ``limit`` is neither a number nor an array of its library.
    """
    backend, t = scaled(x, num, limit)
    return fourier(backend, _in_period(backend, t), num)


def fourier(backend: Backend, t: Array, num: int) -> Array:
    """Return the cosines along a new last axis."""
    return backend.xp.cos(_frequencies(backend, 0, num - 1, t) * t[..., None])


def _frequencies(backend: Backend, first: int, last: int, t: Array) -> Array:
    """Return the frequencies of functions of t, along a new last axis."""
    return backend.aligned(backend.table(_multiples_of_pi, first, last, like=t), t[..., None])


def _check_frequencies(x: Array, num: int, frequencies: Array) -> None:
    """Raise an error unless there is a frequency for every function of x."""
    backend = floating_backend(x=x, frequencies=frequencies)
    check_num(num)
    if tuple(frequencies.shape) != (num,):
        raise ValueError(f"expected frequencies of shape ({num},), got {tuple(frequencies.shape)}")
    backend.check_devices(x, frequencies)


def _multiples_of_pi(first: int, last: int) -> NDArray[np.float64]:
    return math.pi * np.arange(first, last + 1.0)


def _in_period(backend: Backend, t: Array) -> Array:
    """Return t modulo 2, the period of all functions; frequencies times far distances would overflow."""
    return t - 2.0 * backend.stop_gradient(backend.xp.round(0.5 * t))


def _sine_over(backend: Backend, z: Array, phase: Array) -> Array:
    """Return sin(phase)/z, where the phase is z modulo its period; by a series near zero."""
    xp = backend.xp
    small = xp.abs(z) < _SMALL
    near = xp.where(small, z, xp.zeros_like(z))
    far = xp.where(small, xp.full_like(z, _SMALL), z)
    return xp.where(small, _series(backend, near * near), xp.sin(phase) / far)


def _series(backend: Backend, z2: Array) -> Array:
    """Return sin(z)/z from the square of z."""
    total = backend.xp.ones_like(z2)
    for n in range(_TERMS, 0, -1):
        total = 1.0 - z2 * total / (2 * n * (2 * n + 1))
    return total
