"""Wigner-D matrices, by recursion over the degree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.checks import check_degree, floating_backend
from e3any.config import cartesian_order_or_default
from e3any.conventions import cartesian_permutation
from e3any.so3._matrices import check_rotations
from e3any.so3.clebsch_gordan import clebsch_gordan_for_degrees
from e3any.so3.quaternions import rotation_from_quaternion
from e3any.so3.rotations import rotation_euler

__all__ = ["wigner_d", "wigner_d_blocks", "wigner_d_from_euler", "wigner_d_from_quaternion"]

# Up to this degree rows are raised in order, which is fast. Above, they are coupled, which does not amplify rounding.
_LARGEST_RAISED = 20


def wigner_d(rot: Array, max_degree: int, cartesian_order: bool | None = None) -> Array:
    r"""Return the Wigner-D matrices of rotations, all degrees on one block diagonal.

    .. math::
        Y(\vec r R) = Y(\vec r)\, D(R) \qquad D(RS) = D(R)\, D(S)

    Parameters
    ----------
    rot : array of shape (..., 3, 3)
        Rotation matrices R, which act on row vectors from the right.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2, (L+1)**2)
        The matrices D, of the library, dtype and device of ``rot``: polynomials of degree l in the entries of
        R, so that derivatives of every order exist everywhere.

    Raises
    ------
    ValueError
        If ``rot`` is not of shape (..., 3, 3), or ``max_degree`` is not an integer >= 0.
    TypeError
        If ``rot`` is not a floating-point array.

    Notes
    -----
    Degree l-1 and degree 1 couple to degree l, hence with the Clebsch-Gordan coefficients C as a matrix

    .. math::
        D^{(l)} = C^T (D^{(l-1)} \otimes R)\, C = A^T (D^{(l-1)} \otimes R)\, C

    for every A with :math:`A^T C = 1`. With an A that picks the products by which
    :math:`(x + iy)^{m-1} (x + iy)` raises the order, :math:`A^T (D^{(l-1)} \otimes R)` costs four products,
    and one matrix product with C is left. No entry of A is larger than 2, so that rounding errors grow
    slowly at first; above degree 20 A is C, which amplifies no error and costs another matrix product. In
    float64 errors are about 4e-15 at degree 10, 2e-14 at degree 30 and 4e-14 at degree 60.

    Examples
    --------
    >>> import numpy as np
    >>> rot = np.asarray([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> wigner_d(rot, max_degree=1)
    array([[ 1.,  0.,  0.,  0.],
           [ 0.,  0.,  1.,  0.],
           [ 0., -1.,  0.,  0.],
           [ 0.,  0.,  0.,  1.]])
    """
    backend = floating_backend(rot=rot)
    return _block_diagonal(backend, list(wigner_d_blocks(rot, max_degree, cartesian_order)))


def wigner_d_blocks(rot: Array, max_degree: int, cartesian_order: bool | None = None) -> tuple[Array, ...]:
    """Return the Wigner-D matrix of every degree of rotations: the blocks of :func:`wigner_d`.

    That matrix is mostly zeros: at L = 6 it has 2,401 entries, the blocks have 455.

    Parameters
    ----------
    rot : array of shape (..., 3, 3)
        Rotation matrices, which act on row vectors from the right.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

    Returns
    -------
    tuple of L+1 arrays of shape (..., 2l+1, 2l+1)
        The matrices of the degrees 0, ..., L.

    Raises
    ------
    ValueError
        If ``rot`` is not of shape (..., 3, 3), or ``max_degree`` is not an integer >= 0.
    TypeError
        If ``rot`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> [block.shape for block in wigner_d_blocks(np.eye(3), max_degree=2)]
    [(1, 1), (3, 3), (5, 5)]
    """
    backend = floating_backend(rot=rot)
    check_rotations(rot)
    check_degree(max_degree)
    return tuple(_blocks(backend, rot, max_degree, cartesian_order_or_default(cartesian_order)))


def wigner_d_from_quaternion(q: Array, max_degree: int, cartesian_order: bool | None = None) -> Array:
    """Return the Wigner-D matrices of the rotations of quaternions, see :func:`wigner_d`.

    Parameters
    ----------
    q : array of shape (..., 4)
        Quaternions w, x, y, z, of any length, see :func:`rotation_from_quaternion`.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2, (L+1)**2)
        The matrices.

    Raises
    ------
    ValueError
        If ``q`` is not of shape (..., 4), or ``max_degree`` is not an integer >= 0.
    TypeError
        If ``q`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> wigner_d_from_quaternion(np.asarray([1.0, 0.0, 0.0, 0.0]), max_degree=1)
    array([[1., 0., 0., 0.],
           [0., 1., 0., 0.],
           [0., 0., 1., 0.],
           [0., 0., 0., 1.]])
    """
    _check_options(max_degree, cartesian_order)
    return wigner_d(rotation_from_quaternion(q), max_degree, cartesian_order)


def wigner_d_from_euler(
    a: Array | float, b: Array | float, c: Array | float, max_degree: int, cartesian_order: bool | None = None
) -> Array:
    """Return the Wigner-D matrices of the rotations of Euler angles, see :func:`wigner_d`.

    Parameters
    ----------
    a, b, c : array of shape (...) or float
        Angles about x, then y, then z, see :func:`rotation_euler`.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2, (L+1)**2)
        The matrices. With numbers only, a NumPy array.

    Raises
    ------
    ValueError
        If ``max_degree`` is not an integer >= 0.
    TypeError
        If an angle is neither a number nor a floating-point array.

    Examples
    --------
    >>> wigner_d_from_euler(0.1, 0.2, 0.3, max_degree=2).shape
    (9, 9)
    """
    _check_options(max_degree, cartesian_order)
    return wigner_d(rotation_euler(a, b, c), max_degree, cartesian_order)


def _check_options(max_degree: int, cartesian_order: bool | None) -> None:
    """Check options, before rotations are computed."""
    check_degree(max_degree)
    cartesian_order_or_default(cartesian_order)


def _blocks(backend: Backend, rot: Array, max_degree: int, cartesian_order: bool) -> list[Array]:
    """Return the matrix of every degree."""
    blocks = [backend.xp.ones_like(rot[..., :1, :1])]
    if max_degree > 0:
        blocks.append(backend.promote(rot)[0])  # with the byte order of the machine
    for degree in range(2, max_degree + 1):
        blocks.append(_next_block(backend, blocks[-1], rot, degree))
    if not cartesian_order:
        blocks = [_ascending_orders(backend, block, degree) for degree, block in enumerate(blocks)]
    return blocks


def _next_block(backend: Backend, block: Array, rot: Array, degree: int) -> Array:
    """Return the matrix of a degree from that of the degree below."""
    xp = backend.xp
    couple = backend.table(_couple, degree, like=rot)
    raised = degree <= _LARGEST_RAISED
    products = _raise_order(backend, block, rot) if raised else _couple_rows(backend, block, rot, couple)
    # One large matrix product instead of many small ones.
    flat = xp.reshape(products, (-1, couple.shape[0]))
    product = backend.matmul(flat, couple, precision="highest")
    product = xp.reshape(product, (*products.shape[:-2], couple.shape[1]))
    return product * backend.table(_scale, degree, like=rot) if raised else product


def _raise_order(backend: Backend, block: Array, rot: Array) -> Array:
    """Multiply rows of degree l-1 with rows of the rotation: shape (..., 2l+1, 3, 2l-1), in Cartesian order.

    The pair of rows m, -m transforms as (x + iy)^m: its complex product with the rows x, y is the pair m + 1,
    -(m + 1). The last row, m = 0, makes the pair 1, -1 with x, y, and the new last row with z.
    """
    xp = backend.xp
    last = block[..., -1:, None, :] * rot[..., :, :, None]
    cosine, sine = block[..., :-1:2, None, :], block[..., 1::2, None, :]
    x, y = rot[..., :1, :, None], rot[..., 1:2, :, None]
    pairs = xp.stack([cosine * x - sine * y, cosine * y + sine * x], axis=-3)
    pairs = xp.reshape(pairs, (*block.shape[:-2], block.shape[-2] - 1, *pairs.shape[-2:]))
    return xp.concat([pairs, last], axis=-3)


def _couple_rows(backend: Backend, block: Array, rot: Array, couple: Array) -> Array:
    """Couple rows of degree l-1 with rows of the rotation: shape (..., 2l+1, 3, 2l-1), in Cartesian order."""
    xp = backend.xp
    width = block.shape[-1]
    axes = xp.matrix_transpose(xp.reshape(couple, (3, width, -1)))
    rows = backend.matmul(axes, block[..., None, :, :], precision="highest")
    terms = [rows[..., i, :, None, :] * rot[..., i, None, :, None] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def _scale(degree: int) -> NDArray[np.float64]:
    """Return the scale of every row, of shape (2l+1, 1)."""
    l = degree
    # The reciprocal of the coefficient that couples m-1 and 1 (for the last row 0 and 0) to m.
    scale = [math.sqrt(l * (2 * l - 1) / ((l + m) * (l + m - 1))) for m in range(l, 1, -1) for _ in range(2)]
    scale += [math.sqrt(2 * (2 * l - 1) / (l + 1))] * 2 + [math.sqrt((2 * l - 1) / l)]
    return np.asarray(scale)[:, None]


def _couple(degree: int) -> Any:
    """Return C as a matrix, of shape (3(2l-1), 2l+1)."""
    table = clebsch_gordan_for_degrees(degree - 1, 1, degree, cartesian_order=True)
    return table.transpose(1, 0, 2).reshape(-1, 2 * degree + 1)


def _from_cartesian_order(degree: int) -> NDArray[np.intp]:
    return np.argsort(cartesian_permutation(degree))


def _ascending_orders(backend: Backend, block: Array, degree: int) -> Array:
    """Reorder rows and columns from Cartesian order to m = -l..l."""
    xp = backend.xp
    indices = backend.table(_from_cartesian_order, degree, like=block)
    return xp.take(xp.take(block, indices, axis=-2), indices, axis=-1)


def _block_diagonal(backend: Backend, blocks: list[Array]) -> Array:
    """Put square matrices on one diagonal."""
    # One concatenation of rows and the zeros between them, in the order of memory. Nested ones would copy twice.
    xp = backend.xp
    size = sum(block.shape[-1] for block in blocks)
    pieces = []
    for block in blocks:
        zeros = _zeros(backend, block, size - block.shape[-1])
        for row in range(block.shape[-2]):
            pieces += [block[..., row, :], zeros]
        pieces[-1] = _zeros(backend, block, size)
    return xp.reshape(xp.concat(pieces[:-1], axis=-1), (*blocks[0].shape[:-2], size, size))


def _zeros(backend: Backend, block: Array, width: int) -> Array:
    """Return zeros with the leading axes of a block, if possible without allocating them."""
    xp = backend.xp
    zero = xp.zeros((), dtype=block.dtype, device=backend.device(block))
    return xp.broadcast_to(zero, (*block.shape[:-2], width))
