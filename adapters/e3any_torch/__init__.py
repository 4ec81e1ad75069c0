"""PyTorch modules for the layers of e3any."""

# ruff: noqa: E402 - require names a missing package before the imports fail

from e3any.extras import require

require("torch", "torch")

from e3any import Config, Irreps, Layout, __version__
from e3any_torch import matrix, nn, ops, parallel, so3
from e3any_torch.module import LayerModule, module_class, to_torch
from e3any_torch.trees import load_tree, to_state_dict, to_tree

__all__ = [
    "Config",
    "Irreps",
    "LayerModule",
    "Layout",
    "__version__",
    "load_tree",
    "matrix",
    "module_class",
    "nn",
    "ops",
    "parallel",
    "so3",
    "to_state_dict",
    "to_torch",
    "to_tree",
]
