"""Trees of parameters from and to Flax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
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
    tree: dict[str, Any] = jax.tree.map(np.asarray, dict(params.get("params", params)))
    return tree


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
        JAX arrays in the nesting and the dtypes of ``like``.

    Raises
    ------
    ValueError
        If parameters are missing or left over, or if a shape differs.
    """
    inner = like.get("params", like)
    check_tree(tree, inner)
    params = jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), dict(inner), dict(tree))
    return {"params": params} if "params" in like else params
