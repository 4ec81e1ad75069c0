r"""Traceless symmetric Cartesian tensors and irreps.

A tensor of rank l that is symmetric and traceless in all its indices has 2l+1 independent components, which transform
as degree l. Vectors are coupled one by one, to the largest degree each time,

.. math::
    y^{(k)} = C^{(1,\,k-1,\,k)} (x_{i_k} \otimes y^{(k-1)}) \qquad k = 2 \dots l

so that no table is larger than that of the last step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from e3any_backends import Array, Backend
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.checks import check_degree, check_number, floating_backend
from e3any.config import Normalization, cartesian_order_or_default, normalization_or_default
from e3any.conventions import cartesian_permutation, normalization_factor
from e3any.so3.clebsch_gordan import clebsch_gordan_for_degrees

__all__ = ["irreps_to_tensor", "is_traceless_symmetric", "tensor_to_irreps"]


def tensor_to_irreps(
    x: Array, degree: int, cartesian_order: bool | None = None, normalization: Normalization | None = None
) -> Array:
    r"""Return the components of degree l of traceless symmetric tensors of rank l.

    .. math::
        \vec r \otimes \dots \otimes \vec r - \text{traces} \;\mapsto\; \lVert\vec r\rVert^l \, Y_l(\vec r)

    Parameters
    ----------
    x : array of shape (..., 3, ..., 3)
        Tensors with ``degree`` indices; of shape (..., 1) if ``degree`` is 0. Only the traceless symmetric part of
        other tensors is used.
    degree : int
        Degree and rank l.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.
    normalization : {'racah', 'schmidt', '4pi', 'orthonormal'}, optional
        Normalisation of the harmonics; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., 2*degree + 1)
        The components, of the library, dtype and device of ``x``.

    Raises
    ------
    ValueError
        If ``x`` has another shape, ``degree`` is not an integer >= 0, or the normalization is unknown.
    TypeError
        If ``x`` is not a floating-point array.

    See Also
    --------
    irreps_to_tensor : The inverse.
    CartesianTensor : Tensors of any rank and symmetry.

    Examples
    --------
    >>> import numpy as np
    >>> tensor_to_irreps(np.diag([-1.0, -1.0, 2.0]), degree=2)
    array([0., 0., 0., 0., 3.])
    """
    backend = _checked_backend(x, degree)
    cartesian_order = cartesian_order_or_default(cartesian_order)
    scale = normalization_factor(normalization_or_default(normalization), degree) / _norm_of_power(degree)
    for l in range(2, degree + 1):
        flat = backend.xp.reshape(x, (*x.shape[:-2], 3 * (2 * l - 1)))
        x = backend.matmul(flat, backend.table(_coupling, l, like=x), precision="highest")
    return _reorder(backend, x * scale, degree, cartesian_order, _from_cartesian_order)


def irreps_to_tensor(
    x: Array, degree: int, cartesian_order: bool | None = None, normalization: Normalization | None = None
) -> Array:
    r"""Return the traceless symmetric tensors of rank l with given components of degree l.

    .. math::
        \lVert\vec r\rVert^l \, Y_l(\vec r) \;\mapsto\; \vec r \otimes \dots \otimes \vec r - \text{traces}

    Parameters
    ----------
    x : array of shape (..., 2*degree + 1)
        Components.
    degree : int
        Degree and rank l.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.
    normalization : {'racah', 'schmidt', '4pi', 'orthonormal'}, optional
        Normalisation of the harmonics; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., 3, ..., 3)
        Tensors with ``degree`` indices, or of shape (..., 1) if ``degree`` is 0, of the library, dtype and device of
        ``x``.

    Raises
    ------
    ValueError
        If ``x`` has another shape, ``degree`` is not an integer >= 0, or the normalization is unknown.
    TypeError
        If ``x`` is not a floating-point array.

    See Also
    --------
    tensor_to_irreps : The inverse.
    CartesianTensor : Tensors of any rank and symmetry.

    Examples
    --------
    >>> import numpy as np
    >>> irreps_to_tensor(np.asarray([0.0, 0.0, 0.0, 0.0, 3.0]), degree=2).round(3) + 0.0
    array([[-1.,  0.,  0.],
           [ 0., -1.,  0.],
           [ 0.,  0.,  2.]])
    """
    backend = floating_backend(x=x)
    check_degree(degree, "degree")
    cartesian_order = cartesian_order_or_default(cartesian_order)
    if x.ndim < 1 or x.shape[-1] != 2 * degree + 1:
        raise ValueError(f"expected x of shape (..., {2 * degree + 1}) for degree {degree}, got {tuple(x.shape)}")
    scale = _norm_of_power(degree) / normalization_factor(normalization_or_default(normalization), degree)
    x = _reorder(backend, x * scale, degree, cartesian_order, _to_cartesian_order)
    for l in range(degree, 1, -1):
        table = backend.xp.matrix_transpose(backend.table(_coupling, l, like=x))
        flat = backend.matmul(x, table, precision="highest")
        x = backend.xp.reshape(flat, (*x.shape[:-1], 3, 2 * l - 1))
    return x


def is_traceless_symmetric(x: Array, degree: int, rtol: float = 1e-5, atol: float = 1e-5) -> Array:
    r"""Return whether tensors are symmetric and traceless in all their indices.

    Numbers a and b count as equal if :math:`|a - b| \le \mathrm{atol} + \mathrm{rtol}\,|b|`.

    Parameters
    ----------
    x : array of shape (..., 3, ..., 3)
        Tensors with ``degree`` indices; of shape (..., 1) if ``degree`` is 0.
    degree : int
        Number of indices.
    rtol, atol : float
        Relative and absolute tolerance.

    Returns
    -------
    bool array of shape ()
        Whether all tensors are traceless and symmetric; scalars and vectors are.

    Raises
    ------
    ValueError
        If ``x`` has another shape, ``degree`` is not an integer >= 0, or a tolerance is negative or NaN.
    TypeError
        If ``x`` is not a floating-point array, or a tolerance is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> bool(is_traceless_symmetric(np.diag([1.0, 1.0, -2.0]), degree=2))
    True
    """
    backend = _checked_backend(x, degree)
    check_number(rtol, "rtol", least=0.0)
    check_number(atol, "atol", least=0.0)
    xp = backend.xp
    if degree < 2:
        return xp.all(xp.ones_like(x, dtype=xp.bool))
    # Entries whose indices are permutations of each other are equal if the largest and the smallest of them are.
    largest, smallest = (_over_permutations(backend, x, degree, f) for f in (xp.maximum, xp.minimum))
    symmetric = xp.maximum(largest - x, x - smallest) <= atol + rtol * xp.abs(x)
    traces = x[..., 0, 0] + x[..., 1, 1] + x[..., 2, 2]
    return xp.all(symmetric) & xp.all(xp.abs(traces) <= atol)


def _over_permutations(backend: Backend, x: Array, degree: int, reduce: Callable[[Array, Array], Array]) -> Array:
    """Reduce a tensor and all its transposes: every permutation is a product of swaps (i, k), one for each k."""
    xp = backend.xp
    axes = list(range(x.ndim))
    lead = x.ndim - degree
    for k in range(lead + 1, x.ndim):
        result = x
        for i in range(lead, k):
            swapped = [*axes]
            swapped[i], swapped[k] = k, i
            result = reduce(result, xp.permute_dims(x, tuple(swapped)))
        x = result
    return x


def _checked_backend(x: Array, degree: int) -> Backend:
    backend = floating_backend(x=x)
    check_degree(degree, "degree")
    trailing = (3,) * degree if degree > 0 else (1,)
    if tuple(x.shape[max(x.ndim - len(trailing), 0) :]) != trailing:
        shape = ", ".join(map(str, ("...", *trailing)))
        raise ValueError(f"expected x of shape ({shape}) for degree {degree}, got {tuple(x.shape)}")
    return backend


def _coupling(degree: int) -> NDArray[np.float64]:
    """Return the coefficients that couple 1 and l-1 to l, in Cartesian order, as a matrix."""
    table: NDArray[np.float64] = clebsch_gordan_for_degrees(1, degree - 1, degree, cartesian_order=True)
    return table.reshape(-1, 2 * degree + 1)


@host_table
def _norm_of_power(degree: int) -> float:
    r"""Return the norm :math:`\sqrt{l! / (2l-1)!!}` of the traceless part of l factors of a unit vector."""
    return math.sqrt(math.prod(k / (2 * k - 1) for k in range(1, degree + 1)))


def _to_cartesian_order(degree: int) -> NDArray[np.intp]:
    return cartesian_permutation(degree)


def _from_cartesian_order(degree: int) -> NDArray[np.intp]:
    return np.argsort(cartesian_permutation(degree))


def _reorder(
    backend: Backend,
    x: Array,
    degree: int,
    cartesian_order: bool,
    permutation: Callable[[int], NDArray[np.intp]],
) -> Array:
    """Reorder components between Cartesian order and m = -l..l, unless ``cartesian_order``."""
    if cartesian_order or degree == 0:
        return x
    return backend.xp.take(x, backend.table(permutation, degree, like=x), axis=-1)
