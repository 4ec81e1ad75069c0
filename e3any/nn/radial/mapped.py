"""Radial functions without a limit: distances are mapped to (0, 1] first."""

from __future__ import annotations

from collections.abc import Callable

from e3any_backends import Array, Backend

from e3any.checks import check_flag
from e3any.nn.cutoffs import checked_backend
from e3any.nn.radial.arguments import check_num
from e3any.nn.radial.bernstein import bernstein
from e3any.nn.radial.chebyshev import chebyshev
from e3any.nn.radial.gaussian import gaussian
from e3any.nn.radial.mappings import (
    ReciprocalMapping,
    exponential_mapping_and_rest,
    reciprocal_mapping_and_rest,
)
from e3any.nn.radial.trigonometric import fourier

__all__ = [
    "exponential_bernstein",
    "exponential_chebyshev",
    "exponential_fourier",
    "exponential_gaussian",
    "reciprocal_bernstein",
    "reciprocal_chebyshev",
    "reciprocal_fourier",
    "reciprocal_gaussian",
]

Family = Callable[..., Array]


def reciprocal_bernstein(
    x: Array, num: int, kind: ReciprocalMapping = "shifted", use_reciprocal_weighting: bool = False
) -> Array:
    r"""Return Bernstein polynomials :math:`B_k(1 - \rho(x))` of a reciprocal mapping.

    See :func:`basic_bernstein` for the polynomials.

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    kind : {'shifted', 'damped', 'cuspless'}, optional
        The mapping :math:`\rho`, see :func:`reciprocal_mapping`.
    use_reciprocal_weighting : bool, optional
        Whether the functions are multiplied by :math:`\rho(x)`.

    Returns
    -------
    array of shape (..., num)
        Values of the functions.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, ``kind`` is unknown, or a flag is neither True nor False.
    TypeError
        If ``x`` is not a floating-point array.
    """
    return _of_reciprocal(bernstein, x, num, kind, use_reciprocal_weighting)


def reciprocal_chebyshev(
    x: Array, num: int, kind: ReciprocalMapping = "shifted", use_reciprocal_weighting: bool = False
) -> Array:
    r"""Return Chebyshev polynomials :math:`T_k(2 \rho(x) - 1)` of a reciprocal mapping.

    See :func:`basic_chebyshev` for the functions. Parameters, results and errors are those of
    :func:`reciprocal_bernstein`.
    """
    return _of_reciprocal(chebyshev, x, num, kind, use_reciprocal_weighting)


def reciprocal_fourier(
    x: Array, num: int, kind: ReciprocalMapping = "shifted", use_reciprocal_weighting: bool = False
) -> Array:
    r"""Return cosines :math:`\cos(\pi k (1 - \rho(x)))` of a reciprocal mapping.

    See :func:`basic_fourier` for the functions. Parameters, results and errors are those of
    :func:`reciprocal_bernstein`.
    """
    return _of_reciprocal(fourier, x, num, kind, use_reciprocal_weighting)


def reciprocal_gaussian(
    x: Array, num: int, kind: ReciprocalMapping = "shifted", use_reciprocal_weighting: bool = False
) -> Array:
    r"""Return Gaussians :math:`g_k(1 - \rho(x))` of a reciprocal mapping.

    See :func:`basic_gaussian` for the functions. Parameters, results and errors are those of
    :func:`reciprocal_bernstein`.
    """
    return _of_reciprocal(gaussian, x, num, kind, use_reciprocal_weighting)


def exponential_bernstein(
    x: Array,
    num: int,
    gamma: Array | float = 1.0,
    cuspless: bool = False,
    use_exponential_weighting: bool = False,
) -> Array:
    r"""Return Bernstein polynomials :math:`B_k(1 - \epsilon(x))` of an exponential mapping.

    (Unke et al., `SpookyNet <https://arxiv.org/abs/2105.00304>`_, 2021.)

    Parameters
    ----------
    x : array of shape (...)
        Distances.
    num : int
        Number of functions K.
    gamma : float or array, optional
        Rate :math:`\gamma` of the mapping. Arrays can be traced and differentiated.
    cuspless : bool, optional
        Which mapping :math:`\epsilon`, see :func:`exponential_mapping`.
    use_exponential_weighting : bool, optional
        Whether the functions are multiplied by :math:`\epsilon(x)`.

    Returns
    -------
    array of shape (..., num)
        Values of the functions.

    Raises
    ------
    ValueError
        If ``num`` is not an integer >= 1, ``gamma`` is NaN or does not broadcast with ``x``, or a flag is neither True
        nor False.
    TypeError
        If ``x`` is not a floating-point array, or ``gamma`` is neither a number nor an array of its library.
    """
    return _of_exponential(bernstein, x, num, gamma, cuspless, use_exponential_weighting)


def exponential_chebyshev(
    x: Array,
    num: int,
    gamma: Array | float = 1.0,
    cuspless: bool = False,
    use_exponential_weighting: bool = False,
) -> Array:
    r"""Return Chebyshev polynomials :math:`T_k(2 \epsilon(x) - 1)` of an exponential mapping.

    See :func:`basic_chebyshev` for the functions. Parameters, results and errors are those of
    :func:`exponential_bernstein`.
    """
    return _of_exponential(chebyshev, x, num, gamma, cuspless, use_exponential_weighting)


def exponential_fourier(
    x: Array,
    num: int,
    gamma: Array | float = 1.0,
    cuspless: bool = False,
    use_exponential_weighting: bool = False,
) -> Array:
    r"""Return cosines :math:`\cos(\pi k (1 - \epsilon(x)))` of an exponential mapping.

    See :func:`basic_fourier` for the functions. Parameters, results and errors are those of
    :func:`exponential_bernstein`.
    """
    return _of_exponential(fourier, x, num, gamma, cuspless, use_exponential_weighting)


def exponential_gaussian(
    x: Array,
    num: int,
    gamma: Array | float = 1.0,
    cuspless: bool = False,
    use_exponential_weighting: bool = False,
) -> Array:
    r"""Return Gaussians :math:`g_k(1 - \epsilon(x))` of an exponential mapping.

    See :func:`basic_gaussian` for the functions. Parameters, results and errors are those of
    :func:`exponential_bernstein`.
    """
    return _of_exponential(gaussian, x, num, gamma, cuspless, use_exponential_weighting)


def _of_reciprocal(
    family: Family, x: Array, num: int, kind: ReciprocalMapping, use_reciprocal_weighting: bool
) -> Array:
    backend = checked_backend(x)
    check_num(num)
    check_flag(use_reciprocal_weighting, "use_reciprocal_weighting")
    return _of_mapping(backend, family, *reciprocal_mapping_and_rest(x, kind), num, use_reciprocal_weighting)


def _of_exponential(
    family: Family, x: Array, num: int, gamma: Array | float, cuspless: bool, use_exponential_weighting: bool
) -> Array:
    backend = checked_backend(x)
    check_num(num)
    check_flag(use_exponential_weighting, "use_exponential_weighting")
    mapping, rest = exponential_mapping_and_rest(x, gamma, cuspless)
    return _of_mapping(backend, family, mapping, rest, num, use_exponential_weighting)


def _of_mapping(backend: Backend, family: Family, mapping: Array, rest: Array, num: int, use_weighting: bool) -> Array:
    """Evaluate a family of functions of the rest, 1 - mapping; Chebyshev polynomials are functions of the mapping."""
    if family is chebyshev:
        functions = chebyshev(backend, mapping, rest, num)
    else:
        functions = family(backend, rest, num)
    return functions * mapping[..., None] if use_weighting else functions
