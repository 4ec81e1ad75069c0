"""Kernels called with tensors, outside of automatic differentiation; the reference if a kernel does not work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter

import torch

from e3any_backends.arrays import Array
from e3any_backends.kernels import KernelError
from e3any_backends.kernels.harmonic_maps import Harmonics
from e3any_backends.kernels.maps import (
    Contraction,
    Contractions,
    Linear,
    MultilinearMap,
    gradients_of,
    value_of,
)
from e3any_backends.references.harmonics import harmonics_by_recursion
from e3any_backends.references.linear import linear_by_matmul
from e3any_backends.torch.arrays import ARRAYS

__all__ = [
    "affine",
    "gradients",
    "harmonics_gradient",
    "harmonics_second_derivatives",
    "harmonics_value",
    "reference",
    "reference_gradients",
    "reference_harmonics",
    "reference_harmonics_gradient",
    "value",
]

Tensors = list[torch.Tensor]
_shape_of = attrgetter("shape")


def as_numpy(tensors: Sequence[torch.Tensor]) -> list[Array]:
    """Return contiguous NumPy arrays, which share the memory of contiguous tensors."""
    arrays = []
    for t in _packed(tensors):
        arrays.append(t.detach().numpy())
    return arrays


def _packed(tensors: Sequence[torch.Tensor]) -> Tensors:
    """Return contiguous tensors whose memory holds their numbers, and not the negatives or nothing for zeros."""
    packed = []
    for t in tensors:
        is_lazy = t.is_neg() or t._is_zerotensor()
        packed.append(t.clone(memory_format=torch.contiguous_format) if is_lazy else t.contiguous())
    return packed


def _own(x: torch.Tensor) -> torch.Tensor:
    """Return a contiguous copy: an operator must not return its inputs or views of them."""
    return x.clone(memory_format=torch.contiguous_format)


# -- multilinear maps ---------------------------------------------------------------------------------------


def value(kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
    """Return the value of a map."""
    with suppress(KernelError):
        if isinstance(kernel, Contraction):
            return _contracted(value_of(kernel, tuple(map(_shape_of, operands)), operands[0].dtype), operands)[0]
        arrays, num = as_numpy((*operands, *indices)), len(operands)
        return torch.from_numpy(kernel.value(arrays[:num], arrays[num:], count=torch.get_num_threads))
    return _own(reference(kernel, operands, indices))


def gradients(kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor) -> Tensors:
    """Return the gradients of the sum of ``g`` times the value, with respect to each operand."""
    with suppress(KernelError):
        if isinstance(kernel, Contraction):
            with_g = *operands[: kernel.output], g, *operands[kernel.output :]
            return _contracted(gradients_of(kernel, tuple(map(_shape_of, operands)), g.dtype), with_g)
        arrays, num = as_numpy((*operands, *indices, g)), len(operands)
        found = kernel.vjp(arrays[:num], arrays[num:-1], arrays[-1], count=torch.get_num_threads)
        return [torch.from_numpy(d) for d in found]
    return [_own(d) for d in reference_gradients(kernel, operands, indices, g)]


def _contracted(contractions: Contractions, operands: Sequence[torch.Tensor]) -> Tensors:
    """Return the outputs of contractions. Addresses of tensors cost less than arrays of NumPy for all of them."""
    if contractions.plan is None:
        return list(map(torch.from_numpy, contractions(as_numpy(operands), torch.get_num_threads)))
    results = list(map(torch.from_numpy, contractions.empty_results()))
    tensors = [*_packed(operands), *results]
    contractions.write(list(map(torch.Tensor.data_ptr, tensors)), tensors, torch.get_num_threads)
    return results


def reference(kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors) -> torch.Tensor:
    """Return the value of a map by its reference, which PyTorch differentiates."""
    found: torch.Tensor = kernel.reference(ARRAYS, list(operands), indices)
    return found


def reference_gradients(
    kernel: MultilinearMap, operands: Sequence[torch.Tensor], indices: Tensors, g: torch.Tensor
) -> Sequence[torch.Tensor]:
    """Return gradients by the reference."""
    vjp = torch.func.vjp(lambda *o: reference(kernel, o, indices), *operands)[1]
    found: Sequence[torch.Tensor] = vjp(g)
    return found


def affine(x: torch.Tensor, w: torch.Tensor, which: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the linear map of components, with a bias."""
    with suppress(KernelError):
        return torch.from_numpy(Linear().affine(*as_numpy([x, w, which, bias]), count=torch.get_num_threads))
    found: torch.Tensor = linear_by_matmul(ARRAYS, x, w, which, bias)
    return found


# -- harmonics ----------------------------------------------------------------------------------------------


def harmonics_value(kernel: Harmonics, r: torch.Tensor) -> torch.Tensor:
    """Return harmonics."""
    return _by_kernel(kernel.value, partial(reference_harmonics, kernel), r)


def harmonics_gradient(kernel: Harmonics, r: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Return the gradients of the sum of ``g`` times the harmonics."""
    return _by_kernel(kernel.vjp, partial(reference_harmonics_gradient, kernel), r, g)


def harmonics_second_derivatives(
    kernel: Harmonics, r: torch.Tensor, g: torch.Tensor, c: torch.Tensor
) -> Sequence[torch.Tensor]:
    """Return the gradients of the sum of ``c`` times :func:`harmonics_gradient`, with respect to ``r`` and ``g``."""
    with suppress(KernelError):
        arrays = as_numpy([r, g, c])
        second = kernel.second_vjp(*arrays, count=torch.get_num_threads)
        return torch.from_numpy(second), torch.from_numpy(kernel.jvp(arrays[0], arrays[2], count=torch.get_num_threads))
    found: Sequence[torch.Tensor] = torch.func.vjp(partial(reference_harmonics_gradient, kernel), r, g)[1](c)
    return found


def _by_kernel(
    kernel: Callable[..., Array], reference: Callable[..., torch.Tensor], *tensors: torch.Tensor
) -> torch.Tensor:
    """Return the result of a kernel, or of a reference if the kernel does not work."""
    with suppress(KernelError):
        return torch.from_numpy(kernel(*as_numpy(tensors), count=torch.get_num_threads))
    return reference(*tensors)


def reference_harmonics(kernel: Harmonics, r: torch.Tensor) -> torch.Tensor:
    """Return harmonics by the reference, which PyTorch differentiates."""
    found: torch.Tensor = harmonics_by_recursion(ARRAYS, r, kernel.factors, kernel.order, kernel.unit)
    return found


def reference_harmonics_gradient(kernel: Harmonics, r: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Return gradients of harmonics by the reference."""
    derivatives: tuple[torch.Tensor] = torch.func.vjp(partial(reference_harmonics, kernel), r)[1](g)
    return derivatives[0]
