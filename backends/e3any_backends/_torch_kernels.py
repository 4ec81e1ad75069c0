"""Maps with kernels under PyTorch's automatic differentiation and compiler.

Every ``backward`` reads what is saved once: checkpoints, and other hooks, may give it out no second time.

Eager code calls functions of :class:`torch.autograd.Function`, which cost less per call. Compilers see operators of
:mod:`torch.library`. Both are closed under differentiation where maps are multilinear: derivatives of the value and of
the first derivatives are again values and first derivatives of the map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from e3any_backends import backend_of
from e3any_backends._torch_modes import obstacle
from e3any_backends.generic import Array, Backend
from e3any_backends.kernels import KernelError
from e3any_backends.kernels.maps import MAPS, Harmonics, Linear, MultilinearMap

__all__ = ["apply", "harmonics", "linear"]

Tensors = list[torch.Tensor]
Gradients = Sequence[torch.Tensor | None]


def apply(name: str, arguments: tuple[Any, ...], operands: Tensors, indices: Tensors) -> torch.Tensor:
    """Return the value of the map of a name."""
    if torch.compiler.is_compiling():
        value: torch.Tensor = _value_operator(operands, indices, name, list(arguments))
    else:
        value = _Value.apply(MAPS[name](*arguments), indices, *operands)  # type: ignore[no-untyped-call]
    return value


def _numpy(tensors: Sequence[torch.Tensor]) -> list[Array]:
    return [t.detach().numpy() if t.is_contiguous() else t.detach().contiguous().numpy() for t in tensors]


def _value(kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
    with suppress(KernelError):
        return torch.from_numpy(kernel.value(_numpy(operands), _numpy(indices), count=torch.get_num_threads))
    return _own(_plain(kernel, operands, indices))


def _pull(kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor) -> Tensors:
    with suppress(KernelError):
        derivatives = kernel.pull(_numpy(operands), _numpy(indices), *_numpy([g]), count=torch.get_num_threads)
        return [torch.from_numpy(d) for d in derivatives]
    return [_own(d) for d in _plain_pull(kernel, operands, indices, g)]


def _harmonics(
    kernel: Harmonics, name: str, plain: Callable[..., torch.Tensor], *tensors: torch.Tensor
) -> torch.Tensor:
    """Return what a kernel of harmonics does, or a function of the same tensors."""
    with suppress(KernelError):
        return torch.from_numpy(getattr(kernel, name)(*_numpy(tensors), count=torch.get_num_threads))
    return plain(*tensors)


def _own(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor that nothing else has the memory of, as kernels do."""
    return x.clone(memory_format=torch.contiguous_format)


class _Value(torch.autograd.Function):
    """The value of a map."""

    @staticmethod
    def forward(ctx: Any, kernel: MultilinearMap, indices: Tensors, *operands: torch.Tensor) -> torch.Tensor:
        """Call the kernel of values."""
        ctx.kernel = kernel
        ctx.save_for_backward(*operands, *indices)
        return _value(kernel, operands, indices)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Call the kernel of derivatives."""
        num, saved = len(ctx.needs_input_grad) - 2, ctx.saved_tensors
        return None, None, *_EAGER.pull(ctx.kernel, saved[:num], list(saved[num:]), gradients[0])


class _Pull(torch.autograd.Function):
    """The first derivatives of a map."""

    @staticmethod
    def forward(
        ctx: Any, kernel: MultilinearMap, indices: Tensors, g: torch.Tensor, *operands: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Call the kernel of derivatives."""
        ctx.kernel = kernel
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*operands, g, *indices)
        return tuple(_pull(kernel, operands, indices, g))

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> Any:
        """Call both kernels for every cotangent."""
        num, saved = len(cotangents), ctx.saved_tensors
        operands, (g, *indices) = saved[:num], saved[num:]
        slope, derivatives = _pull_backward(_EAGER, ctx.kernel, operands, indices, g, cotangents)
        return None, None, slope, *derivatives


