"""Maps with kernels as operators of :mod:`torch.library`, which compilers do not look into.

Operators are closed under differentiation as the functions of :mod:`e3any_backends.torch.eager` are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from e3any_backends.arrays import Array
from e3any_backends.kernels.harmonic_maps import Harmonics
from e3any_backends.kernels.maps import MAPS, MultilinearMap
from e3any_backends.torch import values
from e3any_backends.torch.contexts import Context
from e3any_backends.torch.multilinear import gradients_backward

__all__ = ["apply", "harmonics_by_operator", "linear"]

Tensors = list[torch.Tensor]
Gradients = tuple[object, ...]


def apply(name: str, arguments: tuple[int, ...], operands: Tensors, indices: Tensors) -> torch.Tensor:
    """Return the value of the map ``MAPS[name](*arguments)``."""
    found: torch.Tensor = value_operator(operands, indices, name, list(arguments))
    return found


def linear(x: torch.Tensor, w: torch.Tensor, which: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply components with matrices and add a bias; see :meth:`~e3any_backends.generic.Backend.linear`."""
    y = apply("linear", (), [x, w], [which])
    if bias is not None:
        y[..., 0, :] += bias
    return y


def harmonics_by_operator(
    r: torch.Tensor, factors: tuple[float, ...], order: tuple[int, ...], unit: bool
) -> torch.Tensor:
    """Evaluate harmonics; see :meth:`~e3any_backends.generic.Backend.harmonics`."""
    found: torch.Tensor = harmonics_operator([r], False, list(factors), list(order), unit)
    return found


# -- definitions --------------------------------------------------------------------------------------------

_library = torch.library.Library("e3any", "DEF")  # type: ignore[no-untyped-call]


class _OperatorContext(Context, Protocol):
    """The context of an operator."""

    is_empty: list[bool]


def _operator(
    name: str,
    function: Callable[..., object],
    fake: Callable[..., object],
    backward: Callable[..., Gradients],
    setup_context: Callable[..., None],
) -> Callable[..., Array]:
    """Define an operator; one of :func:`torch.library.custom_op` takes 10 µs more for every call."""
    _library.define(name + torch.library.infer_schema(function, mutates_args=()))  # type: ignore[no-untyped-call]
    _library.impl(name, function, "CPU")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"e3any::{name}", fake, lib=_library)

    def setup(ctx: _OperatorContext, inputs: tuple[object, ...], output: object) -> None:
        """Remember which inputs are empty lists: PyTorch takes these for lists of tensors."""
        ctx.is_empty = [isinstance(x, list | tuple) and not x for x in inputs]
        setup_context(ctx, inputs, output)

    def gradients(ctx: _OperatorContext, *cotangents: object) -> Gradients:
        """Return the gradients; that of a list of tensors is a list."""
        found = zip(backward(ctx, *cotangents), ctx.is_empty, strict=True)
        return tuple([] if is_empty else gradient for gradient, is_empty in found)

    torch.library.register_autograd(f"e3any::{name}", gradients, setup_context=setup, lib=_library)
    operator: Callable[..., Array] = getattr(torch.ops.e3any, name).default
    return operator


# -- multilinear maps ---------------------------------------------------------------------------------------


