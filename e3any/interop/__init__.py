r"""Conversion of arrays between :mod:`e3any.conventions` and the conventions of other libraries.

The components of degree l of another library are an orthogonal matrix times those of e3any:

.. math:: x' = Q_l x, \qquad Y'_l(r) = \mathcal N_l Q_l Y_l(r), \qquad Q_l = S_l D_l(P)^T

with the signed permutation :math:`S_l` to their order of components, the cyclic permutation P of x, y, z that takes
their polar axis to z, and the factor :math:`\mathcal N_l` of :func:`~e3any.conventions.normalization_factor`.
Coordinates do not change: both libraries have the same x axis.

All conversions are linear and take arrays of any array library. The other libraries are not imported.
"""

from e3any.interop.activations import activation_scale
from e3any.interop.arrays import (
    from_clebsch_gordan,
    from_components,
    from_spherical_harmonics,
    from_wigner_d,
    to_clebsch_gordan,
    to_components,
    to_spherical_harmonics,
    to_wigner_d,
)
from e3any.interop.blocks import gate_scales, linear_parameters, species_parameters
from e3any.interop.contractions import contraction_weights
from e3any.interop.convention import CONVENTIONS, Convention, change_of_basis
from e3any.interop.features import dense_parameters, from_features, linear_weights, to_features
from e3any.interop.mace import mace_model
from e3any.interop.messages import bessel_parameters, message_parameters, message_paths, network_kernels
from e3any.interop.products import tensor_parameters, tensor_weights
from e3any.interop.signs import coupling_sign

__all__ = [
    "CONVENTIONS",
    "Convention",
    "activation_scale",
    "bessel_parameters",
    "change_of_basis",
    "contraction_weights",
    "coupling_sign",
    "dense_parameters",
    "from_clebsch_gordan",
    "from_components",
    "from_features",
    "from_spherical_harmonics",
    "from_wigner_d",
    "gate_scales",
    "linear_parameters",
    "linear_weights",
    "mace_model",
    "message_parameters",
    "message_paths",
    "network_kernels",
    "species_parameters",
    "tensor_parameters",
    "tensor_weights",
    "to_clebsch_gordan",
    "to_components",
    "to_features",
    "to_spherical_harmonics",
    "to_wigner_d",
]
