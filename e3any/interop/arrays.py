"""Components, harmonics, Wigner-D matrices and Clebsch-Gordan coefficients in conventions of other libraries."""

from __future__ import annotations

import math

import numpy as np
from e3any_backends import Array, backend_of
from numpy.typing import NDArray

from e3any.checks import check_axis, check_integer, floating_backend
from e3any.config import Normalization, normalization_or_default
from e3any.conventions import component_degrees, normalization_factor
from e3any.interop.convention import Convention, change_of_basis, convention_of

__all__ = [
    "from_clebsch_gordan",
    "from_components",
    "from_spherical_harmonics",
    "from_wigner_d",
    "multiply",
    "to_clebsch_gordan",
    "to_components",
    "to_spherical_harmonics",
    "to_wigner_d",
]


def to_components(x: Array, convention: Convention | str, *, axis: int = -2) -> Array:
    r"""Return components of all degrees in the convention of another library, :math:`x'_l = Q_l x_l`.

    Parameters
    ----------
    x : array of shape (..., (L+1)^2, ...)
        Components in Cartesian order, such as features (..., P, (L+1)^2, F).
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.
    axis : int
        The axis of components.

    Returns
    -------
    array of shape (..., (L+1)^2, ...)
        The components.

    Raises
    ------
    ValueError
        If the convention is not known, there is no such axis, or its length is not a square.
    TypeError
        If ``x`` is not a floating-point array.
    """
    return multiply(change_of_basis(convention, _degree(x, axis)), x, axis)


def from_components(x: Array, convention: Convention | str, *, axis: int = -2) -> Array:
    r"""Return components of another library in the convention of e3any, :math:`x_l = Q_l^T x'_l`.

    The inverse of :func:`to_components`, with its arguments; errors are those of :func:`to_components`.
    """
    return multiply(change_of_basis(convention, _degree(x, axis)).T, x, axis)


def to_spherical_harmonics(
    y: Array, convention: Convention | str, *, normalization: Normalization | None = None
) -> Array:
    r"""Return harmonics in the convention of another library, :math:`Y'_l = \mathcal N_l Q_l Y_l`.

    Parameters
    ----------
    y : array of shape (..., (L+1)^2)
        Harmonics in Cartesian order and Racah's normalisation.
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.
    normalization : {'racah', '4pi', 'orthonormal'}, optional
        The normalisation of the result; by default that of the convention. e3nn calls them ``'norm'``,
        ``'component'`` and ``'integral'``.

    Returns
    -------
    array of shape (..., (L+1)^2)
        The harmonics.

    Raises
    ------
    ValueError
        If the convention or the normalisation is not known, or the length of the axis is not a square.
    TypeError
        If ``y`` is not a floating-point array.
    """
    factors = _factors(convention, _degree(y, -1), normalization)
    return to_components(y, convention, axis=-1) * _along_last_axis(factors, y)


def from_spherical_harmonics(
    y: Array, convention: Convention | str, *, normalization: Normalization | None = None
) -> Array:
    r"""Return harmonics of another library in the convention of e3any, :math:`Y_l = Q_l^T Y'_l / \mathcal N_l`.

    The inverse of :func:`to_spherical_harmonics`, with its arguments; errors are those of
    :func:`to_spherical_harmonics`.
    """
    factors = _factors(convention, _degree(y, -1), normalization)
    return from_components(y / _along_last_axis(factors, y), convention, axis=-1)


def to_wigner_d(d: Array, convention: Convention | str) -> Array:
    r"""Return a Wigner-D matrix in the convention of another library, :math:`Q D^T Q^T` if it acts on columns.

    Parameters
    ----------
    d : array of shape (..., (L+1)^2, (L+1)^2)
        The matrix of the rotation R that acts on rows, in Cartesian order.
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.

    Returns
    -------
    array of shape (..., (L+1)^2, (L+1)^2)
        The matrix of the same rotation. A library that acts on columns writes this rotation as :math:`R^T`.

    Raises
    ------
    ValueError
        If the convention is not known, or ``d`` is not of this shape.
    TypeError
        If ``d`` is not a floating-point array.
    """
    _check_cube(d, "d", 2)
    d = to_components(to_components(d, convention, axis=-1), convention, axis=-2)
    return backend_of(d).xp.matrix_transpose(d) if convention_of(convention).columns else d


