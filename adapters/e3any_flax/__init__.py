"""Flax modules for the layers of e3any, under the names of e3x.

``import e3any_flax as e3x`` in a program for e3x gives the same modules, with the same trees of parameters. Files have
the same names as in e3x, so that ``sys.modules["e3x"] = e3any_flax`` also works for programs that import from files.
:mod:`e3any_flax.nn` has Linen modules, :mod:`e3any_flax.nnx` has NNX modules.
"""

# ruff: noqa: E402 - require names a missing package before the imports fail
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from e3any.extras import require

require("flax", "jax", "flax")

from e3any import Irreps, Layout, __version__
from e3any_flax import config as config
from e3any_flax import matrix, nn, ops, parallel, so3
from e3any_flax import util as util
from e3any_flax import version as version
from e3any_flax.alias import find_under_other_names
from e3any_flax.config import Config
from e3any_flax.e3x_checkpoint import load_e3x
from e3any_flax.linen import LayerModule, linen_class, to_linen
from e3any_flax.trees import load_tree, to_tree

if TYPE_CHECKING:
    from e3any_flax import nnx
    from e3any_flax.nnx_module import to_nnx

__all__ = [
    "Config",
    "Irreps",
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
    "parallel",
    "so3",
    "to_linen",
    "to_nnx",
    "to_tree",
]

find_under_other_names()


def __getattr__(name: str) -> Any:
    # On demand, because NNX takes long to import.
    if name == "nnx":
        return import_module("e3any_flax.nnx")
    if name == "to_nnx":
        return import_module("e3any_flax.nnx_module").to_nnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
