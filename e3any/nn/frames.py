"""Features in the frames of edges, whose z axis is the direction of the edge."""

from __future__ import annotations

from e3any_backends import Array, Backend

from e3any.checks import check_degree, check_vectors, floating_backend, shown
from e3any.config import cartesian_order_or_default
from e3any.layout import Layout
from e3any.ops.safe import normalize
from e3any.so3 import wigner_d_blocks

__all__ = ["edge_frame", "from_frame", "to_frame"]


def edge_frame(vectors: Array, max_degree: int, cartesian_order: bool | None = None) -> tuple[Array, ...]:
    r"""Return rotations that take vectors to the z axis, as Wigner-D matrices of every degree.

    In such a frame a map that commutes with rotations about z, see :class:`e3any.nn.SO2Dense`, costs much less than
    couplings with spherical harmonics of the vector, and is as general (Passaro and Zitnick, `Reducing SO(3)
    convolutions to SO(2) <https://arxiv.org/abs/2302.03655>`_, 2023).

    Parameters
    ----------
    vectors : array of shape (..., 3)
        Vectors of any length.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.

    Returns
    -------
    tuple of L+1 arrays of shape (..., 2l+1, 2l+1)
        The matrix of every degree, see :func:`e3any.so3.wigner_d_blocks`. A zero vector has no direction:
        its matrices of degrees above 0 are zero, with finite derivatives, so that only scalars pass.

    Raises
    ------
    ValueError
        If ``vectors`` are not of shape (..., 3), or ``max_degree`` is not an integer >= 0.
    TypeError
        If ``vectors`` are not a floating-point array.

    Notes
    -----
    No frame is a smooth function of all directions, see the `hairy ball theorem
    <https://en.wikipedia.org/wiki/Hairy_ball_theorem>`_. There are two charts. With :math:`z \ge 0`, the rotation is
    the smallest one that takes the unit vector u to the z axis:

    .. math::
        \hat u R = (0, 0, 1) \qquad
        R = \begin{pmatrix} 1 - x^2 a & -xya & x \\ -xya & 1 - y^2 a & y \\ -x & -y & z \end{pmatrix} \qquad
        a = \frac{1}{1 + z}

    With :math:`z < 0`, half a turn about the x axis comes before it. Both are rational and smooth where they are used.
    They differ by a rotation about the edge, which maps that commute with such rotations do not see: to the frame, such
    a map, and back is smooth everywhere, on both poles and on the equator.

    Examples
    --------
    >>> import numpy as np
    >>> frame = edge_frame(np.asarray([0.0, 3.0, 0.0]), max_degree=1)
    >>> np.asarray([0.0, 1.0, 0.0]) @ frame[1]
    array([0., 0., 1.])
    """
    backend = floating_backend(vectors=vectors)
    check_vectors(vectors, "vectors")
    check_degree(max_degree)
    cartesian_order = cartesian_order_or_default(cartesian_order)
    return wigner_d_blocks(_rotation(backend, normalize(vectors, axis=-1)), max_degree, cartesian_order)


def _rotation(backend: Backend, unit: Array) -> Array:
    """Return the rotations (..., 3, 3) that take unit vectors to the z axis, and zeros for zero vectors."""
    xp = backend.xp
    x, y, z = backend.components(unit)
    sign = xp.where(z < 0.0, -xp.ones_like(z), xp.ones_like(z))
    y, z = sign * y, sign * z  # half a turn about x, if the vector points down
    a = 1.0 / (1.0 + z)
    xy = -x * y * a
    entries = [1.0 - x * x * a, xy, x, sign * xy, sign * (1.0 - y * y * a), sign * y, -sign * x, -sign * y, sign * z]
    flat = xp.stack(entries, axis=-1)
    # Not ~(... > 0.5): the matrices of NaN have to be NaN.
    is_zero = (x * x + y * y + z * z < 0.5)[..., None]
    flat = xp.where(is_zero, xp.zeros_like(flat), flat)
    return xp.reshape(flat, (*flat.shape[:-1], 3, 3))


def to_frame(x: Array, frame: tuple[Array, ...]) -> Array:
    r"""Rotate features to the frames of edges: :math:`y_m = \sum_{m'} x_{m'} D_{m'm}`, degree by degree.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features.
    frame : tuple of arrays of shape (..., 2l+1, 2l+1)
        Matrices of the degrees 0, ..., L and possibly more, of one frame or of one for each of the leading axes of
        ``x``; see :func:`edge_frame`.

    Returns
    -------
    array of the shape of ``x``
        Features in the frames.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an argument is not a floating-point array, or ``frame`` not a tuple of them.

    Examples
    --------
    >>> import numpy as np
    >>> frame = edge_frame(np.asarray([[0.0, 3.0, 0.0]]), max_degree=1)
    >>> x = np.asarray([5.0, 0.0, 1.0, 0.0]).reshape(1, 1, 4, 1)
    >>> to_frame(x, frame).ravel()
    array([5., 0., 0., 1.])
    """
    return _rotated(x, frame, transposed=True)


def from_frame(x: Array, frame: tuple[Array, ...]) -> Array:
    r"""Rotate features back from the frames of edges: :math:`x_{m'} = \sum_m D_{m'm} y_m`.

    Parameters, results and errors are those of :func:`to_frame`, which it inverts.
    """
    return _rotated(x, frame, transposed=False)


def _rotated(x: Array, frame: tuple[Array, ...], transposed: bool) -> Array:
    if not isinstance(frame, tuple | list):
        raise TypeError(f"expected frame to be a tuple of arrays, got {shown(frame)}")
    backend = floating_backend(x=x, **{f"frame[{l}]": block for l, block in enumerate(frame)})
    layout = Layout.of(x, "x")
    _check_frame(frame, layout.max_degree, tuple(x.shape[:-3]))
    x, *matrices = backend.promote(x, *frame[: layout.max_degree + 1])
    xp = backend.xp
    blocks = backend.pieces(x, [2 * l + 1 for l in range(layout.max_degree + 1)], -2)
    for l in range(1, layout.max_degree + 1):  # scalars stay as they are
        matrix = xp.matrix_transpose(matrices[l]) if transposed else matrices[l]
        # An axis for parity, over which the matrices are broadcast.
        blocks[l] = backend.matmul(matrix[..., None, :, :], blocks[l], precision="highest")
    return xp.concat(blocks, axis=-2)


def _check_frame(frame: tuple[Array, ...], max_degree: int, lead: tuple[int, ...]) -> None:
    if len(frame) <= max_degree:
        raise ValueError(f"expected a frame of degrees 0 to {max_degree} or more, got {len(frame)} matrices")
    for l, block in enumerate(frame):
        size = 2 * l + 1
        one, each = (size, size), (*lead, size, size)
        if tuple(block.shape) not in (one, each):
            expected = " or ".join(map(str, dict.fromkeys((one, each))))
            raise ValueError(f"expected frame[{l}] of shape {expected}, got {tuple(block.shape)}")
