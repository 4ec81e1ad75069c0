"""Pictures: harmonics, features, couplings, functions, curves of training and errors.

Needs the extra ``plot``; :mod:`e3any` does not import this package. Surfaces are interactive plotly figures, all others
are matplotlib figures, which notebooks show and ``figure.savefig(path)`` writes. Arrays can be those of any library.
"""

# ruff: noqa: E402 - require names a missing package before the imports fail

from e3any.extras import require

require("plot", "matplotlib", "plotly")

from e3any.plot.coupling import couplings
from e3any.plot.equivariance import equivariance_errors
from e3any.plot.features import features, rotated_features
from e3any.plot.functions import activations, radial_functions, scalar_functions
from e3any.plot.harmonics import spherical_harmonics
from e3any.plot.paths import tensor_paths
from e3any.plot.training import learning_curves

__all__ = [
    "activations",
    "couplings",
    "equivariance_errors",
    "features",
    "learning_curves",
    "radial_functions",
    "rotated_features",
    "scalar_functions",
    "spherical_harmonics",
    "tensor_paths",
]
