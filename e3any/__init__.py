"""E(3)-equivariant layers written once, against the Python array API standard.

Features have the shape ``(..., 1 or 2, (max_degree + 1)**2, features)``: parity, components of the irreps of
degrees 0 to ``max_degree``, channels. Or they are dictionaries of arrays by irrep, see :class:`Irreps`.
:mod:`e3any.so3` has the mathematics of rotations, :mod:`e3any.ops` operations on index lists, :mod:`e3any.nn` the
layers. Functions take arrays of any array API library and return the same kind.
"""

from e3any import nn, ops, so3
from e3any.config import Config
from e3any.irreps import Irreps
from e3any.layout import Layout

__version__ = "0.1.0"
__all__ = ["Config", "Irreps", "Layout", "__version__", "nn", "ops", "so3"]
