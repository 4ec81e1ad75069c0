"""The PyTorch backend."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Protocol

import torch
from torch.utils.checkpoint import checkpoint

from e3any_backends import kernels
from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import CouplingPlan
from e3any_backends.forms.paths import PathForm
from e3any_backends.kernel_backend import KernelBackend
from e3any_backends.references.edges import edge_products_by_segments
from e3any_backends.torch import private
from e3any_backends.torch.arrays import TorchArrays, has_memory
from e3any_backends.torch.edges import edge_products_at_once
from e3any_backends.torch.modes import obstacle

__all__ = ["CLASSES", "TorchBackend"]

#: Classes of tensors for which the backend is chosen without further checks.
CLASSES: tuple[type, ...] = (torch.Tensor, torch.nn.Parameter)


class TorchBackend(TorchArrays, KernelBackend):
    """The operations of layers on PyTorch tensors."""

    obstacle = staticmethod(obstacle)

    def apply(self, name: str, arguments: tuple[int, ...], operands: list[Array], indices: list[Array]) -> Array:
        """Return the value of the map ``MAPS[name](*arguments)``."""
        return _kernels().apply(name, arguments, operands, indices)

    def harmonics(self, r: Array, factors: tuple[float, ...], order: tuple[int, ...], unit: bool) -> Array:
        """Evaluate harmonics, by a kernel or by the reference."""
        if len(factors) == 1 or not self.supports("harmonics", r) or kernels.harmonics_are_few(r, len(order)):
            return super().harmonics(r, factors, order, unit)
        if not torch.compiler.is_compiling():
            from e3any_backends.torch.eager import harmonics

            return harmonics(r, factors, order, unit)
        if kernels.harmonics_compile(_name(r.dtype)):
            from e3any_backends.torch.operators import harmonics_by_operator

            return harmonics_by_operator(r, factors, order, unit)
        return super().harmonics(r, factors, order, unit)

    def _linear_by_kernel(self, x: Array, w: Array, which: Array, bias: Array | None, precision: object) -> Array:
        return _kernels().linear(x, w, which, bias)

    def edge_products_by_reference(
        self, x: Array, angular: Array, radial: Array, src: Array, dst: Array, num: int, indices_are_sorted: bool
    ) -> Array:
        """Sum products over edges: on CPUs block by block, elsewhere at once."""
        if not x.is_cpu:
            return edge_products_at_once(self, x, angular, radial, src, dst, num)
        sums = partial(edge_products_by_segments, self, num=num, indices_are_sorted=indices_are_sorted)
        # Compilers would take one number of blocks for all sizes, and torch.func does not support checkpoints.
        if torch.compiler.is_compiling() or not all(map(has_memory, (x, angular, radial))):
            return sums(x, angular, radial, src, dst)
        size = max(1, _BLOCK_BYTES // max(1, x.element_size() * math.prod(x.shape[1:])))
        if src.shape[0] <= size:
            return sums(x, angular, radial, src, dst)
        total = x.new_zeros((num, angular.shape[1], *x.shape[1:]))
        for block in zip(*(torch.split(a, size) for a in (angular, radial, src, dst)), strict=True):
            total += checkpoint(sums, x, *block, use_reentrant=False, preserve_rng_state=False)
        return total

    def convolve(
        self,
        x: Array,
        angular: Array,
        radial: Array,
        kernel: Array,
        indices: tuple[Array, Array],
        num: int,
        plan: CouplingPlan,
        indices_are_sorted: bool = False,
    ) -> Array | None:
        """Sum products over edges and couple them, by a kernel for GPUs if there is one."""
        if not x.is_cuda:
            return None
        from e3any_backends.torch import gpu

        return gpu.convolve_if_supported(x, angular, radial, kernel, indices, num, plan)

    def sums_paths(self, x: Array, angular: Array, weights: Array) -> bool:
        """Return whether kernels for CPUs or for GPUs sum over paths."""
        if not x.is_cuda:
            return self.supports("path_sums", x, angular, weights)
        from e3any_backends.torch import gpu

        return not gpu.gpu_obstacle([x, angular, weights])

    def path_sums(
        self,
        x: Array,
        angular: Array,
        weights: Array,
        src: Array,
        dst: Array,
        num: int,
        form: PathForm,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Sum couplings with weights of every edge and path over edges, by a kernel or by the reference."""
        if x.is_cuda:
            from e3any_backends.torch import gpu

            found = gpu.path_sums_if_supported(x, angular, weights, (dst, src), num, form)
            if found is not None:
                return found
        return super().path_sums(x, angular, weights, src, dst, num, form, indices_are_sorted)


# Bytes of the senders' features for a block of edges. Products of a block are computed again for derivatives.
_BLOCK_BYTES = 2**26


class _Kernels(Protocol):
    """Calls of the kernels of multilinear maps, as functions of a module."""

    def apply(
        self, name: str, arguments: tuple[int, ...], operands: list[torch.Tensor], indices: list[torch.Tensor]
    ) -> torch.Tensor:
        """Return the value of a map."""

    def linear(self, x: torch.Tensor, w: torch.Tensor, which: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Multiply components with matrices."""


def _kernels() -> _Kernels:
    """Return the module that calls kernels: operators for compilers, else functions of automatic differentiation."""
    # Both modules import numba.
    if torch.compiler.is_compiling():
        from e3any_backends.torch import operators

        return operators
    return _eager_kernels()


@cache  # an import statement takes 1 µs
def _eager_kernels() -> _Kernels:
    from e3any_backends.torch import eager

    return eager


def _name(dtype: torch.dtype) -> str:
    return "float64" if dtype == torch.float64 else "float32"


for _function in (kernels.used, kernels.harmonics_compile, kernels.log_fallback):
    private.set_constant(_function)
