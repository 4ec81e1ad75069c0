"""Trees of parameters from and to Flax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from e3any.nn.layer import check_tree

__all__ = ["load_tree", "to_tree"]


def to_tree(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a nested dictionary of NumPy arrays.

    Parameters
    ----------
    params : mapping
        Variables of a module (``{"params": ...}``), or its parameters.

    Returns
    -------
    dict
        The tree, ready for :func:`e3any.checkpoint.save`.
    """
    return _mapped(np.asarray, params.get("params", params))


def load_tree(like: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables for a module from a nested mapping of arrays.

    Parameters
    ----------
    like : mapping
        Variables of the module (``{"params": ...}``), or its parameters; shapes may stand for arrays.
    tree : mapping
        The tree, from :func:`e3any.checkpoint.load`.

    Returns
    -------
    dict
        JAX arrays in the nesting and the dtypes of ``like``, and all other collections of variables that it has.

    Raises
    ------
    ValueError
        If parameters are missing or left over, or if a shape differs.
    """
    inner = like.get("params", like)
    check_tree(tree, inner)
    params = _mapped(lambda old, new: jnp.asarray(new, old.dtype), inner, tree)
    return {**like, "params": params} if "params" in like else params


def _mapped(function: Callable[..., Any], like: Mapping[str, Any], *trees: Mapping[str, Any]) -> dict[str, Any]:
    """Map the leaves of ``like`` and those at the same places of other trees, which may lack empty nodes."""
    return {
        name: _mapped(function, value, *(tree.get(name, {}) for tree in trees))
        if isinstance(value, Mapping)
        else function(value, *(tree[name] for tree in trees))
        for name, value in like.items()
    }
