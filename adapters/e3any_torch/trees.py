"""Trees of parameters from and to PyTorch: modules and their ``state_dict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from e3any_backends.numpy_arrays import native
from numpy.typing import NDArray

from e3any.checks import shown
from e3any.files.bfloat16 import bfloat16_bits, from_bfloat16_bits
from e3any.files.dotted_names import dotted, nested
from e3any.nn.layer import check_tree, leaves

__all__ = ["load_tree", "to_numpy", "to_state_dict", "to_tree"]


def to_numpy(x: Any) -> Any:
    """Return a tensor, or the tensors of a named tuple, as NumPy arrays; bfloat16 becomes float32."""
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
        A module, including its buffers, or parameters under dotted names, for example a ``state_dict``.

    Returns
    -------
    dict
        The tree, ready for :func:`e3any.checkpoint.save`. Tensors of bfloat16, which NumPy lacks, become the same
        arrays as in :func:`e3any.checkpoint.load`.

    Raises
    ------
    ValueError
        If a name is empty, or is both that of a tensor and the beginning of others, for example ``a`` and ``a.b``.
    TypeError
        If ``params`` has another type, or contains something other than tensors of dtypes that NumPy has.
    """
    if not isinstance(params, torch.nn.Module | Mapping):
        raise TypeError(f"expected a module or a mapping of tensors, got {type(params).__name__}")
    named = params.state_dict() if isinstance(params, torch.nn.Module) else params
    return nested([(key, _array(key, value)) for key, value in named.items()])


def _array(key: str, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value.copy()
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"expected a tensor at {shown(key)}, got {type(value).__name__}")
    x = value.detach().cpu().contiguous()
    if x.dtype == torch.bfloat16:
        return from_bfloat16_bits(x.view(torch.int16).numpy().view(np.uint16).copy())
    try:
        return x.numpy().copy()
    except TypeError as error:
        raise TypeError(f"expected a tensor of a dtype of NumPy at {shown(key)}, got {x.dtype}: {error}") from None


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
    ValueError
        If a name is empty or contains a dot.
    TypeError
        If the tree is not a mapping, or a name is not a string.
    """
    if not isinstance(tree, Mapping):
        raise TypeError(f"expected a mapping of parameters, got {type(tree).__name__}")
    return {dotted(names): _tensor(value) for names, value in leaves(tree)}


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
        If ``module`` is not a module, the tree is not a mapping, or a leaf is not a floating-point array; nothing is
        copied then.
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
    bits = bfloat16_bits(array)
    return torch.from_numpy(array) if bits is None else torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
