r"""Unit quaternions of rotations.

A rotation about the unit vector :math:`\vec k` by the angle :math:`\varphi` has the quaternion

.. math::
    q = (w, x, y, z) = (\cos\tfrac\varphi2, \; \vec k \sin\tfrac\varphi2)

with the real part first; -q is the same rotation. Rotations are those of :func:`rotation`: counter-clockwise for row
vectors. See https://en.wikipedia.org/wiki/Quaternions_and_spatial_rotation.
"""

from __future__ import annotations

from e3any_backends import Array, Backend

from e3any.checks import check_broadcast, check_vectors, floating_backend
from e3any.ops.safe import norm, normalize
from e3any.so3._matrices import angles, axes_and_angles, check_rotations, cross, rodrigues
from e3any.so3.rotations import euler_angles_from_rotation

__all__ = [
    "axis_angle_from_quaternion",
    "axis_angle_from_rotation",
    "compose_quaternions",
    "euler_angles_from_quaternion",
    "invert_quaternion",
    "quaternion_from_axis_angle",
    "quaternion_from_euler",
    "quaternion_from_rotation",
    "rotation_from_quaternion",
]


def rotation_from_quaternion(q: Array) -> Array:
    r"""Return the rotations of quaternions.

    .. math::
        R = 1 + 2 w K + 2 K^2 \qquad \vec r K = (x, y, z) \times \vec r

    Parameters
    ----------
    q : array of shape (..., 4)
        Quaternions w, x, y, z, of any length. Zero gives the identity.

    Returns
    -------
    array of shape (..., 3, 3)
        The rotations.

    Raises
    ------
    ValueError
        If ``q`` is not of shape (..., 4).
    TypeError
        If ``q`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> rotation_from_quaternion(np.asarray([1.0, 0.0, 0.0, 1.0])).round(3)
    array([[ 0.,  1.,  0.],
           [-1.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    backend = _checked_backend(q=q)
    q = normalize(q, axis=-1)
    w = q[..., 0]
    return rodrigues(backend, q[..., 1:], 2.0 * w, backend.xp.full_like(w, 2.0))


def quaternion_from_rotation(rot: Array) -> Array:
    r"""Return the quaternions of rotations.

    Parameters
    ----------
    rot : array of shape (..., 3, 3)
        Rotations.

    Returns
    -------
    array of shape (..., 4)
        Unit quaternions w, x, y, z with :math:`w \ge 0`. For half turns, where w is zero, the largest of the other
        components is positive.

    Raises
    ------
    ValueError
        If ``rot`` is not of shape (..., 3, 3).
    TypeError
        If ``rot`` is not a floating-point array.

    Notes
    -----
    The entries of :math:`4 q^T q` are linear in those of R. The result is its row with the largest diagonal entry,
    normalised. This entry is at least 1, so that no small number is divided by, and derivatives are finite for all
    rotations.

    Examples
    --------
    >>> import numpy as np
    >>> quaternion_from_rotation(np.diag([1.0, -1.0, -1.0]))
    array([0., 1., 0., 0.])
    """
    backend = floating_backend(rot=rot)
    check_rotations(rot)
    xp = backend.xp
    products = _products(backend, rot)
    diagonal = xp.stack([products[..., i, i] for i in range(4)], axis=-1)
    largest = xp.argmax(diagonal, axis=-1, keepdims=True)
    numbers = xp.arange(4, dtype=largest.dtype, device=backend.device(rot))
    largest = largest == backend.aligned(numbers, largest)
    row = xp.sum(xp.where(largest[..., None], products, xp.zeros_like(products)), axis=-2, dtype=rot.dtype)
    return _with_positive_real_part(backend, normalize(row, axis=-1))


def quaternion_from_axis_angle(axis: Array, angle: Array | float) -> Array:
    r"""Return the quaternions :math:`(\cos\frac\varphi2, \vec k \sin\frac\varphi2)`.

    Parameters
    ----------
    axis : array of shape (..., 3)
        Axes, of any length. A zero vector gives (1, 0, 0, 0).
    angle : array of shape (...) or float
        Angles in radians; they broadcast with the axes.

    Returns
    -------
    array of shape (..., 4)
        Unit quaternions w, x, y, z.

    Raises
    ------
    ValueError
        If the last axis of ``axis`` is not of length 3, or shapes do not broadcast.
    TypeError
        If ``axis`` is not a floating-point array, or ``angle`` is neither one nor a number.

    Examples
    --------
    >>> import numpy as np
    >>> quaternion_from_axis_angle(np.asarray([0.0, 0.0, 2.0]), np.pi).round(3)
    array([0., 0., 0., 1.])
    """
    backend, axis, angle = axes_and_angles(axis, angle)
    xp, half = backend.xp, 0.5 * angle[..., None]
    real, imaginary = xp.cos(half), axis * xp.sin(half)
    return normalize(xp.concat([real, imaginary], axis=-1), axis=-1)


def axis_angle_from_quaternion(q: Array) -> tuple[Array, Array]:
    r"""Return the axes and angles of the rotations of quaternions.

    Parameters
    ----------
    q : array of shape (..., 4)
        Quaternions w, x, y, z, of any length. Zero counts as the identity.

    Returns
    -------
    axis : array of shape (..., 3)
        Unit vectors. The zero vector where the angle is zero.
    angle : array of shape (...)
        Angles in radians, from 0 to :math:`\pi`.

    Raises
    ------
    ValueError
        If ``q`` is not of shape (..., 4).
    TypeError
        If ``q`` is not a floating-point array.

    Notes
    -----
    Derivatives of the angle are zero at the identity; those of the axis are finite there and grow towards it, where
    the axis is not continuous.

    Examples
    --------
    >>> import numpy as np
    >>> axis, angle = axis_angle_from_quaternion(np.asarray([1.0, 1.0, 0.0, 0.0]))
    >>> axis, round(float(angle), 3)
    (array([1., 0., 0.]), 1.571)
    """
    backend = _checked_backend(q=q)
    q = _with_positive_real_part(backend, normalize(q, axis=-1))
    real, imaginary = q[..., 0], q[..., 1:]
    sine = norm(imaginary, axis=-1)
    # atan2 has no derivative at (0, 0): a zero quaternion becomes the identity.
    cosine = backend.xp.where((real == 0.0) & (sine == 0.0), backend.xp.ones_like(real), real)
    return normalize(imaginary, axis=-1), 2.0 * backend.xp.atan2(sine, cosine)


def axis_angle_from_rotation(rot: Array) -> tuple[Array, Array]:
    r"""Return the axes and angles of rotations, the inverse of :func:`rotation`.

    Parameters
    ----------
    rot : array of shape (..., 3, 3)
        Rotations.

    Returns
    -------
    axis : array of shape (..., 3)
        Unit vectors. The zero vector where the angle is zero.
    angle : array of shape (...)
        Angles in radians, from 0 to :math:`\pi`.

    Raises
    ------
    ValueError
        If ``rot`` is not of shape (..., 3, 3).
    TypeError
        If ``rot`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> axis_angle_from_rotation(np.diag([-1.0, -1.0, 1.0]))[0]
    array([0., 0., 1.])
    """
    return axis_angle_from_quaternion(quaternion_from_rotation(rot))


def quaternion_from_euler(a: Array | float, b: Array | float, c: Array | float) -> Array:
    """Return the quaternions of the rotations of :func:`rotation_euler`.

    Parameters
    ----------
    a, b, c : array of shape (...) or float
        Angles about x, then y, then z in radians; they broadcast. With numbers only, the result is a NumPy array.

    Returns
    -------
    array of shape (..., 4)
        Unit quaternions w, x, y, z.

    Raises
    ------
    ValueError
        If shapes do not broadcast.
    TypeError
        If an argument is neither a number nor a floating-point array.

    Examples
    --------
    >>> quaternion_from_euler(0.0, 0.0, 0.0)
    array([1., 0., 0., 0.])
    """
    backend, (a, b, c) = angles(a, b, c)
    xp = backend.xp
    (sa, ca), (sb, cb), (sc, cc) = ((xp.sin(0.5 * angle), xp.cos(0.5 * angle)) for angle in (a, b, c))
    entries = [
        ca * cb * cc + sa * sb * sc,
        sa * cb * cc - ca * sb * sc,
        ca * sb * cc + sa * cb * sc,
        ca * cb * sc - sa * sb * cc,
    ]
    return xp.stack(entries, axis=-1)


def euler_angles_from_quaternion(q: Array) -> tuple[Array, Array, Array]:
    """Return the angles of :func:`rotation_euler` that give the rotations of quaternions.

    Parameters
    ----------
    q : array of shape (..., 4)
        Quaternions w, x, y, z, of any length.

    Returns
    -------
    a, b, c : array of shape (...)
        Angles in radians, see :func:`euler_angles_from_rotation`.

    Raises
    ------
    ValueError
        If ``q`` is not of shape (..., 4).
    TypeError
        If ``q`` is not a floating-point array.

    Examples
    --------
    >>> [round(float(angle), 3) for angle in euler_angles_from_quaternion(quaternion_from_euler(0.1, 0.2, 0.3))]
    [0.1, 0.2, 0.3]
    """
    return euler_angles_from_rotation(rotation_from_quaternion(q))


def compose_quaternions(p: Array, q: Array) -> Array:
    r"""Return the quaternions of the rotations by p, then by q.

    .. math::
        R(\text{compose}(p, q)) = R(p)\, R(q)

    which is the product q p of quaternions, in the order in which rotations act on column vectors.

    Parameters
    ----------
    p, q : array of shape (..., 4)
        Quaternions w, x, y, z; they broadcast.

    Returns
    -------
    array of shape (..., 4)
        The products. Their norms are the products of the norms.

    Raises
    ------
    ValueError
        If an argument is not of shape (..., 4), or shapes do not broadcast.
    TypeError
        If an argument is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> i, j = np.eye(4)[1:3]
    >>> compose_quaternions(i, j) + 0.0
    array([ 0.,  0.,  0., -1.])
    """
    backend = _checked_backend(p=p, q=q)
    check_broadcast("shapes of p and q", p.shape, q.shape)
    xp = backend.xp
    p, q = xp.broadcast_arrays(*backend.promote(p, q))
    v, u = p[..., 1:], q[..., 1:]
    real = p[..., :1] * q[..., :1] - xp.sum(u * v, axis=-1, keepdims=True, dtype=p.dtype)
    return xp.concat([real, p[..., :1] * u + q[..., :1] * v + cross(xp, u, v)], axis=-1)


def invert_quaternion(q: Array) -> Array:
    """Return the quaternions (w, -x, -y, -z), those of the inverse rotations.

    Parameters
    ----------
    q : array of shape (..., 4)
        Quaternions w, x, y, z. Their norms do not change.

    Returns
    -------
    array of shape (..., 4)
        The conjugates.

    Raises
    ------
    ValueError
        If ``q`` is not of shape (..., 4).
    TypeError
        If ``q`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> invert_quaternion(np.asarray([0.5, 0.5, 0.5, -0.5]))
    array([ 0.5, -0.5, -0.5,  0.5])
    """
    backend = _checked_backend(q=q)
    return backend.xp.concat([q[..., :1], -q[..., 1:]], axis=-1)


def _checked_backend(**quaternions: Array) -> Backend:
    backend = floating_backend(**quaternions)
    for name, q in quaternions.items():
        check_vectors(q, name, length=4)
    return backend


def _products(backend: Backend, rot: Array) -> Array:
    """Return the products 4 q_i q_j, shape (..., 4, 4)."""
    xp = backend.xp
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = ([rot[..., i, j] for j in range(3)] for i in range(3))
    entries = [
        *(1.0 + xx + yy + zz, yz - zy, zx - xz, xy - yx),
        *(yz - zy, 1.0 + xx - yy - zz, xy + yx, xz + zx),
        *(zx - xz, xy + yx, 1.0 - xx + yy - zz, yz + zy),
        *(xy - yx, xz + zx, yz + zy, 1.0 - xx - yy + zz),
    ]
    flat = xp.stack(entries, axis=-1)
    return xp.reshape(flat, (*flat.shape[:-1], 4, 4))


def _with_positive_real_part(backend: Backend, q: Array) -> Array:
    """Return q, or -q where the real part of q is negative."""
    return backend.xp.where(q[..., :1] < 0.0, -q, q)
