"""Arrays of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import array_api_compat.torch
import numpy as np
import torch
from numpy.typing import ArrayLike

from e3any_backends.arrays import Array, Arrays, Device, DType
from e3any_backends.forms.tables import lookup
from e3any_backends.torch import private

__all__ = ["ARRAYS", "TorchArrays", "has_memory"]


class TorchArrays(Arrays):
    """Operations on tensors."""

    def __init__(self) -> None:
        super().__init__(array_api_compat.torch)

    classes = (torch.Tensor,)

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is a tensor."""
        return isinstance(x, torch.Tensor)

    def device(self, x: Array) -> Device:
        """Return the device of ``x``."""
        return x.device

    def check_devices(self, *arrays: object) -> None:
        """Raise a ValueError unless tensors are dense and on one device; scalars (of no axis) can be on the CPU."""
        first = None
        for x in arrays:
            if isinstance(x, torch.Tensor):
                if x.layout is not torch.strided or x.is_nested:
                    raise ValueError(_expected_dense(x))
                if first is None:
                    first = x.device
                elif x.device != first:
                    _check_different_devices(arrays)
                    return

    def constant(self, table: ArrayLike, like: Array, dtype: DType | None = None) -> Array:
        """Return a table or Python number in the dtype and on the device of ``like``."""
        dtype = like.dtype if dtype is None else dtype
        if isinstance(table, np.ndarray):
            return torch.from_numpy(np.require(table, requirements=["C", "W"])).to(device=like.device, dtype=dtype)
        return torch.as_tensor(table, dtype=dtype, device=like.device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return a tensor as an array of NumPy, which has no bfloat16."""
        x = x.detach().cpu()
        return np.asarray(x.float() if x.dtype == torch.bfloat16 else x)

    def table(self, function: Callable[..., np.ndarray], *arguments: Hashable, like: Array) -> Array:
        """Return a table on the device of ``like``, copied there once."""
        # The fake tensor of a trace must not outlive it.
        keep = type(like) in (torch.Tensor, torch.nn.Parameter)
        return _tensor(like.dtype, like.device, keep, function, *arguments)[0]

    def select(self, x: Array, table: Array, axis: int) -> Array:
        """Return slices of ``x`` along an axis; no position is negative."""
        return torch.index_select(x, axis, table)

    def is_floating(self, x: Array) -> bool:
        """Return whether ``x`` has a real floating-point dtype; with those of 8 bits PyTorch does not compute.

        Raises
        ------
        ValueError
            If the tensor is sparse, nested or in a layout of a library, as few operations support these.
        """
        if x.layout is not torch.strided or x.is_nested:
            raise ValueError(_expected_dense(x))
        return x.dtype in _FLOATING

    def is_integer(self, x: Array) -> bool:
        """Return whether ``x`` has an integer dtype."""
        return not (x.dtype.is_floating_point or x.dtype.is_complex or x.dtype == torch.bool)

    def matmul(self, a: Array, b: Array, precision: object = None) -> Array:
        """Multiply matrices of one dtype, which the result keeps; autocast rounds factors unless ``"highest"``."""
        kind = a.device.type
        if precision == "highest" and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return torch.matmul(a, b)
        product = torch.matmul(a, b)
        return product if product.dtype == a.dtype else product.to(a.dtype)

    def stop_gradient(self, x: Array) -> Array:
        """Return ``x``, treated as a constant by automatic differentiation."""
        return x.detach()

    def derivative(self, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """Return the derivative of a function along a vector of ones."""
        return lambda x: torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]

    def pieces(self, x: Array, sizes: Sequence[int], axis: int) -> list[Array]:
        """Split an axis into slices of these sizes: views with one operation, and one for all derivatives."""
        return list(torch.split(x, list(sizes), axis))

    def components(self, x: Array) -> list[Array]:
        """Return the slices of ``x`` along its last axis: views with one operation, and one for all derivatives."""
        return list(torch.unbind(x, -1))

    def erf(self, x: Array) -> Array:
        """Return the error function."""
        return torch.special.erf(x)

    def take(self, x: Array, indices: Array) -> Array:
        """Return rows of ``x``; rows of indices out of range are zero."""
        num = x.shape[0]
        if num == 0:
            return x.new_zeros((indices.shape[0], *x.shape[1:]))
        indices = self.as_index(indices)
        # Each operation is a launch on a device: two for the check, and one for the mask.
        present = torch.clamp(indices, 0, num - 1)
        rows = torch.index_select(x, 0, present)
        return torch.masked_fill(rows, self._rows_like(present != indices, rows), 0)

    def segment_sum(self, x: Array, segments: Array, num_segments: int, indices_are_sorted: bool = False) -> Array:
        """Sum rows that have the same segment number, by ``index_add``."""
        # Padding is added to one more row, which is then cut off.
        segments = self.as_index(segments)
        segments = torch.clamp(torch.masked_fill(segments, segments < 0, num_segments), max=num_segments)
        wide = self.widened(x)
        total = wide.new_zeros((num_segments + 1, *x.shape[1:]))
        return torch.index_add(total, 0, segments, wide)[:num_segments].to(x.dtype)

    def segment_max(self, x: Array, segments: Array, num_segments: int) -> Array:
        """Return the largest row entries of every segment, by ``index_reduce``."""
        segments = self.as_index(segments)
        valid = (segments >= 0) & (segments < num_segments)
        index = torch.where(valid, segments, num_segments).to(torch.int64)  # older releases take no other
        lowest = x.new_full((num_segments + 1, *x.shape[1:]), self.lower_bound(x))
        index = self._rows_like(index, x).expand(x.shape)
        return torch.scatter_reduce(lowest, 0, index, x, "amax", include_self=True)[:num_segments]

    def random_uniform(self, generator: torch.Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Draw uniform numbers in [0, 1) from a :class:`torch.Generator`."""
        return torch.rand(tuple(shape), generator=generator, dtype=dtype, device=generator.device)

    def random_normal(self, generator: torch.Generator, shape: Sequence[int], dtype: DType | None = None) -> Array:
        """Draw normal numbers from a :class:`torch.Generator`."""
        return torch.randn(tuple(shape), generator=generator, dtype=dtype, device=generator.device)

    def random_truncated_normal(
        self, generator: torch.Generator, shape: Sequence[int], dtype: DType | None = None
    ) -> Array:
        """Draw from a normal distribution cut off at -2 and 2."""
        sample = torch.empty(tuple(shape), dtype=dtype, device=generator.device)
        return torch.nn.init.trunc_normal_(sample, a=-2.0, b=2.0, generator=generator)


def _expected_dense(x: torch.Tensor) -> str:
    if x.is_nested:
        return (
            "expected dense tensors, got a nested one: pad it, x.to_padded_tensor(0.0), or join its parts, x.values()"
        )
    return f"expected dense tensors, got one of layout {x.layout}: convert it, x.to_dense()"


def _check_different_devices(arrays: Sequence[object]) -> None:
    tensors = [x for x in arrays if isinstance(x, torch.Tensor)]
    devices = {str(x.device): None for x in tensors if x.ndim or x.device.type != "cpu"}
    if len(devices) > 1:
        raise ValueError(f"expected tensors on one device, got {' and '.join(devices)}")


_FLOATING = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_MAX_TENSORS = 4096
_tensors: dict[tuple[Hashable, ...], list[torch.Tensor]] = {}


@private.set_constant
def _tensor(
    dtype: torch.dtype, device: torch.device, keep: bool, function: Callable[..., np.ndarray], *arguments: Hashable
) -> list[torch.Tensor]:
    """Return a table as a tensor; real numbers have the given dtype."""
    key = dtype, device, function, arguments
    if keep and key in _tensors:
        return _tensors[key]
    array = np.require(lookup(function, *arguments), requirements=["C", "W"])
    tensor = torch.from_numpy(array)
    if array.dtype.kind != "b":
        tensor = tensor.to(dtype if array.dtype.kind == "f" else torch.int64)
    tensor = tensor.to(device)
    private.set_fixed_sizes(tensor)
    # In a list: a compiler calls all results of a function by one name, but items of a list by their own.
    result = [tensor]
    if keep and _is_kept(tensor):
        if len(_tensors) >= _MAX_TENSORS:
            _tensors.clear()
        _tensors[key] = result
    return result


def _is_kept(x: torch.Tensor) -> bool:
    """Return whether a tensor is valid outside of the transformation or inference mode that made it."""
    return has_memory(x) and not x.is_inference()


def has_memory(x: torch.Tensor) -> bool:
    """Return whether a tensor has data, unlike the fake ones of transformations and traces."""
    if type(x) not in (torch.Tensor, torch.nn.Parameter):
        return False  # some of these warn if data_ptr is called
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


#: The one instance, for functions that need no backend.
ARRAYS = TorchArrays()

private.set_constant(lookup)
