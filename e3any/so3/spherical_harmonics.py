"""Real spherical and solid harmonics."""

from __future__ import annotations

from e3any_backends import Array, Backend
from e3any_backends.forms.tables import host_table

from e3any.checks import check_degree, check_flag, check_vectors, floating_backend
from e3any.config import Normalization, cartesian_order_or_default, normalization_or_default
from e3any.conventions import cartesian_permutation, normalization_factor

__all__ = ["solid_harmonics", "spherical_harmonics"]


def spherical_harmonics(
    r: Array,
    max_degree: int,
    r_is_normalized: bool = False,
    cartesian_order: bool | None = None,
    normalization: Normalization | None = None,
) -> Array:
    r"""Evaluate all real spherical harmonics up to a degree.

    .. math::
        Y_l^m(\vec r) = \mathcal N_l \, \Pi_l^{|m|}(z) \begin{cases} s_{|m|}(x, y) & m < 0 \\
        c_m(x, y) & m \ge 0 \end{cases} \qquad c_m + i s_m = (x + i y)^m

    at the unit vector of :math:`\vec r`. Phases, order and normalisations are those of :mod:`e3any.conventions`.
    Polynomials in x, y and z avoid the angles, as in `sphericart <https://arxiv.org/abs/2302.08381>`_.

    Parameters
    ----------
    r : array of shape (..., 3)
        Vectors. At a zero vector, degree 0 has its usual value and all others are zero; derivatives of every
        order are finite there.
    max_degree : int
        Largest degree L.
    r_is_normalized : bool
        Promise that the vectors have norm 1. For other vectors the result is that of :func:`solid_harmonics`,
        times :math:`\mathcal N_l`.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.
    normalization : {'racah', 'schmidt', '4pi', 'orthonormal'}, optional
        Normalisation; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2)
        The harmonics, of the library, dtype and device of ``r``.

    Raises
    ------
    ValueError
        If the last axis of ``r`` is not of length 3, ``max_degree`` is not an integer >= 0, the normalization is
        unknown, or a flag is neither True nor False.
    TypeError
        If ``r`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> spherical_harmonics(np.asarray([0.0, 3.0, 4.0]), max_degree=1)
    array([1. , 0. , 0.6, 0.8])
    """
    backend = _checked_backend(r, max_degree)
    check_flag(r_is_normalized, "r_is_normalized")
    normalization = normalization_or_default(normalization)
    cartesian_order = cartesian_order_or_default(cartesian_order)
    factors = [normalization_factor(normalization, l) for l in range(max_degree + 1)]
    unit = not r_is_normalized and max_degree > 0
    return _evaluate(backend, r, factors, cartesian_order, unit)


def solid_harmonics(r: Array, max_degree: int, cartesian_order: bool | None = None) -> Array:
    r"""Evaluate all real regular solid harmonics up to a degree.

    .. math::
        R_l^m(\vec r) = \lVert\vec r\rVert^l \, Y_l^m(\vec r)

    with Racah's normalisation: homogeneous polynomials of degree l in x, y, z.

    Parameters
    ----------
    r : array of shape (..., 3)
        Vectors.
    max_degree : int
        Largest degree L.
    cartesian_order : bool, optional
        Whether the components are in Cartesian order; the default is that of :class:`e3any.Config`.

    Returns
    -------
    array of shape (..., (L+1)**2)
        The harmonics, of the library, dtype and device of ``r``.

    Raises
    ------
    ValueError
        If the last axis of ``r`` is not of length 3, or ``max_degree`` is not an integer >= 0.
    TypeError
        If ``r`` is not a floating-point array.

    Examples
    --------
    >>> import numpy as np
    >>> solid_harmonics(np.asarray([1.0, 2.0, 3.0]), max_degree=1)
    array([1., 1., 2., 3.])
    """
    backend = _checked_backend(r, max_degree)
    return _evaluate(backend, r, [1.0] * (max_degree + 1), cartesian_order_or_default(cartesian_order), unit=False)


def _checked_backend(r: Array, max_degree: int) -> Backend:
    backend = floating_backend(r=r)
    check_vectors(r)
    check_degree(max_degree)
    return backend


def _evaluate(backend: Backend, r: Array, factors: list[float], cartesian_order: bool, unit: bool) -> Array:
    """Evaluate harmonics of vectors, which are normalised first if ``unit``."""
    # 16-bit vectors are evaluated in float32, because intermediate results overflow.
    wide = backend.widened(r)
    y = backend.harmonics(wide, tuple(factors), _positions(len(factors), cartesian_order), unit)
    return y if wide.dtype == r.dtype else backend.xp.astype(y, r.dtype)


@host_table
def _positions(num_degrees: int, cartesian_order: bool) -> tuple[int, ...]:
    """Return the position of each component, degree by degree and m = -l..l, in the result."""
    if not cartesian_order:
        return tuple(range(num_degrees**2))
    orders = [cartesian_permutation(l).tolist() for l in range(num_degrees)]
    return tuple(l * l + orders[l].index(i) for l in range(num_degrees) for i in range(2 * l + 1))
