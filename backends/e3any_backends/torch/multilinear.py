"""Derivatives of the gradients of multilinear maps, which are values and gradients of the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from e3any_backends.kernels.maps import MultilinearMap

__all__ = ["Calls", "gradients_backward"]

Tensors = list[torch.Tensor]


class Calls(Protocol):
    """How the kernels of a map are called: eagerly, or as operators for compilers."""

    def value(self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
        """Return the value of a map."""

    def gradients(
        self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """Return the gradients of the sum of ``g`` times the value, with respect to each operand."""

    def sum(self, total: torch.Tensor | None, term: torch.Tensor) -> torch.Tensor:
        """Return a sum; ``total`` may be overwritten."""


def gradients_backward(
    calls: Calls,
    kernel: MultilinearMap,
    operands: Sequence[torch.Tensor],
    indices: Tensors,
    g: torch.Tensor,
    cotangents: Sequence[torch.Tensor | None],
) -> tuple[torch.Tensor | None, list[torch.Tensor | None]]:
    """Return the gradients of the sum of cotangents times gradients, with respect to ``g`` and the operands.

    The gradient with respect to operand s is linear in all other operands: its product with a cotangent is the value of
    the map with the cotangent in the place of operand s.
    """
    by_g: torch.Tensor | None = None
    by_operands: list[torch.Tensor | None] = [None] * len(operands)
    for s, cotangent in enumerate(cotangents):
        if cotangent is None:
            continue
        replaced = [*operands[:s], cotangent, *operands[s + 1 :]]
        by_g = calls.sum(by_g, calls.value(kernel, replaced, indices))
        for t, gradient in enumerate(calls.gradients(kernel, replaced, indices, g)):
            if t != s:
                by_operands[t] = calls.sum(by_operands[t], gradient)
    return by_g, by_operands