class _Eager:
    """Both kernels for tensors that exist; where others come in, such as batches of gradients, the plain form."""

    def value(self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
        """Return the value."""
        if obstacle(operands):
            return _plain(kernel, operands, indices)
        value: torch.Tensor = _Value.apply(kernel, indices, *operands)  # type: ignore[no-untyped-call]
        return value

    def pull(
        self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """Return the first derivatives."""
        if obstacle([g, *operands]):
            derivatives: Sequence[torch.Tensor] = _plain_pull(kernel, operands, indices, g)
        elif not torch.is_grad_enabled():
            derivatives = _pull(kernel, operands, indices, g)
        else:
            derivatives = _Pull.apply(kernel, indices, g, *operands)  # type: ignore[no-untyped-call]
        return derivatives

    def sum(self, total: torch.Tensor | None, term: torch.Tensor) -> torch.Tensor:
        """Return a sum, in the memory of the total where a kernel has made it and nothing is recorded."""
        if total is None:
            return term
        return total + term if torch.is_grad_enabled() or obstacle([total, term]) else total.add_(term)


class _Compiled:
    """Both kernels as operators."""

    def value(self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
        """Return the value."""
        value: torch.Tensor = _value_operator(list(operands), indices, kernel.name, list(kernel.arguments))
        return value

    def pull(
        self, kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
    ) -> Sequence[torch.Tensor]:
        """Return the first derivatives."""
        derivatives: Tensors = _pull_operator(list(operands), indices, g, kernel.name, list(kernel.arguments))
        return derivatives

    def sum(self, total: torch.Tensor | None, term: torch.Tensor) -> torch.Tensor:
        """Return a sum."""
        return term if total is None else total + term


_EAGER, _COMPILED = _Eager(), _Compiled()


def _plain(kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
    value: torch.Tensor = kernel.plain(backend_of(*operands), list(operands), indices)
    return value


def _plain_pull(
    kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
) -> Sequence[torch.Tensor]:
    pull = torch.func.vjp(lambda *o: _plain(kernel, o, indices), *operands)[1]
    derivatives: Sequence[torch.Tensor] = pull(g)
    return derivatives


def _pull_backward(
    calls: _Eager | _Compiled,
    kernel: MultilinearMap,
    operands: Sequence[torch.Tensor],
    indices: Tensors,
    g: torch.Tensor,
    cotangents: Gradients,
) -> tuple[torch.Tensor | None, list[torch.Tensor | None]]:
    """Return the derivatives of cotangents times first derivatives, by ``g`` and by the operands.

    The derivative by operand s is linear in all other operands: its product with a cotangent is the value of the map
    with the cotangent in the place of operand s.
    """
    slope: torch.Tensor | None = None
    derivatives: list[torch.Tensor | None] = [None] * len(operands)
    for s, cotangent in enumerate(cotangents):
        if cotangent is None:
            continue
        replaced = [*operands[:s], cotangent, *operands[s + 1 :]]
        slope = calls.sum(slope, calls.value(kernel, replaced, indices))
        for t, derivative in enumerate(calls.pull(kernel, replaced, indices, g)):
            if t != s:
                derivatives[t] = calls.sum(derivatives[t], derivative)
    return slope, derivatives


# -- linear maps --------------------------------------------------------------------------------------------


def linear(x: torch.Tensor, w: torch.Tensor, which: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply components with matrices and add a bias; see :meth:`Backend.linear`."""
    if bias is None:
        return apply("linear", (), [x, w], [which])
    if torch.compiler.is_compiling():
        y = apply("linear", (), [x, w], [which])
        y[..., 0, :] += bias
        return y
    result: torch.Tensor = _Affine.apply(which, x, w, bias)  # type: ignore[no-untyped-call]
    return result


class _Affine(torch.autograd.Function):
    """A linear map with a bias."""

    @staticmethod
    def forward(ctx: Any, which: torch.Tensor, x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Call the kernel."""
        ctx.save_for_backward(which, x, w)
        with suppress(KernelError):
            return torch.from_numpy(Linear().affine(*_numpy([x, w, which, bias]), count=torch.get_num_threads))
        result: torch.Tensor = Backend.linear(backend_of(x), x, w, which, bias)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Call the kernels of derivatives."""
        (g,) = gradients
        which, x, w = ctx.saved_tensors
        dx, dw = _EAGER.pull(Linear(), [x, w], [which], g)
        return None, dx, dw, g[..., 0, :].sum(dim=tuple(range(g.ndim - 2))) if g.ndim > 2 else g[..., 0, :]


# -- harmonics ----------------------------------------------------------------------------------------------


def harmonics(
    plain: Callable[[torch.Tensor], torch.Tensor],
    r: torch.Tensor,
    factors: tuple[float, ...],
    order: tuple[int, ...],
    unit: bool,
) -> torch.Tensor:
    """Evaluate harmonics; see :meth:`Backend.harmonics`."""
    if torch.compiler.is_compiling():
        value: torch.Tensor = _harmonics_operator([r], False, list(factors), list(order), unit)
        return value
    result: torch.Tensor = _Harmonics.apply(Harmonics(factors, order, unit), plain, r)  # type: ignore[no-untyped-call]
    return result


class _Harmonics(torch.autograd.Function):
    """Harmonics by a kernel."""

    @staticmethod
    def forward(ctx: Any, kernel: Harmonics, plain: Any, r: torch.Tensor) -> torch.Tensor:
        """Call the kernel of values."""
        ctx.kernel, ctx.plain = kernel, plain
        ctx.save_for_backward(r)
        return _harmonics(kernel, "value", plain, r)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Call the kernel of derivatives."""
        (r,) = ctx.saved_tensors
        if obstacle([r, *gradients]):
            return None, None, *torch.func.vjp(ctx.plain, r)[1](*gradients)
        return None, None, _HarmonicsPull.apply(ctx.kernel, ctx.plain, r, *gradients)  # type: ignore[no-untyped-call]


class _HarmonicsPull(torch.autograd.Function):
    """First derivatives of harmonics by a kernel."""

    @staticmethod
    def forward(ctx: Any, kernel: Harmonics, plain: Any, r: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Call the kernel of derivatives."""
        ctx.kernel, ctx.plain = kernel, plain
        ctx.save_for_backward(r, g)
        return _harmonics(kernel, "pull", partial(_plain_slope, plain), r, g)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        """Call the kernel of second derivatives, unless there are to be third ones."""
        r, g = ctx.saved_tensors
        if not torch.is_grad_enabled() and not obstacle([r, g, *cotangents]):
            with suppress(KernelError):
                arrays = _numpy([r, g, *cotangents])
                curve = ctx.kernel.curve(*arrays, count=torch.get_num_threads)
                push = ctx.kernel.push(arrays[0], arrays[2], count=torch.get_num_threads)
                return None, None, torch.from_numpy(curve), torch.from_numpy(push)
        slope = partial(_plain_slope, ctx.plain)
        return None, None, *torch.func.vjp(slope, r, g)[1](*cotangents)


def _plain_slope(plain: Any, r: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    derivatives: tuple[torch.Tensor] = torch.func.vjp(plain, r)[1](g)
    return derivatives[0]


# -- operators for compilers --------------------------------------------------------------------------------

_library = torch.library.Library("e3any", "DEF")  # type: ignore[no-untyped-call]


def _operator(
    name: str,
    function: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any],
    setup_context: Callable[..., Any],
) -> Any:
    """Define an operator; those of :func:`torch.library.custom_op` take 10 µs more for every call."""
    _library.define(name + torch.library.infer_schema(function, mutates_args=()))  # type: ignore[no-untyped-call]
    _library.impl(name, function, "CPU")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"e3any::{name}", fake, lib=_library)

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        """Remember which inputs are empty lists: PyTorch takes these for lists of tensors."""
        ctx.is_empty = [isinstance(x, list | tuple) and not x for x in inputs]
        setup_context(ctx, inputs, output)

    def gradients(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        """Return the derivatives; that of a list of tensors is a list."""
        derivatives = zip(backward(ctx, *cotangents), ctx.is_empty, strict=True)
        return tuple([] if is_empty else derivative for derivative, is_empty in derivatives)

    torch.library.register_autograd(f"e3any::{name}", gradients, setup_context=setup, lib=_library)
    return getattr(torch.ops.e3any, name).default


def _evaluate(
    operands: list[torch.Tensor], indices: list[torch.Tensor], name: str, arguments: list[int]
) -> torch.Tensor:
    return _value(MAPS[name](*arguments), operands, indices)


def _evaluate_pull(
    operands: list[torch.Tensor], indices: list[torch.Tensor], g: torch.Tensor, name: str, arguments: list[int]
) -> list[torch.Tensor]:
    return _pull(MAPS[name](*arguments), operands, indices, g)


def _evaluate_fake(operands: Tensors, indices: Tensors, name: str, arguments: list[int]) -> torch.Tensor:
    return operands[0].new_empty(MAPS[name](*arguments).shape(operands))


def _evaluate_pull_fake(
    operands: Tensors, indices: Tensors, g: torch.Tensor, name: str, arguments: list[int]
) -> Tensors:
    return [o.new_empty(o.shape) for o in operands]


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    """Save what both derivatives need."""
    operands, indices, *slope, name, arguments = inputs
    ctx.name, ctx.arguments, ctx.num, ctx.num_indices = name, arguments, len(operands), len(indices)
    ctx.save_for_backward(*operands, *indices, *slope)


def _kept(ctx: Any) -> tuple[MultilinearMap, Tensors, Tensors, Tensors]:
    tensors, end = list(ctx.saved_tensors), ctx.num + ctx.num_indices
    return MAPS[ctx.name](*ctx.arguments), tensors[: ctx.num], tensors[ctx.num : end], tensors[end:]


def _value_backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
    kernel, operands, indices, _ = _kept(ctx)
    return list(_COMPILED.pull(kernel, operands, indices, g)), [None] * len(indices), None, None


def _pull_operator_backward(ctx: Any, cotangents: Gradients) -> tuple[Any, ...]:
    kernel, operands, indices, (g,) = _kept(ctx)
    slope, derivatives = _pull_backward(_COMPILED, kernel, operands, indices, g, cotangents)
    return derivatives, [None] * len(indices), slope, None, None


def _evaluate_harmonics(
    operands: list[torch.Tensor], is_gradient: bool, factors: list[float], order: list[int], unit: bool
) -> torch.Tensor:
    """Evaluate harmonics of vectors, or the gradient of weighted ones, or the derivative of either along vectors."""
    kernel, num = Harmonics(tuple(factors), tuple(order), unit), len(operands) - is_gradient
    if num > 2:
        raise RuntimeError("expected at most second derivatives of harmonics in a compiled program, got third ones")
    names = {(False, 1): "value", (False, 2): "push", (True, 1): "pull", (True, 2): "curve"}
    return torch.from_numpy(getattr(kernel, names[is_gradient, num])(*_numpy(operands), count=torch.get_num_threads))


def _evaluate_harmonics_fake(
    operands: Tensors, is_gradient: bool, factors: list[float], order: list[int], unit: bool
) -> torch.Tensor:
    r = operands[0]
    return r.new_empty(r.shape if is_gradient else (*r.shape[:-1], len(order)))


def _keep_harmonics(ctx: Any, inputs: Any, output: Any) -> None:
    operands, ctx.is_gradient, *ctx.options = inputs
    ctx.save_for_backward(*operands)


def _harmonics_backward(ctx: Any, g: torch.Tensor) -> tuple[Any, ...]:
    """Return derivatives by every operand: the operator's value for other operands."""
    operands = list(ctx.saved_tensors)

    def evaluate(members: Tensors, is_gradient: bool) -> torch.Tensor:
        value: torch.Tensor = _harmonics_operator([m.contiguous() for m in members], is_gradient, *ctx.options)
        return value

    r, *directions = operands[:1] + operands[1 + ctx.is_gradient :]
    if not ctx.is_gradient:
        derivatives = [evaluate([r, g, *directions], True)]
        derivatives += [evaluate([r, g, *(c for c in directions if c is not d)], True) for d in directions]
        return derivatives, None, None, None, None
    weights = operands[1]
    derivatives = [evaluate([r, weights, *directions, g], True), evaluate([r, *directions, g], False)]
    derivatives += [evaluate([r, weights, *(c for c in directions if c is not d), g], True) for d in directions]
    return derivatives, None, None, None, None


_value_operator = _operator("multilinear", _evaluate, _evaluate_fake, _value_backward, _keep)
_pull_operator = _operator("multilinear_pull", _evaluate_pull, _evaluate_pull_fake, _pull_operator_backward, _keep)
_harmonics_operator = _operator(
    "harmonics", _evaluate_harmonics, _evaluate_harmonics_fake, _harmonics_backward, _keep_harmonics
)
