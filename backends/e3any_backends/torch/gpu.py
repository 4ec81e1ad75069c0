"""Multilinear maps on GPUs as one operator of :mod:`torch.library`, which compilers do not look into.

The operator evaluates a list of contractions and is closed under differentiation: its derivative is the same operator
with the transposed list. For example, the gradients with respect to all operands are one call, and those of their
squares are another. The operators for CPUs are in :mod:`e3any_backends.torch.operators`; which of them a program calls
is decided when it is traced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from e3any_backends import kernels
from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import CouplingPlan
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import attribute, handle, lookup
from e3any_backends.kernels.settings import switch
from e3any_backends.torch.contexts import Context
from e3any_backends.torch.gpu_graphs import graph_lists
from e3any_backends.triton.availability import available, is_interpreted
from e3any_backends.triton.maps import MAPS, outputs
from e3any_backends.triton.programs import Launch, Program
from e3any_backends.triton.source import WIDE

__all__ = ["contractions", "convolve", "convolve_if_supported", "couple_features", "gpu_obstacle", "sum_paths"]
__all__ += ["path_sums_if_supported"]

Tensors = list[torch.Tensor]


def convolve(
    x: torch.Tensor,
    angular: torch.Tensor,
    radial: torch.Tensor,
    kernel: torch.Tensor,
    indices: tuple[torch.Tensor, torch.Tensor],
    num: int,
    plan: CouplingPlan,
) -> torch.Tensor:
    """Sum products of a basis and neighbours' features over edges, and couple them, without the sums in memory.

    Parameters
    ----------
    x : tensor of shape (N, P, (L+1)**2, F)
        Features of the senders.
    angular : tensor of shape (E, (Lb+1)**2)
        Harmonics.
    radial : tensor of shape (E, Lb+1, F)
        Radial functions.
    kernel : tensor of shape (1, Lb+1, P, L+1, P', L'+1, F)
        Weights of all couplings, forbidden ones included.
    indices : tuple of integer tensors of shape (E,)
        Receivers and senders; numbers out of range are padding.
    num : int
        Number of receivers.
    plan : CouplingPlan
        The table.

    Returns
    -------
    tensor of shape (num, P', (L'+1)**2, F)
        The sums.
    """
    operands = [x.flatten(1, 2), angular, radial, kernel.flatten(0, -2)]
    out = _sum_over_edges("edges", [handle(plan, "merged")], operands, indices, num)
    return out.reshape(num, plan.kernel_shape[4], plan.kernel_shape[5] ** 2, out.shape[-1])


def convolve_if_supported(
    x: torch.Tensor,
    angular: torch.Tensor,
    radial: torch.Tensor,
    kernel: torch.Tensor,
    indices: tuple[torch.Tensor, torch.Tensor],
    num: int,
    plan: CouplingPlan,
) -> torch.Tensor | None:
    """Return the value of :func:`convolve`, or None, with the reason in the log."""
    reason = gpu_obstacle([x, angular, radial, kernel])
    if reason:
        kernels.log_fallback("convolution", reason)
        return None
    return convolve(x, angular, radial, kernel, indices, num, plan)


def sum_paths(
    x: torch.Tensor,
    angular: torch.Tensor,
    weights: torch.Tensor,
    indices: tuple[torch.Tensor, torch.Tensor],
    num: int,
    form: PathForm,
) -> torch.Tensor:
    """Sum couplings with weights of every edge and path over edges; see :meth:`.Backend.path_sums`.

    ``indices`` are receivers and senders.
    """
    blocks = lookup(attribute, form.number, "blocks")
    # One split: its derivative writes the gradients of all blocks once.
    of_x = torch.split(x, [b.x.stop - b.x.start for b in blocks], 1)
    of_q = torch.split(weights, [b.weights.stop - b.weights.start for b in blocks], 1)
    sums = []
    for n, (block, *rows) in enumerate(zip(blocks, of_x, of_q, strict=True)):
        x, q = (o.unflatten(1, (-1, block.features)) for o in rows)  # type: ignore[no-untyped-call]
        sums.append(_sum_over_edges("paths", [form.number, n], [x, angular, q], indices, num).flatten(1))
    return sums[0] if len(sums) == 1 else torch.cat(sums, 1)


def path_sums_if_supported(
    x: torch.Tensor,
    angular: torch.Tensor,
    weights: torch.Tensor,
    indices: tuple[torch.Tensor, torch.Tensor],
    num: int,
    form: PathForm,
) -> torch.Tensor | None:
    """Return the value of :func:`sum_paths`, or None, with the reason in the log."""
    reason = gpu_obstacle([x, angular, weights]) or (
        "an array is empty" if 0 in (*x.shape, *weights.shape, num) else ""
    )
    if reason:
        kernels.log_fallback("path_sums", reason)
        return None
    return sum_paths(x, angular, weights, indices, num, form)


def _sum_over_edges(
    name: str, arguments: list[int], operands: Tensors, indices: tuple[torch.Tensor, torch.Tensor], num: int
) -> torch.Tensor:
    """Return sums (num, components, F)."""
    has_gradients = torch.is_grad_enabled() and any(o.requires_grad for o in operands)
    lists = graph_lists(*indices, num, operands[0].shape[0], has_gradients)
    slots = tuple(range(len(operands)))
    (out,) = contractions(name, arguments, Program(slots, (len(slots),), ((0, slots),)), operands, lists)
    return out


def couple_features(x: torch.Tensor, y: torch.Tensor, kernel: torch.Tensor, plan: CouplingPlan) -> torch.Tensor:
    """Couple two features; see :meth:`~e3any_backends.generic.Backend.couple_features`.

    Leading axes of the factors are equal, or one of them has none longer than one.
    """
    lead = max(x.shape[:-3], y.shape[:-3], key=lambda shape: (len(shape), math.prod(shape) != 1))
    rows = [o.reshape(math.prod(o.shape[:-3]), o.shape[-3] * o.shape[-2], o.shape[-1]) for o in (x, y)]
    shared = 8 | sum(1 << slot for slot, o in enumerate(rows) if o.shape[0] == 1 != math.prod(lead))
    operands = [*rows, kernel.reshape(1, -1, kernel.shape[-1])]
    program = Program((0, 1, 3), (2,), ((0, (0, 1, 2)),))
    (out,) = contractions("rows", [handle(plan, "product_form"), shared], program, operands, [])
    return out.reshape(*lead, plan.kernel_shape[4], plan.kernel_shape[5] ** 2, out.shape[-1])


def gpu_obstacle(tensors: Sequence[torch.Tensor]) -> str:
    """Return why kernels for GPUs do not support tensors, empty if they do."""
    if not available():
        return "Triton is not installed"
    if not switch.get():
        return "kernels are switched off"
    dtype = tensors[0].dtype
    if any(t.dtype != dtype for t in tensors) or str(dtype).rpartition(".")[2] not in WIDE:
        return "the dtype is " + ", ".join(str(t.dtype) for t in tensors)
    if not all(t.is_cuda for t in tensors) and not is_interpreted():
        return "a tensor is not on a GPU"
    if torch.compiler.is_exporting():
        return "exported programs run without e3any"
    if torch._C._are_functorch_transforms_active():
        return "a transformation of torch.func is under way"
    if torch.autograd.forward_ad._current_level >= 0:
        return "derivatives are taken in forward mode"
    return ""


def contractions(name: str, arguments: list[int], program: Program, operands: Tensors, lists: Tensors) -> Tensors:
    """Return the outputs of a program of the map ``MAPS[name](*arguments)``, in the dtype of the operands."""
    found: Tensors = _operator([o.contiguous() for o in operands], lists, name, arguments, program.encoded())
    return found


# -- the operator -------------------------------------------------------------------------------------------


class _Context(Context, Protocol):
    """Attributes that the operator saves for the backward pass."""

    name: str
    arguments: list[int]
    program: Program
    num: int
    has_lists: bool


def _launch(launch: Launch) -> Sequence[Array]:
    """Run a kernel."""
    device = launch.inputs[0].device
    if launch.is_update:
        results = [launch.inputs[-1]]
    else:
        results = [torch.empty(s, dtype=getattr(torch, launch.dtype), device=device) for s in launch.outputs]
    if all(launch.grid):
        launch.kernel.function[launch.grid](*launch.inputs, *results, num_warps=launch.num_warps, enable_fp_fusion=True)
    return results


def _value(
    operands: list[torch.Tensor], lists: list[torch.Tensor], name: str, arguments: list[int], program: list[int]
) -> list[torch.Tensor]:
    if not operands[0].is_cuda and not is_interpreted():
        raise RuntimeError(f"expected tensors on a GPU, got some on {operands[0].device}")
    found = MAPS[name](*arguments)
    dtype = operands[0].dtype
    decoded = Program.decoded(program, found.num_slots - 1)
    with torch.cuda.device_of(operands[0]):  # type: ignore[no-untyped-call]  # Triton launches on the current device
        values = found.evaluate(decoded, operands, lists, str(dtype).rpartition(".")[2], _launch)
    return [value.to(dtype) for value in values]


def _fake(operands: Tensors, lists: Tensors, name: str, arguments: list[int], program: list[int]) -> Tensors:
    found = MAPS[name](*arguments)
    decoded = Program.decoded(program, found.num_slots - 1)
    shapes = outputs(found, decoded, [tuple(o.shape) for o in operands], [tuple(t.shape) for t in lists])
    return [operands[0].new_empty(shape) for shape in shapes]


def _setup(ctx: _Context, inputs: tuple[Array, ...], output: object) -> None:
    operands, lists, ctx.name, ctx.arguments, program = inputs
    ctx.program = Program.decoded(program, MAPS[ctx.name](*ctx.arguments).num_slots - 1)
    ctx.num, ctx.has_lists = len(operands), bool(lists)
    ctx.save_for_backward(*operands, *lists)


def _backward(ctx: _Context, cotangents: Sequence[torch.Tensor | None]) -> tuple[object, ...]:
    """Return the gradients with respect to the operands: the operator's value for the transposed program."""
    tensors, num = list(ctx.saved_tensors), ctx.num
    gradients: list[torch.Tensor | None] = [None] * num
    wanted = [o for o in range(num) if ctx.needs_input_grad[0][o]]  # type: ignore[index]
    program = ctx.program.transposed([c is not None for c in cotangents], wanted)
    program, outs, used = program.needed()
    if outs:
        members = [*tensors[:num], *cotangents]
        values = contractions(ctx.name, ctx.arguments, program, [members[o] for o in used], tensors[num:])  # type: ignore[misc]
        for out, value in zip(outs, values, strict=True):
            gradients[wanted[out]] = value
    return gradients, [None] * (len(tensors) - num), None, None, None


_library = torch.library.Library("e3any_gpu", "DEF")  # type: ignore[no-untyped-call]
_library.define("contractions" + torch.library.infer_schema(_value, mutates_args=()))  # type: ignore[no-untyped-call]
for _device in ("CPU", "CUDA"):
    _library.impl("contractions", _value, _device)  # type: ignore[no-untyped-call]
torch.library.register_fake("e3any_gpu::contractions", _fake, lib=_library)
torch.library.register_autograd("e3any_gpu::contractions", _backward, setup_context=_setup, lib=_library)
_operator = torch.ops.e3any_gpu.contractions.default