class _Calls:
    """Both kernels of a map as operators."""

    def value(self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
        """Return the value."""
        found: torch.Tensor = value_operator(list(operands), indices, kernel.name, list(kernel.arguments))
        return found

    def gradients(
        self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """Return the gradients."""
        found: Tensors = gradients_operator(list(operands), indices, g, kernel.name, list(kernel.arguments))
        return found

    def sum(self, total: torch.Tensor | None, term: torch.Tensor) -> torch.Tensor:
        """Return a sum."""
        return term if total is None else total + term


_CALLS = _Calls()


class _MapContext(Context, Protocol):
    """The context of both operators."""

    name: str
    arguments: list[int]
    num: int
    num_indices: int


def _value(operands: list[torch.Tensor], indices: list[torch.Tensor], name: str, arguments: list[int]) -> torch.Tensor:
    return values.value(MAPS[name](*arguments), operands, indices)


def _value_fake(operands: Tensors, indices: Tensors, name: str, arguments: list[int]) -> torch.Tensor:
    return operands[0].new_empty(MAPS[name](*arguments).shape(operands))


def _value_backward(ctx: _MapContext, g: torch.Tensor) -> Gradients:
    kernel, operands, indices, _ = _kept(ctx)
    return list(_CALLS.gradients(kernel, operands, indices, g)), [None] * len(indices), None, None


def _gradients(
    operands: list[torch.Tensor], indices: list[torch.Tensor], g: torch.Tensor, name: str, arguments: list[int]
) -> list[torch.Tensor]:
    return values.gradients(MAPS[name](*arguments), operands, indices, g)


def _gradients_fake(operands: Tensors, indices: Tensors, g: torch.Tensor, name: str, arguments: list[int]) -> Tensors:
    return [o.new_empty(o.shape) for o in operands]


def _gradients_backward(ctx: _MapContext, cotangents: Sequence[torch.Tensor | None]) -> Gradients:
    kernel, operands, indices, (g,) = _kept(ctx)
    by_g, by_operands = gradients_backward(_CALLS, kernel, operands, indices, g, cotangents)
    return by_operands, [None] * len(indices), by_g, None, None


def _keep(ctx: _MapContext, inputs: tuple[Array, ...], output: object) -> None:
    """Save the inputs of either operator."""
    operands, indices, *g, name, arguments = inputs
    ctx.name, ctx.arguments, ctx.num, ctx.num_indices = name, arguments, len(operands), len(indices)
    ctx.save_for_backward(*operands, *indices, *g)


def _kept(ctx: _MapContext) -> tuple[MultilinearMap, Tensors, Tensors, Tensors]:
    tensors, end = list(ctx.saved_tensors), ctx.num + ctx.num_indices
    return MAPS[ctx.name](*ctx.arguments), tensors[: ctx.num], tensors[ctx.num : end], tensors[end:]


value_operator = _operator("multilinear", _value, _value_fake, _value_backward, _keep)
gradients_operator = _operator("multilinear_gradients", _gradients, _gradients_fake, _gradients_backward, _keep)

# -- harmonics ----------------------------------------------------------------------------------------------


def _harmonics(
    operands: list[torch.Tensor], is_gradient: bool, factors: list[float], order: list[int], unit: bool
) -> torch.Tensor:
    """Evaluate harmonics of vectors, or the gradient of weighted ones, or the derivative of either along vectors."""
    kernel, num = Harmonics(tuple(factors), tuple(order), unit), len(operands) - is_gradient
    if num > 2:
        raise RuntimeError("expected at most second derivatives of harmonics in a compiled program, got third ones")
    kernels: dict[tuple[bool, int], Callable[..., Array]] = {
        (False, 1): kernel.value,
        (False, 2): kernel.jvp,
        (True, 1): kernel.vjp,
        (True, 2): kernel.second_vjp,
    }
    return torch.from_numpy(kernels[is_gradient, num](*values.as_numpy(operands), count=torch.get_num_threads))


def _harmonics_fake(
    operands: Tensors, is_gradient: bool, factors: list[float], order: list[int], unit: bool
) -> torch.Tensor:
    r = operands[0]
    return r.new_empty(r.shape if is_gradient else (*r.shape[:-1], len(order)))


class _HarmonicsContext(Context, Protocol):
    """The context of the operator."""

    is_gradient: bool
    options: list[object]


def _keep_harmonics(ctx: _HarmonicsContext, inputs: tuple[Array, ...], output: object) -> None:
    operands, ctx.is_gradient, *ctx.options = inputs
    ctx.save_for_backward(*operands)


def _harmonics_backward(ctx: _HarmonicsContext, g: torch.Tensor) -> Gradients:
    """Return gradients with respect to every operand: the operator's value for other operands."""
    operands = list(ctx.saved_tensors)

    def evaluate(members: Tensors, is_gradient: bool) -> torch.Tensor:
        found: torch.Tensor = harmonics_operator([m.contiguous() for m in members], is_gradient, *ctx.options)
        return found

    r, *directions = operands[:1] + operands[1 + ctx.is_gradient :]
    if not ctx.is_gradient:
        found = [evaluate([r, g, *directions], True)]
        found += [evaluate([r, g, *(c for c in directions if c is not d)], True) for d in directions]
        return found, None, None, None, None
    weights = operands[1]
    found = [evaluate([r, weights, *directions, g], True), evaluate([r, *directions, g], False)]
    found += [evaluate([r, weights, *(c for c in directions if c is not d), g], True) for d in directions]
    return found, None, None, None, None


harmonics_operator = _operator("harmonics", _harmonics, _harmonics_fake, _harmonics_backward, _keep_harmonics)
