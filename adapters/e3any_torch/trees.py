"""Trees of parameters from and to PyTorch: modules and their ``state_dict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from e3any_backends.numpy_arrays import native

from e3any.nn.layer import check_tree, leaves

__all__ = ["load_tree", "to_numpy", "to_state_dict", "to_tree"]


def to_numpy(x: Any) -> Any:
    """Return a tensor, or those in a named tuple, as arrays of NumPy; bfloat16, which NumPy lacks, becomes float32."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(to_numpy, x))
    return x


def to_tree(params: torch.nn.Module | Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a nested dictionary of NumPy arrays.

    Parameters
    ----------
    params : torch.nn.Module or mapping
        A module, of which buffers are taken too, or parameters under dotted names: its ``state_dict``, or that of
        another one with the same names.

    Returns
    -------
    dict
        The tree, ready for :func:`e3any.checkpoint.save`; bfloat16, which NumPy lacks, becomes float32.

    Raises
    ------
    TypeError
        If ``params`` is neither.
    """
    if not isinstance(params, torch.nn.Module | Mapping):
        raise TypeError(f"expected a module or a mapping of tensors, got {type(params).__name__}")
    named = params.state_dict() if isinstance(params, torch.nn.Module) else params
    tree: dict[str, Any] = {}
    for key, value in named.items():
        *names, last = key.split(".")
        node = tree
        for name in names:
            node = node.setdefault(name, {})
        node[last] = to_numpy(value).copy()
    return tree


def to_state_dict(tree: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return a nested mapping of arrays as a ``state_dict``.

    Parameters
    ----------
    tree : mapping
        The tree, from :func:`e3any.checkpoint.load`.

    Returns
    -------
    dict
        Tensors under dotted names, for :meth:`torch.nn.Module.load_state_dict`.

    Raises
    ------
    TypeError
        If the tree is no mapping.
    """
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of parameters, got {type(tree).__name__}")
    return {".".join(names): _tensor(value) for names, value in leaves(tree)}


def load_tree(module: torch.nn.Module, tree: Mapping[str, Any]) -> None:
    """Copy a nested mapping of arrays to the parameters of a module, and to its buffers.

    Parameters
    ----------
    module : torch.nn.Module
        The module, which has its parameters.
    tree : mapping
        The tree, from :func:`e3any.checkpoint.load`.

    Raises
    ------
    ValueError
        If parameters are missing or left over, or if a shape differs; nothing is copied then.
    TypeError
        If ``module`` is none, the tree no mapping, or a leaf no floating-point array; nothing is copied then.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"expected a module, got {type(module).__name__}")
    check_tree(tree, to_tree(module))
    values = to_state_dict(tree)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            value.copy_(values[key])


def _tensor(value: Any) -> torch.Tensor:
    array = np.array(native(value))
    return (
        torch.from_numpy(array.astype(np.float32)).bfloat16()
        if array.dtype.name == "bfloat16"
        else torch.from_numpy(array)
    )
