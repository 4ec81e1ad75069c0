r"""Matrices of rectangular blocks, each coupled from irreps.

A block of :math:`(2a+1) \times (2b+1)` entries holds the irreps :math:`|a-b|, \dots, a+b`:

.. math:: M^{ab}_{ij} = \sum_{lm} C^{abl}_{ijm} \, x^{(l)}_m

so that :math:`M \to D(R)^T M D(R)` as :math:`x \to x D(R)`. Powers of a matrix transform likewise, and traces are
invariant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from e3any_backends import Array, Backend

from e3any.checks import check_counts, check_degree, check_degrees, check_flag, check_integer, floating_backend, shown
from e3any.config import cartesian_order_or_default
from e3any.conventions import degree_slice
from e3any.matrix.irreps_weights import make_dict_irreps_mult
from e3any.so3 import clebsch_gordan

__all__ = ["compute_side_lengths", "get_traces", "make_rectangular_matrix", "make_square_matrix"]


def compute_side_lengths(degrees: Sequence[int]) -> tuple[int, ...]:
    """Return the number 2l+1 of components of every degree.

    Parameters
    ----------
    degrees : sequence of int
        The degrees.

    Returns
    -------
    tuple of int
        The lengths.

    Raises
    ------
    ValueError
        If a degree is not an integer >= 0.
    TypeError
        If ``degrees`` is not a sequence.
    """
    check_degrees(degrees)
    return tuple(2 * l + 1 for l in degrees)


def make_rectangular_matrix(
    irreps: Sequence[Array], idx: list[int], a: int, b: int, cg: Array, mult: int, precision: Any = None
) -> Array:
    """Couple irreps to mult x mult blocks.

    Parameters
    ----------
    irreps : sequence of arrays of shape (..., 2l+1, M)
        Irreps of degrees l = 0, 1, ...
    idx : list of int
        How many irreps of each degree are used already. The function adds those that it uses.
    a, b : int
        Odd numbers of rows and columns of a block.
    cg : array
        Clebsch-Gordan coefficients up to the degrees of a and b and those of the irreps, see
        :func:`e3any.so3.clebsch_gordan`.
    mult : int
        Number of blocks in each direction.
    precision : optional
        Precision of matrix products; only JAX takes it.

    Returns
    -------
    array of shape (..., mult * a, mult * b)
        The blocks. Missing irreps count as zero.

    Raises
    ------
    ValueError
        If a or b is not odd, a number is not an integer >= 0, shapes do not fit, or irreps are used up.
    TypeError
        If irreps are not floating-point arrays of one library, or ``idx`` or ``cg`` has a wrong type.
    """
    backend = _checked_backend(irreps)
    check_integer(mult, "mult")
    for name, size in (("a", a), ("b", b)):
        check_integer(size, name, least=1)
        if size % 2 == 0:
            raise ValueError(f"expected {name} to be odd, got {size}")
    check_counts(idx, "idx")
    if len(idx) != len(irreps):
        raise ValueError(f"expected idx to have {len(irreps)} numbers, got {len(idx)}")
    la, lb = a // 2, b // 2
    degrees = range(abs(la - lb), min(la + lb, len(irreps) - 1) + 1)
    if not degrees:
        return _zeros(backend, irreps[0], (a * mult, b * mult))
    needed = (la + 1) ** 2, (lb + 1) ** 2, degrees.stop**2
    if not (isinstance(cg, np.ndarray) or backend.owns(cg)):
        raise TypeError(f"expected cg to be an array of NumPy or {backend.xp.__name__}, got {type(cg).__name__}")
    if len(cg.shape) != 3 or any(n < m for n, m in zip(cg.shape, needed, strict=True)):
        raise ValueError(f"expected cg of at least shape {needed}, got {tuple(cg.shape)}")
    table = cg[degree_slice(la), degree_slice(lb), degrees.start**2 : degrees.stop**2]
    if not backend.owns(table):
        table = backend.constant(table, like=irreps[0])
    values = backend.xp.concat([_take(irreps, idx, l, mult**2) for l in degrees], axis=-2)
    values, table = backend.promote(values, table, dtype=values.dtype)
    blocks = backend.matmul(backend.xp.reshape(table, (a * b, -1)), values, precision)
    blocks = backend.xp.reshape(blocks, (*blocks.shape[:-2], a, b, mult, mult))
    blocks = backend.xp.moveaxis(blocks, (-2, -4, -1, -3), (-4, -3, -2, -1))
    return backend.xp.reshape(blocks, (*blocks.shape[:-4], mult * a, mult * b))


def make_square_matrix(
    irreps: Sequence[Array],
    degrees: Sequence[int],
    mult: int,
    max_degree: int,
    shift_by_id: bool = False,
    precision: Any = None,
    *,
    cartesian_order: bool | None = None,
) -> Array:
    """Couple irreps to a square matrix.

    Parameters
    ----------
    irreps : sequence of arrays of shape (..., 2l+1, M)
        Irreps of degrees l = 0, 1, ...; M is the number of times that :func:`make_dict_irreps_mult` finds, times
        mult**2.
    degrees : sequence of int
        Degrees of the space of the matrix.
    mult : int
        How often each degree is repeated.
    max_degree : int
        Largest degree of the irreps.
    shift_by_id : bool
        Whether the identity is added.
    precision : optional
        Precision of matrix products; only JAX takes it.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., S, S)
        The matrix, of side ``S = mult * sum(2l+1)``.

    Raises
    ------
    ValueError
        If ``max_degree`` is smaller than a degree, a number is not an integer >= 0, shapes do not fit, there are too
        few irreps, or ``shift_by_id`` is neither True nor False.
    TypeError
        If irreps are not floating-point arrays of one library, or ``degrees`` is not a sequence.
    """
    backend = _checked_backend(irreps)
    check_degrees(degrees)
    check_degree(max_degree)
    check_integer(mult, "mult")
    check_flag(shift_by_id, "shift_by_id")
    if not degrees or max_degree < max(degrees):
        raise ValueError(f"expected degrees, all <= max_degree = {max_degree}, got {shown(list(degrees))}")
    for l, count in make_dict_irreps_mult(degrees, len(irreps) - 1).items():
        if count * mult**2 > irreps[l].shape[-1]:
            raise ValueError(f"expected {count * mult**2} irreps of degree {l}, got {irreps[l].shape[-1]}")
    largest = max(degrees)
    order = cartesian_order_or_default(cartesian_order)
    cg = backend.table(clebsch_gordan, largest, largest, max_degree, order, like=irreps[0])
    used, sides = [0] * len(irreps), compute_side_lengths(degrees)
    rows = []
    for a in sides:
        row = [make_rectangular_matrix(irreps, used, a, b, cg, mult, precision) for b in sides]
        rows.append(backend.xp.concat(row, axis=-1))
    matrix = backend.xp.concat(rows, axis=-2)
    if not shift_by_id:
        return matrix
    return matrix + backend.xp.eye(matrix.shape[-1], dtype=matrix.dtype, device=backend.device(matrix))


def get_traces(mat: Array, ls: Sequence[int], mult: int, shift_by_id: bool = False) -> Array:
    """Return the traces of the square blocks on the diagonal.

    Parameters
    ----------
    mat : array of shape (..., S, S)
        Matrix, see :func:`make_square_matrix`.
    ls : sequence of int
        Degrees of its space.
    mult : int
        How often each degree is repeated.
    shift_by_id : bool
        Whether the identity is subtracted.

    Returns
    -------
    array of shape (..., len(ls) * mult**2)
        The traces of the mult x mult blocks of every degree.

    Raises
    ------
    ValueError
        If the matrix has another shape, a number is not an integer >= 0, or ``shift_by_id`` is neither True nor False.
    TypeError
        If the matrix is not a floating-point array, or ``ls`` is not a sequence.
    """
    check_degrees(ls, "ls")
    check_integer(mult, "mult")
    check_flag(shift_by_id, "shift_by_id")
    backend, side = floating_backend(mat=mat), mult * sum(compute_side_lengths(ls))
    if mat.ndim < 2 or tuple(mat.shape[-2:]) != (side, side):
        raise ValueError(f"expected a matrix of shape (..., {side}, {side}), got {tuple(mat.shape)}")
    xp, traces, start = backend.xp, [], 0
    for a in compute_side_lengths(ls):
        stop = start + a * mult
        blocks = xp.reshape(mat[..., start:stop, start:stop], (*mat.shape[:-2], mult, a, mult, a))
        trace = sum(blocks[..., k, :, k] for k in range(a))
        if shift_by_id:
            trace = trace - a * xp.eye(mult, dtype=mat.dtype, device=backend.device(mat))
        traces.append(xp.reshape(trace, (*mat.shape[:-2], mult**2)))
        start = stop
    return xp.concat(traces, axis=-1)


def _checked_backend(irreps: Sequence[Array]) -> Backend:
    if not irreps:
        raise ValueError(f"expected irreps of at least one degree, got {shown(irreps)}")
    backend = floating_backend(**{f"irreps of degree {l}": x for l, x in enumerate(irreps)})
    for l, x in enumerate(irreps):
        if x.ndim < 2 or x.shape[-2] != 2 * l + 1 or x.shape[:-2] != irreps[0].shape[:-2]:
            expected = ", ".join([*map(str, irreps[0].shape[:-2]), str(2 * l + 1), "M"])
            raise ValueError(f"expected irreps of shape ({expected}) for degree {l}, got {tuple(x.shape)}")
    return backend


def _take(irreps: Sequence[Array], idx: list[int], degree: int, count: int) -> Array:
    """Return the next irreps of a degree, and count them."""
    first, idx[degree] = idx[degree], idx[degree] + count
    if idx[degree] > irreps[degree].shape[-1]:
        raise ValueError(f"expected {idx[degree]} irreps of degree {degree}, got {irreps[degree].shape[-1]}")
    return irreps[degree][..., first : idx[degree]]


def _zeros(backend: Backend, like: Array, shape: tuple[int, ...]) -> Array:
    return backend.xp.zeros((*like.shape[:-2], *shape), dtype=like.dtype, device=backend.device(like))
