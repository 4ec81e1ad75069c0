"""Mappings of distances to the interval (0, 1]."""

from __future__ import annotations

from typing import Literal, get_args

from e3any_backends import Array

from e3any.checks import check_flag, shown
from e3any.nn._functions import mean_decay_and_rest, scalar_like
from e3any.nn.cutoffs import checked_backend

__all__ = [
    "ReciprocalMapping",
    "exponential_mapping",
    "exponential_mapping_and_rest",
    "reciprocal_mapping",
    "reciprocal_mapping_and_rest",
]

ReciprocalMapping = Literal["shifted", "damped", "cuspless"]


def reciprocal_mapping(x: Array, kind: ReciprocalMapping = "shifted") -> Array:
    r"""Map distances to (0, 1], with a tail of 1/x.

    .. math::
        \rho_\mathrm{shifted}(x) = \frac{1}{x + 1} \qquad \rho_\mathrm{damped}(x) = \frac{1 - e^{-x}}{x}
        \qquad \rho_\mathrm{cuspless}(x) = \frac{1}{x + e^{-x}}

    Parameters
    ----------
    x : array
        Distances.
    kind : {'shifted', 'damped', 'cuspless'}, optional
        Which mapping; the derivative of the last one is zero at x = 0.

    Returns
    -------
    array of the shape of ``x``
        Values of the mapping.

    Raises
    ------
    ValueError
        If ``kind`` is unknown.
    TypeError
        If ``x`` is not a floating-point array.
    """
    return reciprocal_mapping_and_rest(x, kind)[0]


def exponential_mapping(x: Array, gamma: Array | float = 1.0, cuspless: bool = False) -> Array:
    r"""Map distances to (0, 1], with an exponential tail.

    .. math::
        \epsilon(x) = e^{-\gamma x} \qquad \epsilon_\mathrm{cuspless}(x) = e^{-\gamma (x + e^{-x} - 1)}

    Parameters
    ----------
    x : array
        Distances.
    gamma : float or array, optional
        Rate :math:`\gamma`. Arrays can be traced and differentiated.
    cuspless : bool, optional
        Whether to use the second form, whose derivative is zero at x = 0.

    Returns
    -------
    array of the shape of ``x``
        Values of the mapping.

    Raises
    ------
    ValueError
        If ``gamma`` is NaN or does not broadcast with ``x``, or ``cuspless`` is neither True nor False.
    TypeError
        If ``x`` is not a floating-point array, or ``gamma`` is neither a number nor an array of its library.
    """
    return exponential_mapping_and_rest(x, gamma, cuspless)[0]


def reciprocal_mapping_and_rest(x: Array, kind: ReciprocalMapping) -> tuple[Array, Array]:
    """Return a reciprocal mapping and the rest, 1 - mapping, which is precise near x = 0."""
    backend = checked_backend(x)
    if kind not in get_args(ReciprocalMapping):
        raise ValueError(f"expected kind to be one of {get_args(ReciprocalMapping)}, got {shown(kind)}")
    if kind == "damped":
        return mean_decay_and_rest(backend, x)
    xp = backend.xp
    mapping = 1.0 / (x + (1.0 if kind == "shifted" else xp.exp(-x)))
    far = x > 1.0
    near = xp.where(far, xp.zeros_like(x), x)
    rest = (near if kind == "shifted" else near + xp.expm1(-near)) * mapping
    return mapping, xp.where(far, 1.0 - mapping, rest)


def exponential_mapping_and_rest(x: Array, gamma: Array | float, cuspless: bool) -> tuple[Array, Array]:
    """Return an exponential mapping and the rest, 1 - mapping, which is precise near x = 0."""
    backend = checked_backend(x)
    check_flag(cuspless, "cuspless")
    xp = backend.xp
    y = -scalar_like(backend, gamma, x) * (x + xp.expm1(-x) if cuspless else x)
    return xp.exp(y), -xp.expm1(y)
