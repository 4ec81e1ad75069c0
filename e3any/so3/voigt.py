r"""Voigt's and Mandel's notation of symmetric tensors, see https://en.wikipedia.org/wiki/Voigt_notation.

A pair of indices i, j of a symmetric tensor becomes one index I,

=====  ==  ==  ==  ======  ======  ======
I       0   1   2       3       4       5
i, j   xx  yy  zz  yz, zy  xz, zx  xy, yx
=====  ==  ==  ==  ======  ======  ======

and entries with i different from j are multiplied by a factor: 1 for stress, 2 for strain (angles of shear), and
:math:`\sqrt2` in Mandel's notation, which keeps norms. Tensors of rank 4 have this factor once for each pair.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from e3any_backends import Array, Backend
from numpy.typing import NDArray

from e3any.checks import floating_backend, shown

__all__ = ["tensor_to_voigt", "voigt_to_tensor"]

Convention: TypeAlias = Literal["stress", "stiffness", "strain", "compliance", "mandel"]

_FACTORS = {"stress": 1.0, "stiffness": 1.0, "strain": 2.0, "compliance": 2.0, "mandel": math.sqrt(2.0)}
_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def tensor_to_voigt(x: Array, rank: int = 2, convention: Convention = "stress") -> Array:
    r"""Return symmetric tensors of rank 2 or 4 as vectors or matrices of length 6.

    .. math::
        v_I = f_I \, x_{ij} \qquad V_{IJ} = f_I f_J \, x_{ijkl} \qquad f = (1, 1, 1, f, f, f)

    Parameters
    ----------
    x : array of shape (..., 3, 3) or (..., 3, 3, 3, 3)
        Tensors, symmetric in the first and in the last pair of indices. Only the symmetric part of others is used.
    rank : {2, 4}
        Number of indices.
    convention : {'stress', 'stiffness', 'strain', 'compliance', 'mandel'}
        Factor f of shears: 1 for stress and stiffness, 2 for strain and compliance, :math:`\sqrt2` for Mandel's
        notation. So Hooke's law holds for stress, stiffness and strain, or in Mandel's notation, as in

        .. math:: \sigma_{ij} = \sum_{kl} C_{ijkl} \varepsilon_{kl} \;\Leftrightarrow\; \sigma_I = \sum_J C_{IJ}
            \varepsilon_J

    Returns
    -------
    array of shape (..., 6) or (..., 6, 6)
        Components in the order xx, yy, zz, yz, xz, xy.

    Raises
    ------
    ValueError
        If ``x`` has another shape, or ``rank`` or ``convention`` is none of these.
    TypeError
        If ``x`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> strain = np.asarray([[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> tensor_to_voigt(strain, convention="strain")
    array([1., 2., 3., 0., 0., 1.])
    """
    _check_rank(rank)
    backend = _checked_backend(x, convention, (3,) * rank)
    pairs = backend.xp.reshape(x, (*x.shape[: x.ndim - rank], *(9,) * (rank // 2)))
    return _transform(backend, pairs, rank, backend.table(_to_voigt, convention, like=x))


def voigt_to_tensor(x: Array, rank: int = 2, convention: Convention = "stress") -> Array:
    """Return the symmetric tensors of vectors or matrices of length 6, the inverse of :func:`tensor_to_voigt`.

    Parameters
    ----------
    x : array of shape (..., 6) or (..., 6, 6)
        Components in the order xx, yy, zz, yz, xz, xy.
    rank : {2, 4}
        Number of indices of the result.
    convention : {'stress', 'stiffness', 'strain', 'compliance', 'mandel'}
        Factor of the components of shear, see :func:`tensor_to_voigt`.

    Returns
    -------
    array of shape (..., 3, 3) or (..., 3, 3, 3, 3)
        The tensors.

    Raises
    ------
    ValueError
        If ``x`` has another shape, or ``rank`` or ``convention`` is none of these.
    TypeError
        If ``x`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> voigt_to_tensor(np.asarray([1.0, 2.0, 3.0, 0.0, 0.0, 1.0]), convention="strain")
    array([[1. , 0.5, 0. ],
           [0.5, 2. , 0. ],
           [0. , 0. , 3. ]])
    """
    _check_rank(rank)
    backend = _checked_backend(x, convention, (6,) * (rank // 2))
    pairs = _transform(backend, x, rank, backend.table(_from_voigt, convention, like=x))
    return backend.xp.reshape(pairs, (*x.shape[: x.ndim - rank // 2], *(3,) * rank))


def _check_rank(rank: int) -> None:
    if rank not in (2, 4):
        raise ValueError(f"expected rank to be 2 or 4, got {shown(rank)}")


def _checked_backend(x: Array, convention: Convention, trailing: tuple[int, ...]) -> Backend:
    backend = floating_backend(x=x)
    if convention not in tuple(_FACTORS):
        raise ValueError(f"expected a convention of {tuple(_FACTORS)}, got {shown(convention)}")
    if tuple(x.shape[max(x.ndim - len(trailing), 0) :]) != trailing:
        raise ValueError(f"expected x of shape (..., {', '.join(map(str, trailing))}), got {tuple(x.shape)}")
    return backend


def _transform(backend: Backend, x: Array, rank: int, table: Array) -> Array:
    """Multiply one axis (rank 2) or two axes (rank 4) by a table."""
    x = backend.matmul(x, table, precision="highest")
    return x if rank == 2 else backend.matmul(backend.xp.matrix_transpose(table), x, precision="highest")


def _to_voigt(convention: Convention) -> NDArray[np.float64]:
    """Return the matrix from pairs to Voigt's indices, shape (9, 6): means of i, j and j, i, times factors."""
    table = np.zeros((3, 3, 6))
    for index, (i, j) in enumerate(_PAIRS):
        factor = 1.0 if i == j else _FACTORS[convention]
        table[i, j, index] += factor / 2
        table[j, i, index] += factor / 2
    return table.reshape(9, 6)


def _from_voigt(convention: Convention) -> NDArray[np.float64]:
    """Return the matrix from Voigt's indices to pairs, shape (6, 9)."""
    table = _to_voigt(convention).T
    inverse: NDArray[np.float64] = (table > 0) / table.sum(axis=1, keepdims=True)
    return inverse
