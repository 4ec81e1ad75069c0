"""Functions of whole features: sums, changes of layout, rotations, reflections."""

from __future__ import annotations

from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of
from e3any_backends.arrays import dtype_name

from e3any.checks import check_degree, check_flag, floating_backend
from e3any.conventions import degree_slice
from e3any.layout import Layout

__all__ = ["add", "change_max_degree_or_type", "even_degree_mask", "odd_degree_mask", "reflect", "rotate"]


def even_degree_mask(max_degree: int, *, xp: Any = np) -> Array:
    """Return which components have an even degree.

    Parameters
    ----------
    max_degree : int
        Largest degree L.
    xp : namespace
        Array library of the result.

    Returns
    -------
    bool array of shape ((L+1)**2, 1)
        The mask; it broadcasts to features.

    Raises
    ------
    ValueError
        If ``max_degree`` is not an integer >= 0.
    """
    return xp.asarray(_degrees(max_degree) % 2 == 0)


def odd_degree_mask(max_degree: int, *, xp: Any = np) -> Array:
    """Return which components have an odd degree; arguments and errors are those of :func:`even_degree_mask`."""
    return xp.asarray(_degrees(max_degree) % 2 == 1)


def _degrees(max_degree: int) -> Any:
    check_degree(max_degree)
    return np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1)[:, None]


def rotate(x: Array, wigner_d_matrix: Array) -> Array:
    r"""Rotate features: :math:`x'_m = \sum_{m'} x_{m'} D_{m'm}`.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features.
    wigner_d_matrix : array of shape ((L+1)**2, (L+1)**2) or (..., (L+1)**2, (L+1)**2)
        Wigner-D matrix of one rotation, or of one for each of the leading axes of ``x``; see
        :func:`e3any.so3.wigner_d`.

    Returns
    -------
    array of the shape of ``x``
        Rotated features.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If an argument is not a floating-point array.
    """
    backend = floating_backend(x=x, wigner_d_matrix=wigner_d_matrix)
    size = (Layout.of(x, "x").max_degree + 1) ** 2
    one, each = (size, size), (*x.shape[:-3], size, size)
    if tuple(wigner_d_matrix.shape) not in (one, each):
        expected = " or ".join(map(str, dict.fromkeys((one, each))))
        raise ValueError(f"expected wigner_d_matrix of shape {expected}, got {tuple(wigner_d_matrix.shape)}")
    x, matrix = backend.promote(x, wigner_d_matrix)
    # An axis for parity, over which the matrices are broadcast.
    transposed = backend.xp.matrix_transpose(matrix)[..., None, :, :]
    return backend.matmul(transposed, x, precision="highest")


def reflect(x: Array) -> Array:
    """Invert features in space: those of odd parity change sign.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features.

    Returns
    -------
    array of the shape of ``x``
        Features of the inverted space (r -> -r).

    Raises
    ------
    ValueError
        If the shape is not that of features.
    TypeError
        If ``x`` is not a floating-point array.
    """
    backend, layout = floating_backend(x=x), Layout.of(x, "x")
    return x * backend.aligned(backend.table(_signs, layout.max_degree, layout.pseudotensors, like=x), x)


def _signs(max_degree: int, pseudotensors: bool) -> Any:
    """Return the parity of every component."""
    if pseudotensors:
        return np.asarray([1.0, -1.0]).reshape(2, 1, 1)
    return np.where(even_degree_mask(max_degree), 1.0, -1.0)


def change_max_degree_or_type(
    x: Array, max_degree: int | None = None, include_pseudotensors: bool | None = None
) -> Array:
    """Change the layout of features: cut components off, or append zeros.

    Parameters
    ----------
    x : array of shape (..., P, (L+1)**2, F)
        Features.
    max_degree : int, optional
        New largest degree; that of ``x`` by default.
    include_pseudotensors : bool, optional
        Whether the result has both parities; as ``x`` by default.

    Returns
    -------
    array of shape (..., P', (L'+1)**2, F)
        Features.

    Raises
    ------
    ValueError
        If the shape is not that of features, ``max_degree`` is not an integer >= 0, or ``include_pseudotensors`` is not
        True, False or None.
    TypeError
        If ``x`` is not an array.
    """
    layout = Layout.of(x, "x")
    degree = layout.max_degree if max_degree is None else max_degree
    check_degree(degree)
    check_flag(include_pseudotensors, "include_pseudotensors", optional=True)
    both = layout.pseudotensors if include_pseudotensors is None else include_pseudotensors
    backend = backend_of(x)
    (x,) = backend.promote(x)
    x = _with_max_degree(backend, x, layout.max_degree, degree)
    if layout.pseudotensors and not both:
        return _proper_tensors(backend, x, degree)
    if both and not layout.pseudotensors:
        return _with_both_parities(backend, x, degree)
    return x


def _with_max_degree(backend: Backend, x: Array, old: int, new: int) -> Array:
    if new <= old:
        return x[..., : (new + 1) ** 2, :]
    zeros = backend.xp.zeros_like(x[..., :1, :])
    shape = (*x.shape[:-2], (new + 1) ** 2 - (old + 1) ** 2, x.shape[-1])
    return backend.xp.concat([x, backend.xp.broadcast_to(zeros, shape)], axis=-2)


def _proper_tensors(backend: Backend, x: Array, max_degree: int) -> Array:
    """Keep the parity (-1)^l of every degree."""
    blocks = [x[..., l % 2, degree_slice(l), :] for l in range(max_degree + 1)]
    return backend.xp.concat(blocks, axis=-2)[..., None, :, :]


def _with_both_parities(backend: Backend, x: Array, max_degree: int) -> Array:
    return backend.xp.where(backend.table(_proper_mask, max_degree, like=x), x, backend.xp.zeros_like(x))


def _proper_mask(max_degree: int) -> Any:
    """Return which components of both parities are proper tensors."""
    return np.stack([even_degree_mask(max_degree), odd_degree_mask(max_degree)])


def add(*inputs: Array) -> Array:
    """Add features of different largest degrees and parities.

    Parameters
    ----------
    *inputs : arrays of shape (..., P, (L+1)**2, F)
        Features, which can differ in P and L only.

    Returns
    -------
    array of shape (..., max P, (max L + 1)**2, F)
        The sum.

    Raises
    ------
    ValueError
        If there are no inputs, or if leading axes, numbers of features or dtypes differ.
    TypeError
        If an input is not an array, or inputs belong to different libraries.
    """
    if not inputs:
        raise ValueError("expected at least one input, got none")
    backend_of(*inputs)
    layouts = [Layout.of(x, f"input {i}") for i, x in enumerate(inputs)]
    first = inputs[0]
    for i, x in enumerate(inputs):
        for what, ours, theirs in (
            ("leading axes", tuple(x.shape[:-3]), tuple(first.shape[:-3])),
            ("features", x.shape[-1], first.shape[-1]),
            ("dtype", dtype_name(x.dtype), dtype_name(first.dtype)),
        ):
            if ours != theirs:
                raise ValueError(f"expected {what} {theirs} as those of input 0, got {ours} at input {i}")
    degree = max(layout.max_degree for layout in layouts)
    both = any(layout.pseudotensors for layout in layouts)
    total = change_max_degree_or_type(first, degree, both)
    for x in inputs[1:]:
        total = total + change_max_degree_or_type(x, degree, both)
    return total
