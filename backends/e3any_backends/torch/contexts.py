"""Types of the contexts that PyTorch passes to functions of automatic differentiation."""

from __future__ import annotations

from typing import Protocol

import torch

__all__ = ["Context"]


class Context(Protocol):
    """What ``forward`` saves for ``backward``; see :class:`torch.autograd.function.FunctionCtx`."""

    @property
    def saved_tensors(self) -> tuple[torch.Tensor, ...]:
        """The saved tensors."""

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For every input, whether its gradient is needed."""

    def save_for_backward(self, *tensors: torch.Tensor) -> None:
        """Save tensors."""

    def set_materialize_grads(self, value: bool) -> None:
        """Set whether missing cotangents are zeros or None."""
