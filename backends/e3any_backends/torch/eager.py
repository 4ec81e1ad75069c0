"""Maps with kernels under PyTorch's automatic differentiation.

Functions of :class:`torch.autograd.Function` cost less for each call than operators of :mod:`torch.library`. They are
closed under differentiation: derivatives of the value of a multilinear map, and of its gradients, are again values and
gradients of the map.

Every ``backward`` reads the saved tensors once: checkpoints and other hooks can refuse a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch

from e3any_backends.kernels.harmonic_maps import Harmonics
from e3any_backends.kernels.maps import MAPS, Linear, MultilinearMap
from e3any_backends.torch import values
from e3any_backends.torch.contexts import Context
from e3any_backends.torch.modes import obstacle
from e3any_backends.torch.multilinear import gradients_backward

__all__ = ["apply", "harmonics", "linear"]

Tensors = list[torch.Tensor]
Gradients = tuple[torch.Tensor | None, ...]


class _MapContext(Context, Protocol):
    """The context of a multilinear map."""

    kernel: MultilinearMap


class _HarmonicsContext(Context, Protocol):
    """The context of harmonics."""

    kernel: Harmonics


def apply(name: str, arguments: tuple[int, ...], operands: Tensors, indices: Tensors) -> torch.Tensor:
    """Return the value of the map ``MAPS[name](*arguments)``."""
    found: torch.Tensor = _Value.apply(MAPS[name](*arguments), indices, *operands)  # type: ignore[no-untyped-call]
    return found


class _Value(torch.autograd.Function):
    """The value of a map."""

    @staticmethod
    def forward(ctx: _MapContext, kernel: MultilinearMap, indices: Tensors, *operands: torch.Tensor) -> torch.Tensor:
        """Call the kernel of values."""
        ctx.kernel = kernel
        ctx.save_for_backward(*operands, *indices)
        return values.value(kernel, operands, indices)

    @staticmethod
    def backward(ctx: _MapContext, *gradients: torch.Tensor) -> Gradients:
        """Call the kernel of gradients."""
        num, saved = len(ctx.needs_input_grad) - 2, ctx.saved_tensors
        return None, None, *_CALLS.gradients(ctx.kernel, saved[:num], list(saved[num:]), gradients[0])


class _Gradients(torch.autograd.Function):
    """The gradients of a map."""

    @staticmethod
    def forward(
        ctx: _MapContext, kernel: MultilinearMap, indices: Tensors, g: torch.Tensor, *operands: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Call the kernel of gradients."""
        ctx.kernel = kernel
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*operands, g, *indices)
        return tuple(values.gradients(kernel, operands, indices, g))

    @staticmethod
    def backward(ctx: _MapContext, *cotangents: torch.Tensor | None) -> Gradients:
        """Call both kernels for every cotangent."""
        num, saved = len(cotangents), ctx.saved_tensors
        operands, (g, *indices) = saved[:num], saved[num:]
        by_g, by_operands = gradients_backward(_CALLS, ctx.kernel, operands, indices, g, cotangents)
        return None, None, by_g, *by_operands


class _Calls:
    """Both kernels, or the reference for tensors that they do not support, such as batches of gradients."""

    def value(self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
        """Return the value."""
        if obstacle(operands):
            return values.reference(kernel, operands, indices)
        found: torch.Tensor = _Value.apply(kernel, indices, *operands)  # type: ignore[no-untyped-call]
        return found

    def gradients(
        self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """Return the gradients."""
        if obstacle([g, *operands]):
            return values.reference_gradients(kernel, operands, indices, g)
        if not torch.is_grad_enabled():
            return values.gradients(kernel, operands, indices, g)
        found: Sequence[torch.Tensor] = _Gradients.apply(kernel, indices, g, *operands)  # type: ignore[no-untyped-call]
        return found

    def sum(self, total: torch.Tensor | None, term: torch.Tensor) -> torch.Tensor:
        """Return a sum, in place if a kernel has made the total and nothing is recorded."""
        if total is None:
            return term
        return total + term if torch.is_grad_enabled() or obstacle([total, term]) else total.add_(term)


_CALLS = _Calls()


# -- linear maps --------------------------------------------------------------------------------------------


def linear(x: torch.Tensor, w: torch.Tensor, which: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply components with matrices and add a bias; see :meth:`~e3any_backends.generic.Backend.linear`."""
    if bias is None:
        return apply("linear", (), [x, w], [which])
    found: torch.Tensor = _Affine.apply(which, x, w, bias)  # type: ignore[no-untyped-call]
    return found


class _Affine(torch.autograd.Function):
    """A linear map with a bias."""

    @staticmethod
    def forward(
        ctx: Context, which: torch.Tensor, x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Call the kernel."""
        ctx.save_for_backward(which, x, w)
        return values.affine(x, w, which, bias)

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor) -> Gradients:
        """Call the kernels of gradients."""
        (g,) = gradients
        which, x, w = ctx.saved_tensors
        dx, dw = _CALLS.gradients(Linear(), [x, w], [which], g)
        return None, dx, dw, g[..., 0, :].sum(dim=tuple(range(g.ndim - 2))) if g.ndim > 2 else g[..., 0, :]


# -- harmonics ----------------------------------------------------------------------------------------------


def harmonics(r: torch.Tensor, factors: tuple[float, ...], order: tuple[int, ...], unit: bool) -> torch.Tensor:
    """Evaluate harmonics; see :meth:`~e3any_backends.generic.Backend.harmonics`."""
    found: torch.Tensor = _Harmonics.apply(Harmonics(factors, order, unit), r)  # type: ignore[no-untyped-call]
    return found


class _Harmonics(torch.autograd.Function):
    """Harmonics by a kernel."""

    @staticmethod
    def forward(ctx: _HarmonicsContext, kernel: Harmonics, r: torch.Tensor) -> torch.Tensor:
        """Call the kernel of values."""
        ctx.kernel = kernel
        ctx.save_for_backward(r)
        return values.harmonics_value(kernel, r)

    @staticmethod
    def backward(ctx: _HarmonicsContext, *gradients: torch.Tensor) -> Gradients:
        """Call the kernel of gradients."""
        (r,) = ctx.saved_tensors
        if obstacle([r, *gradients]):
            return None, *torch.func.vjp(partial(values.reference_harmonics, ctx.kernel), r)[1](*gradients)
        return None, _HarmonicsGradient.apply(ctx.kernel, r, *gradients)  # type: ignore[no-untyped-call]


class _HarmonicsGradient(torch.autograd.Function):
    """Gradients of harmonics by a kernel."""

    @staticmethod
    def forward(ctx: _HarmonicsContext, kernel: Harmonics, r: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Call the kernel of gradients."""
        ctx.kernel = kernel
        ctx.save_for_backward(r, g)
        return values.harmonics_gradient(kernel, r, g)

    @staticmethod
    def backward(ctx: _HarmonicsContext, *cotangents: torch.Tensor) -> Gradients:
        """Call the kernel of second derivatives; third ones are those of the reference."""
        r, g = ctx.saved_tensors
        if not torch.is_grad_enabled() and not obstacle([r, g, *cotangents]):
            return None, *values.harmonics_second_derivatives(ctx.kernel, r, g, *cotangents)
        return None, *torch.func.vjp(partial(values.reference_harmonics_gradient, ctx.kernel), r, g)[1](*cotangents)
