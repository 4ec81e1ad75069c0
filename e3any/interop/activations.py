"""Factors that make activations keep the second moment of normal numbers, as other libraries compute them."""

from __future__ import annotations

from typing import Literal, get_args

from e3any.checks import shown

__all__ = ["activation_scale"]

Source = Literal["exact", "e3nn", "e3nn-jax"]

# Exact values by quadrature. Others by the libraries' own code, normalize2mom of e3nn 0.6.0 and normalize_function of
# e3nn-jax 0.21.0 in single precision: means over a million random numbers of a fixed seed.
_SCALES: dict[str, dict[str, float]] = {
    "silu": {"exact": 1.676532470331091, "e3nn": 1.6791767923989418, "e3nn-jax": 1.6765648},
    "sigmoid": {"exact": 1.8462285453386054, "e3nn": 1.8467055342154763, "e3nn-jax": 1.8462294},
    "tanh": {"exact": 1.5925374197228315, "e3nn": 1.5937334472592695, "e3nn-jax": 1.5925387},
    "relu": {"exact": 2.0**0.5, "e3nn": 1.4163393446331365, "e3nn-jax": 1.4142330},
    "shifted_softplus": {"exact": 1.8755962561350417, "e3nn": 1.878204668541552, "e3nn-jax": 1.8756314},
    "abs": {"exact": 1.0, "e3nn": 1.001110600838467, "e3nn-jax": 1.0000132},
}


def activation_scale(activation: str, source: Source = "exact") -> float:
    r"""Return the factor by which other libraries multiply an activation.

    .. math:: c = \Bigl(\int \phi(x)^2\, \frac{e^{-x^2/2}}{\sqrt{2\pi}}\, dx\Bigr)^{-1/2}

    so that :math:`c\, \phi(x)` of normally distributed numbers has a second moment of 1. e3nn and e3nn-jax estimate the
    integral from a million random numbers. Models that were trained with one constant need that one: with the other one
    of SiLU, energies differ by several meV for each atom.

    Parameters
    ----------
    activation : {'silu', 'sigmoid', 'tanh', 'relu', 'shifted_softplus', 'abs'}
        The function.
    source : {'exact', 'e3nn', 'e3nn-jax'}
        Whose constant.

    Returns
    -------
    float
        The constant c.

    Raises
    ------
    ValueError
        If the function or the source is unknown.

    Examples
    --------
    >>> [round(activation_scale("silu", source), 5) for source in ("exact", "e3nn", "e3nn-jax")]
    [1.67653, 1.67918, 1.67656]
    """
    if activation not in tuple(_SCALES):
        raise ValueError(f"expected an activation of {tuple(_SCALES)}, got {shown(activation)}")
    if source not in get_args(Source):
        raise ValueError(f"expected a source of {get_args(Source)}, got {shown(source)}")
    return _SCALES[activation][source]