def from_wigner_d(d: Array, convention: Convention | str) -> Array:
    r"""Return a Wigner-D matrix of another library in the convention of e3any, :math:`Q^T D'^T Q` for one on columns.

    The inverse of :func:`to_wigner_d`, with its arguments; errors are those of :func:`to_wigner_d`.
    """
    _check_cube(d, "d", 2)
    d = from_components(from_components(d, convention, axis=-1), convention, axis=-2)
    return backend_of(d).xp.matrix_transpose(d) if convention_of(convention).columns else d


def to_clebsch_gordan(cg: Array, convention: Convention | str) -> Array:
    r"""Return Clebsch-Gordan coefficients of all degrees in the convention of another library.

    .. math:: C'_{ijk} = \mathcal N \sum_{abc} Q_{ia} Q_{jb} Q_{kc} \, C_{abc}

    Parameters
    ----------
    cg : array of shape ((L1+1)^2, (L2+1)^2, (L3+1)^2)
        The coefficients of :func:`e3any.so3.clebsch_gordan`, in Cartesian order.
    convention : Convention or str
        A convention, or its name in :data:`CONVENTIONS`.

    Returns
    -------
    array of shape ((L1+1)^2, (L2+1)^2, (L3+1)^2)
        The coefficients. Those of e3nn are 3j symbols (https://dlmf.nist.gov/34.2), smaller by the factor
        :math:`\sqrt{2 l_3 + 1}`.

    Raises
    ------
    ValueError
        If the convention is not known, or ``cg`` is not of this shape.
    TypeError
        If ``cg`` is not a floating-point array.
    """
    _check_cube(cg, "cg", 3)
    for axis in range(3):
        cg = to_components(cg, convention, axis=axis)
    return cg / _along_last_axis(_coupling_norms(convention, cg), cg)


def from_clebsch_gordan(cg: Array, convention: Convention | str) -> Array:
    """Return Clebsch-Gordan coefficients of another library in the convention of e3any.

    The inverse of :func:`to_clebsch_gordan`, with its arguments; errors are those of :func:`to_clebsch_gordan`.
    """
    _check_cube(cg, "cg", 3)
    cg = cg * _along_last_axis(_coupling_norms(convention, cg), cg)
    for axis in range(3):
        cg = from_components(cg, convention, axis=axis)
    return cg


def _along_last_axis(factors: NDArray[np.float64], x: Array) -> Array:
    """Return factors as an array that broadcasts along the last axis of ``x``."""
    backend = backend_of(x)
    return backend.aligned(backend.constant(factors, like=x), x)


def _check_cube(x: Array, name: str, rank: int) -> None:
    """Raise an error unless an array has two last axes of the same components, or three axes of components."""
    floating_backend(**{name: x})
    shape = tuple(x.shape)
    if len(shape) < rank or (rank == 3 and len(shape) > 3) or (rank == 2 and shape[-1] != shape[-2]):
        axes = ", ".join(["..."] * (rank == 2) + ["(max_degree+1)**2"] * rank)
        raise ValueError(f"expected {name} of shape ({axes}), got {shape}")
    for axis in range(-rank, 0):
        _degree(x, axis)


def _degree(x: Array, axis: int) -> int:
    floating_backend(x=x)
    check_integer(axis, "axis", least=None)
    check_axis(axis, len(x.shape))
    count = x.shape[axis]
    degree = math.isqrt(count) - 1
    if degree < 0 or (degree + 1) ** 2 != count:
        raise ValueError(f"expected (max_degree+1)**2 components along axis {axis}, got shape {tuple(x.shape)}")
    return degree


def multiply(matrix: NDArray[np.float64], x: Array, axis: int) -> Array:
    """Multiply a matrix by the column vectors along an axis."""
    backend = backend_of(x)
    rows = backend.xp.moveaxis(x, axis, -1)
    product = backend.matmul(rows, backend.constant(matrix.T, like=x), precision="highest")
    return backend.xp.moveaxis(product, -1, axis)


def _factors(convention: Convention | str, max_degree: int, normalization: Normalization | None) -> NDArray[np.float64]:
    change_of_basis(convention, max_degree)  # raises if the convention is invalid
    default = convention_of(convention).normalization
    chosen = normalization_or_default(default if normalization is None else normalization)
    return np.asarray([normalization_factor(chosen, int(l)) for l in component_degrees(max_degree)])


def _coupling_norms(convention: Convention | str, cg: Array) -> NDArray[np.float64]:
    degree = _degree(cg, 2)
    change_of_basis(convention, degree)  # raises if the convention is invalid
    degrees = component_degrees(degree)
    return np.sqrt(2.0 * degrees + 1) if convention_of(convention).unit_couplings else np.ones(len(degrees))
