"""Modes of PyTorch in which kernels cannot be called, as automatic differentiation or a trace has to see operations."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from e3any_backends.torch import private

__all__ = ["obstacle"]

_DTYPES = (torch.float32, torch.float64)
_CLASSES = (torch.Tensor, torch.nn.Parameter)


def obstacle(tensors: Sequence[torch.Tensor]) -> str:
    """Return why kernels do not support tensors, empty if they do."""
    dtype, is_usual = tensors[0].dtype, True
    for t in tensors:
        if t.dtype != dtype or dtype not in _DTYPES:
            return "the dtype is " + ", ".join(str(t.dtype) for t in tensors)
        if not t.is_cpu:
            return "a tensor is not on the CPU"
        is_usual = is_usual and type(t) in _CLASSES
    if torch.compiler.is_exporting():
        return "exported programs run without e3any"
    if private.is_transformed():
        return "a transformation of torch.func is under way"
    if torch.compiler.is_compiling():
        return ""
    if not is_usual:
        return "a tensor is of another class"
    # Modes of PyTorch that see only its own operations.
    if private.forward_level() >= 0:
        return "derivatives are taken in forward mode"
    if private.num_dispatch_modes() > 0 or private.tracing_state() is not None:
        return "the program is being traced"
    if private.batches_gradients():
        return "a batch of gradients is computed"
    return ""
