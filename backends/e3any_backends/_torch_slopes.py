"""Derivatives of multilinear forms in eager PyTorch, to any order.

A form is linear in the arrays of all its slots. Its *slopes*, the derivatives by some slots for arrays in the others,
have derivatives that are slopes again, with a cotangent in the place of an array. So one function serves values, which
are the slopes by the slot of the output, and their derivatives of all orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import torch

from e3any_backends._torch_modes import obstacle
from e3any_backends._torch_products import Slices

__all__ = ["Arrays", "Form", "Shape", "value"]

Shape: TypeAlias = tuple[int, ...]
Arrays: TypeAlias = Sequence[torch.Tensor | None]


class Form(Protocol):
    """A multilinear form."""

    def evaluate(self, wanted: Shape, shapes: tuple[Shape, ...], arrays: Arrays) -> Slices:
        """Return the slopes by the wanted slots, of their shapes.

        The array of a slot is not read, and may be None, if it is the only wanted one.
        """

    def plain(self, slot: int, shape: Shape, arrays: Arrays) -> torch.Tensor:
        """Return the slope by a slot, by operations that can be batched, traced and differentiated."""


def value(form: Form, output: int, shapes: tuple[Shape, ...], operands: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the slope by the slot of the output for tensors without an obstacle."""
    arrays = [*operands[:output], None, *operands[output:]]
    if not torch.is_grad_enabled():
        return form.evaluate((output,), shapes, arrays)[0]
    slopes: Slices = _Slopes.apply(form, (output,), shapes, *arrays)  # type: ignore[no-untyped-call]
    return slopes[0]


def _slopes(form: Form, wanted: Shape, shapes: tuple[Shape, ...], arrays: Arrays) -> Slices:
    """Return slopes for any tensors."""
    if obstacle([a for a in arrays if a is not None]):
        return [form.plain(slot, shapes[slot], arrays) for slot in wanted]
    if not torch.is_grad_enabled():
        return form.evaluate(wanted, shapes, arrays)
    slopes: Slices = _Slopes.apply(form, wanted, shapes, *arrays)  # type: ignore[no-untyped-call]
    return slopes


class _Slopes(torch.autograd.Function):
    """Slopes of a form by some slots."""

    @staticmethod
    def forward(
        ctx: Any, form: Form, wanted: Shape, shapes: tuple[Shape, ...], *arrays: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return the slopes."""
        ctx.form, ctx.wanted, ctx.shapes = form, wanted, shapes
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays)
        return tuple(form.evaluate(wanted, shapes, arrays))

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> Any:
        """Return the slopes by all other slots, with each cotangent in the place of its array."""
        saved = ctx.saved_tensors  # read once: checkpoints, and other hooks, may give them out no second time
        needed = [slot for slot in range(len(ctx.shapes)) if ctx.needs_input_grad[slot + 3]]
        totals: list[torch.Tensor | None] = [None] * len(ctx.shapes)
        for slot, cotangent in zip(ctx.wanted, cotangents, strict=True):
            others = tuple(s for s in needed if s != slot)
            if cotangent is None or not others:
                continue
            arrays = list(saved)
            arrays[slot] = cotangent
            for other, slope in zip(others, _slopes(ctx.form, others, ctx.shapes, arrays), strict=True):
                total = totals[other]
                totals[other] = slope if total is None else total + slope
        return None, None, None, *totals
