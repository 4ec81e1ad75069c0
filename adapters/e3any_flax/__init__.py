"""Flax modules for the layers of e3any, under the names of e3x.

``import e3any_flax as e3x`` in a program for e3x gives the same modules, with the same trees of parameters.
:mod:`e3any_flax.nn` has modules of Linen, :mod:`e3any_flax.nnx` those of NNX.
"""

from e3any import Config, Layout, __version__
from e3any_flax import matrix, nn, nnx, ops, so3
from e3any_flax.e3x_checkpoint import load_e3x
from e3any_flax.linen import LayerModule, linen_class, to_linen
from e3any_flax.nnx_module import to_nnx
from e3any_flax.trees import load_tree, to_tree

__all__ = [
    "Config",
    "LayerModule",
    "Layout",
    "__version__",
    "linen_class",
    "load_e3x",
    "load_tree",
    "matrix",
    "nn",
    "nnx",
    "ops",
    "so3",
    "to_linen",
    "to_nnx",
    "to_tree",
]
