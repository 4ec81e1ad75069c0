"""Radial basis functions of distances, one file per family. Derivatives are finite everywhere."""

from e3any.nn.radial.arguments import check_num
from e3any.nn.radial.bernstein import basic_bernstein
from e3any.nn.radial.chebyshev import basic_chebyshev
from e3any.nn.radial.gaussian import basic_gaussian
from e3any.nn.radial.mapped import (
    exponential_bernstein,
    exponential_chebyshev,
    exponential_fourier,
    exponential_gaussian,
    reciprocal_bernstein,
    reciprocal_chebyshev,
    reciprocal_fourier,
    reciprocal_gaussian,
)
from e3any.nn.radial.mappings import ReciprocalMapping, exponential_mapping, reciprocal_mapping
from e3any.nn.radial.trigonometric import basic_fourier, bessel, sinc
from e3any.nn.radial.windows import rectangular_window, smooth_window, triangular_window

__all__ = [
    "ReciprocalMapping",
    "basic_bernstein",
    "basic_chebyshev",
    "basic_fourier",
    "basic_gaussian",
    "bessel",
    "check_num",
    "exponential_bernstein",
    "exponential_chebyshev",
    "exponential_fourier",
    "exponential_gaussian",
    "exponential_mapping",
    "reciprocal_bernstein",
    "reciprocal_chebyshev",
    "reciprocal_fourier",
    "reciprocal_gaussian",
    "reciprocal_mapping",
    "rectangular_window",
    "sinc",
    "smooth_window",
    "triangular_window",
]
