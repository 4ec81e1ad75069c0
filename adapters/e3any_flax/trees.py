"""Trees of parameters from and to Flax: Linen variables, NNX modules and states."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from e3any_backends.numpy_arrays import native

from e3any.nn.layer import check_tree
from e3any_flax.linen import merged

__all__ = ["load_tree", "to_tree"]

_COLLECTIONS = ("params", "batch_stats")


def to_tree(params: Any) -> dict[str, Any]:
    """Return parameters as a nested dictionary of NumPy arrays.

    Parameters
    ----------
    params : mapping or flax.nnx.Module
        Variables of a Linen module (``{"params": ...}``, with ``batch_stats`` if there are any), or its parameters; an
        NNX module or its state, of which every :class:`flax.nnx.Param` and :class:`flax.nnx.BatchStat` is returned.

    Returns
    -------
    dict
        The tree, ready for :func:`e3any.checkpoint.save`. Indices of NNX lists become names: ``"0"``, ``"1"``, ...

    Raises
    ------
    TypeError
        If ``params`` has another type.
    """
    if _is_nnx(params):
        from e3any_flax.nnx_state import params_of

        return _mapped(lambda param: np.asarray(param[...]), params_of(params))
    _check_holder(params)
    return _mapped(np.asarray, _together(params))


def load_tree(like: Any, tree: Mapping[str, Any]) -> Any:
    """Return variables for a module from a nested mapping of arrays, or copy them to an NNX module.

    Parameters
    ----------
    like : mapping or flax.nnx.Module
        Variables of a Linen module (``{"params": ...}``), or its parameters; an NNX module, which is changed, or a
        state of it, which is not. Shapes (:class:`jax.ShapeDtypeStruct`) can replace arrays.
    tree : mapping
        The tree, from :func:`e3any.checkpoint.load`.

    Returns
    -------
    dict or flax.nnx.State or None
        JAX arrays in the nesting and the dtypes of ``like``, with all other variables of ``like``. None if ``like`` is
        a module.

    Raises
    ------
    ValueError
        If parameters are missing or left over, or if a shape differs; nothing is changed then.
    TypeError
        If ``like`` has another type, the tree is not a mapping, or a leaf is not a floating-point array; nothing is
        changed then.
    """
    if _is_nnx(like):
        from e3any_flax.nnx_state import params_of, replace_params

        return replace_params(like, _loaded(params_of(like), tree))
    _check_holder(like)
    loaded = _loaded(_together(like), tree)
    collections = {name: _mapped(lambda _, new: new, like[name], loaded) for name in _COLLECTIONS if name in like}
    return {**like, **collections} if collections else loaded


def _together(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return parameters and statistics as one tree, from variables or from parameters alone."""
    collections = [variables[name] for name in _COLLECTIONS if name in variables]
    return merged(*collections) if collections else variables


def _loaded(like: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    check_tree(tree, like)
    return _mapped(lambda old, new: jnp.asarray(native(new), old.dtype), like, tree)


def _check_holder(params: Any) -> None:
    if not isinstance(params, Mapping):
        raise TypeError(f"expected a mapping of parameters or a module of NNX, got {type(params).__name__}")


def _is_nnx(x: Any) -> bool:
    # NNX takes long to import. If it is not imported, there are no NNX modules.
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(x, nnx.Module | nnx.State)


def _mapped(function: Callable[..., Any], like: Mapping[str, Any], *trees: Mapping[str, Any]) -> dict[str, Any]:
    """Map the leaves of ``like`` and those of other trees under the same names. Other trees can lack empty nodes."""
    return {
        name: _mapped(function, value, *(tree.get(name, {}) for tree in trees))
        if isinstance(value, Mapping)
        else function(value, *(tree[name] for tree in trees))
        for name, value in like.items()
    }
