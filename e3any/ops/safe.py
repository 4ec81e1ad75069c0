r"""Norms whose values and derivatives are finite for every finite vector.

Each vector is divided by its own largest entry s before it is squared,
:math:`\lVert x\rVert = s \lVert x/s\rVert`, so that neither :math:`10^{30}` overflows nor :math:`10^{-30}`
vanishes. Neither norm nor direction depends on s, which is therefore a constant for differentiation. Vectors
without an entry larger than the smallest normal number of their dtype count as zero.
"""

from __future__ import annotations

from e3any_backends import Array, Backend
from e3any_backends.references.norms import nonzero_root, nonzero_scale

from e3any.checks import check_axis, check_flag, floating_backend

__all__ = ["inverse_softplus", "norm", "normalize", "normalize_and_return_norm"]

Axis = int | tuple[int, ...] | None


def norm(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    r"""Return the Euclidean norm :math:`\sqrt{\sum_i x_i^2}`.

    Parameters
    ----------
    x : array
        Values.
    axis : int or tuple of int, optional
        Axes along which vectors lie; all axes by default.
    keepdims : bool
        Whether reduced axes stay, with length 1.

    Returns
    -------
    array
        Norms. Their derivatives of every order are zero at zero vectors.

    Raises
    ------
    ValueError
        If the array has no such axes, or ``keepdims`` is neither True nor False.
    TypeError
        If ``x`` is not a floating-point array.
    """
    backend = _checked_backend(x, axis)
    check_flag(keepdims, "keepdims")
    _, _, n = _scaled(backend, x, axis)
    return n if keepdims else _squeeze(backend, n, axis)


def normalize_and_return_norm(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Array]:
    r"""Return vectors divided by their norms, and the norms.

    Parameters
    ----------
    x : array
        Values.
    axis : int or tuple of int, optional
        Axes along which vectors lie; all axes by default.
    keepdims : bool
        Whether the norms keep reduced axes, with length 1.

    Returns
    -------
    y : array of the shape of ``x``
        Vectors of norm one. Zero vectors are left as they are: there y = x, also for differentiation.
    n : array
        Norms.

    Raises
    ------
    ValueError
        If the array has no such axes, or ``keepdims`` is neither True nor False.
    TypeError
        If ``x`` is not a floating-point array.
    """
    backend = _checked_backend(x, axis)
    check_flag(keepdims, "keepdims")
    b, root, n = _scaled(backend, x, axis)
    # Not x / norm: its derivative contains the square of the norm, which overflows.
    return b / root, n if keepdims else _squeeze(backend, n, axis)


def normalize(x: Array, axis: Axis = None) -> Array:
    r"""Return vectors divided by their norms.

    Parameters
    ----------
    x : array
        Values.
    axis : int or tuple of int, optional
        Axes along which vectors lie; all axes by default.

    Returns
    -------
    array of the shape of ``x``
        Vectors of norm one. Zero vectors are left as they are: there y = x, also for differentiation.

    Raises
    ------
    ValueError
        If the array has no such axes.
    TypeError
        If ``x`` is not a floating-point array.
    """
    return normalize_and_return_norm(x, axis)[0]


def inverse_softplus(x: Array) -> Array:
    r"""Return :math:`\log(e^x - 1)`, the inverse of :math:`\log(1 + e^x)`, for x > 0.

    Parameters
    ----------
    x : array
        Positive values.

    Returns
    -------
    array
        The inverse, computed as :math:`x + \log(1 - e^{-x})`.

    Raises
    ------
    TypeError
        If ``x`` is not a floating-point array.
    """
    xp = floating_backend(x=x).xp
    return x + xp.log(-xp.expm1(-x))


def _checked_backend(x: Array, axis: Axis) -> Backend:
    backend = floating_backend(x=x)
    if axis is not None:
        check_axis(axis, x.ndim)
    return backend


def _scaled(backend: Backend, x: Array, axis: Axis) -> tuple[Array, Array, Array]:
    """Return scaled vectors, their norms (one if zero), and the norms of ``x``; all keep reduced axes."""
    xp = backend.xp
    if 0 in x.shape:  # libraries raise for the maximum of an empty array
        n = xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True, dtype=x.dtype))
        return x, n, n
    zero, scale = nonzero_scale(backend, backend.stop_gradient(xp.max(xp.abs(x), axis=axis, keepdims=True)))
    b = backend.quotient(x, scale)
    root = nonzero_root(backend, xp.sum(b * b, axis=axis, keepdims=True, dtype=x.dtype), zero)
    return b, root, xp.where(zero, xp.zeros_like(root), scale * root)


def _squeeze(backend: Backend, x: Array, axis: Axis) -> Array:
    return backend.xp.squeeze(x, axis=tuple(range(x.ndim)) if axis is None else axis)
