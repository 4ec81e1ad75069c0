"""Trees of NumPy arrays, without any framework: maps over their leaves, and parameters that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from e3any import nn


def tree_map(function: Callable, tree: Any) -> Any:
    """Map the arrays in dictionaries, tuples and lists; None and Python objects are kept."""
    if isinstance(tree, dict):
        return {name: tree_map(function, x) for name, x in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(function, x) for x in tree))
    if isinstance(tree, tuple | list):
        return type(tree)(tree_map(function, x) for x in tree)
    return function(tree) if hasattr(tree, "dtype") else tree


def tree_map_specs(specs: dict, function: Callable) -> dict:
    """Map the specifications of parameters."""
    return {n: tree_map_specs(s, function) if isinstance(s, dict) else function(s) for n, s in specs.items()}


def is_float(x: Any) -> bool:
    """Return whether an array of NumPy has real numbers."""
    return x.dtype.kind == "f"


def random_parameters(layer: nn.Layer, rng: np.random.Generator, inputs: tuple, options: dict) -> dict:
    """Draw all parameters, biases and forbidden couplings included, from a normal distribution; statistics are > 0."""
    specs = layer.parameters(*inputs, **options)

    def drawn(spec: nn.ParameterSpec) -> np.ndarray:
        return rng.uniform(0.5, 1.5, spec.shape) if spec.is_statistic else rng.normal(size=spec.shape)

    return tree_map_specs(specs, drawn)
