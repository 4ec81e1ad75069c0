"""The functions and layers of e3any on NumPy arrays and lists."""

from e3any import Config, Irreps, Layout, __version__
from e3any_numpy import matrix, nn, ops, so3
from e3any_numpy.function import LayerFunction, function_class, to_numpy

__all__ = [
    "Config",
    "Irreps",
    "LayerFunction",
    "Layout",
    "__version__",
    "function_class",
    "matrix",
    "nn",
    "ops",
    "so3",
    "to_numpy",
]
