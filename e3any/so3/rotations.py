"""Rotation matrices. They act on row vectors from the right, see :mod:`e3any.conventions`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, generator_backend

from e3any.checks import (
    check_broadcast,
    check_count,
    check_dtype,
    check_number,
    check_vectors,
    floating_backend,
)
from e3any.ops.safe import normalize
from e3any.so3._matrices import angles, axes_and_angles, check_rotations, cross, floating, matrix, rodrigues

__all__ = [
    "alignment_rotation",
    "euler_angles_from_rotation",
    "random_rotation",
    "rotation",
    "rotation_euler",
]


def rotation(axis: Array, angle: Array | float) -> Array:
    r"""Return the rotation about an axis by an angle.

    .. math::
        R = 1 + \sin\varphi\, K + (1 - \cos\varphi)\, K^2 \qquad \vec r K = \vec k \times \vec r

    with the unit vector :math:`\vec k` of the axis: counter-clockwise for row vectors. This is
    `Rodrigues' formula <https://en.wikipedia.org/wiki/Rodrigues%27_rotation_formula>`_.

    Parameters
    ----------
    axis : array of shape (..., 3)
        Axes, of any length. A zero vector gives the identity.
    angle : array of shape (...) or float
        Angles in radians; they broadcast with the axes.

    Returns
    -------
    array of shape (..., 3, 3)
        The rotations.

    Raises
    ------
    ValueError
        If the last axis of ``axis`` is not of length 3, or shapes do not broadcast.
    TypeError
        If ``axis`` is not a floating-point array, or ``angle`` is neither one nor a number.

    Examples
    --------
    >>> import numpy as np
    >>> rot = rotation(np.asarray([0.0, 0.0, 2.0]), np.pi / 2)
    >>> (np.asarray([1.0, 0.0, 0.0]) @ rot).round(3)
    array([0., 1., 0.])
    """
    backend, axis, angle = axes_and_angles(axis, angle)
    return rodrigues(backend, axis, backend.xp.sin(angle), 1.0 - backend.xp.cos(angle))


def alignment_rotation(u: Array, v: Array) -> Array:
    r"""Return the rotation by the smallest angle that takes u to the direction of v.

    .. math::
        R = 1 + K + \frac{K^2}{1 + \vec u \cdot \vec v} \qquad
        \vec r K = (\vec u \times \vec v) \times \vec r

    for unit vectors; then :math:`\vec u R = \vec v`.

    Parameters
    ----------
    u, v : array of shape (..., 3)
        Vectors, of any length; they broadcast.

    Returns
    -------
    array of shape (..., 3, 3)
        The rotations. The identity where a vector is zero.

    Raises
    ------
    ValueError
        If the last axis of ``u`` or ``v`` is not of length 3, or shapes do not broadcast.
    TypeError
        If an argument is not a floating-point array.

    Notes
    -----
    Beyond a right angle, a half turn about :math:`\vec u \times \vec v` takes u to -u, which is then aligned
    with v. The result is therefore orthogonal to rounding for all vectors. For antiparallel vectors the rotation is
    not unique, and one axis perpendicular to u is chosen. Derivatives are finite; they grow towards antiparallel
    vectors, where the rotation is not continuous.

    Examples
    --------
    >>> import numpy as np
    >>> u, v = np.asarray([1.0, 0.0, 0.0]), np.asarray([0.0, 1.0, 0.0])
    >>> (u @ alignment_rotation(u, v)).round(3)
    array([0., 1., 0.])
    """
    backend, u, v = floating(u=u, v=v)
    check_vectors(u, "u")
    check_vectors(v, "v")
    check_broadcast("shapes of u and v", u.shape, v.shape)
    return _align(backend, normalize(u, axis=-1), normalize(v, axis=-1))


def rotation_euler(a: Array | float, b: Array | float, c: Array | float) -> Array:
    r"""Return the rotation about the x-axis by a, then about the y-axis by b, then about the z-axis by c.

    .. math::
        R = R_x(a)\, R_y(b)\, R_z(c)

    Parameters
    ----------
    a, b, c : array of shape (...) or float
        Angles in radians; they broadcast. With numbers only, the result is a NumPy array.

    Returns
    -------
    array of shape (..., 3, 3)
        The rotations.

    Raises
    ------
    ValueError
        If shapes do not broadcast.
    TypeError
        If an argument is neither a number nor a floating-point array.

    Examples
    --------
    >>> import math
    >>> rotation_euler(0.0, 0.0, math.pi / 2).round(3) + 0.0
    array([[ 0.,  1.,  0.],
           [-1.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    backend, (a, b, c) = angles(a, b, c)
    xp = backend.xp
    (sa, ca), (sb, cb), (sc, cc) = ((xp.sin(angle), xp.cos(angle)) for angle in (a, b, c))
    entries = [
        *(cb * cc, cb * sc, -sb),
        *(sa * sb * cc - ca * sc, sa * sb * sc + ca * cc, sa * cb),
        *(ca * sb * cc + sa * sc, ca * sb * sc - sa * cc, ca * cb),
    ]
    return matrix(backend, entries)


def euler_angles_from_rotation(rot: Array) -> tuple[Array, Array, Array]:
    r"""Return the angles of :func:`rotation_euler` that give a rotation.

    Parameters
    ----------
    rot : array of shape (..., 3, 3)
        Rotations.

    Returns
    -------
    a, b, c : array of shape (...)
        Angles in radians, b between :math:`-\pi/2` and :math:`\pi/2`. At these two values c is zero.

    Raises
    ------
    ValueError
        If ``rot`` is not of shape (..., 3, 3).
    TypeError
        If ``rot`` is not a floating-point array.

    Notes
    -----
    c and b follow from the first row of R; a from the y-column of :math:`R\,R_z(-c) = R_x(a) R_y(b)`, which
    is :math:`(0, \cos a, -\sin a)`. The angles therefore reproduce R to rounding, also where b is close to
    :math:`\pm\pi/2`.

    Examples
    --------
    >>> [round(float(angle), 3) for angle in euler_angles_from_rotation(rotation_euler(0.1, 0.2, 0.3))]
    [0.1, 0.2, 0.3]
    """
    backend = floating_backend(rot=rot)
    check_rotations(rot)
    xp = backend.xp
    (xx, xy, xz), (yx, yy, _), (zx, zy, _) = ([rot[..., i, j] for j in range(3)] for i in range(3))
    cos2 = xx * xx + xy * xy
    special = cos2 <= (8.0 * float(xp.finfo(rot.dtype).eps)) ** 2
    one, zero = xp.ones_like(xx), xp.zeros_like(xx)
    safe = xp.sqrt(xp.where(special, one, cos2))
    sin_c, cos_c = xp.where(special, zero, xy / safe), xp.where(special, one, xx / safe)
    a = xp.atan2(zx * sin_c - zy * cos_c, yy * cos_c - yx * sin_c)
    return a, xp.atan2(-xz, xp.where(special, zero, safe)), xp.atan2(sin_c, cos_c)


def random_rotation(key: Any, perturbation: Array | float = 1.0, num: int = 1, *, dtype: Any = None) -> Array:
    r"""Draw random rotations.

    A uniformly distributed rotation (Shoemake, Graphics Gems III, 1992, 124) has its angle multiplied by
    ``perturbation``.

    Parameters
    ----------
    key : jax.Array or numpy.random.Generator or torch.Generator
        A JAX key, or the generator object of NumPy or PyTorch.
    perturbation : array or float
        From 0 (the identity) to 1 (uniformly distributed); numbers and arrays of shape () or (num,) are clipped to
        this range.
    num : int
        Number of rotations.
    dtype : dtype, optional
        The dtype; by default that of the library. For JAX it depends on ``jax_enable_x64``.

    Returns
    -------
    array of shape (num, 3, 3), or (3, 3) if num is 1
        The rotations. The same JAX key and dtype give the same rotations as in e3x.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 0, or ``perturbation`` is NaN or of another shape.
    TypeError
        If ``key`` is not a generator, ``perturbation`` is neither a number nor a floating-point array, or
        ``dtype`` is not a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> random_rotation(np.random.default_rng(0), num=5).shape
    (5, 3, 3)
    """
    backend = generator_backend(key)
    check_count(num, "num")
    check_dtype(dtype)
    _check_perturbation(perturbation, num)
    dtype = backend.xp.zeros(()).dtype if dtype is None else backend.dtype(dtype)
    axis, angle = _random_axis_and_angle(backend, backend.random_uniform(key, (num, 3), dtype))
    if isinstance(perturbation, (int, float)):
        perturbation = min(max(perturbation, 0.0), 1.0)
    else:
        perturbation = backend.xp.astype(backend.xp.clip(perturbation, 0.0, 1.0), angle.dtype)
    rot = rotation(axis, angle * perturbation)
    return rot[0, ...] if num == 1 else rot


def _check_perturbation(perturbation: Array | float, num: int) -> None:
    if not hasattr(perturbation, "shape"):
        check_number(perturbation, "perturbation")
        return
    floating_backend(perturbation=perturbation)
    if tuple(perturbation.shape) not in ((), (num,)):
        raise ValueError(f"expected perturbation of shape () or ({num},), got {tuple(perturbation.shape)}")


def _random_axis_and_angle(backend: Backend, uniform: Array) -> tuple[Array, Array]:
    """Return axis and angle, from 0 to pi, of the quaternions that belong to triples of uniform numbers."""
    xp = backend.xp
    u, first, second = (uniform[..., i] for i in range(3))
    first, second = 2.0 * math.pi * first, 2.0 * math.pi * second
    inner, outer = xp.sqrt(1.0 - u), xp.sqrt(u)
    real = inner * xp.sin(first)
    imaginary = xp.stack([inner * xp.cos(first), outer * xp.sin(second), outer * xp.cos(second)], axis=-1)
    # A quaternion and its negative are one rotation: take the one with the smaller angle.
    sign = xp.where(real < 0, -xp.ones_like(real), xp.ones_like(real))
    norm = xp.sqrt(xp.sum(imaginary * imaginary, axis=-1))
    return imaginary * sign[..., None], 2.0 * xp.atan2(norm, sign * real)


def _align(backend: Backend, u: Array, v: Array) -> Array:
    xp = backend.xp
    u, v = xp.broadcast_arrays(u, v)
    cos = xp.sum(u * v, axis=-1)
    obtuse = cos < 0.0
    half_turn = _half_turn(backend, u, v)
    from_u = xp.where(obtuse[..., None], -u, u)
    normal = cross(xp, from_u, v)
    # Rodrigues' formula for K = sin(angle) times a unit one, hence without the sine.
    rot = rodrigues(backend, normal, xp.ones_like(cos), 1.0 / (1.0 + xp.abs(cos)))
    return xp.where(obtuse[..., None, None], backend.matmul(half_turn, rot, precision="highest"), rot)


def _half_turn(backend: Backend, u: Array, v: Array) -> Array:
    """Return the half turn 2 w^T w - 1 about a unit vector w perpendicular to u, and to v where that is defined."""
    xp = backend.xp
    normal = cross(xp, u, v)
    known = xp.sum(normal * normal, axis=-1, keepdims=True) > (8.0 * float(xp.finfo(u.dtype).eps)) ** 2
    # Any vector that is not parallel to u: u with its components permuted, or x if they are all about equal.
    other = xp.roll(u, 1, axis=-1)
    diagonal = xp.abs(xp.sum(u * other, axis=-1, keepdims=True)) > 0.9
    other = xp.where(diagonal, backend.aligned(backend.table(np.eye, 1, 3, like=u)[0, :], u), other)
    w = normalize(xp.where(known, normal, cross(xp, u, other)), axis=-1)
    w = normalize(w - u * xp.sum(w * u, axis=-1, keepdims=True), axis=-1)
    square = w[..., :, None] * w[..., None, :]
    return 2.0 * square - backend.aligned(backend.table(np.eye, 3, like=u), square)
