"""What eager PyTorch launches on a device: operations on tensors without data, counted as PyTorch dispatches them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from e3any_torch import to_torch
from instrument.frameworks.torch import leaves_of, sum_of_squares, tensors
from instrument.task import Task
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from e3any import nn

__all__ = ["MODES", "count"]

MODES = ("forward", "backward", "second")


class _Count(TorchDispatchMode):
    """Counts operations that compute something, and the bytes of their operands and results."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        # Views share memory with an operand, and so do operations in place, which write.
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in function._schema.returns)
        if not (is_view or function.overloadpacket.__name__ in _FREE):
            self.launches += 1
            self.bytes += sum(
                x.numel() * x.element_size() for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)
            )
        return result


# Memory without a value, and copies of tables that are already on the device.
_FREE = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "lift_fresh", "_to_copy", "_unsafe_view"}


def count(task: Task) -> dict[str, dict[str, int]]:
    """Return launches and bytes of the forward pass, and of each further pass alone.

    "backward" is the gradient of a sum of squares with respect to everything, "second" that of the sum of squares of
    the gradient.
    """
    apply, parameters, inputs = _on_device(task)
    leaves = [x.requires_grad_() for x in leaves_of((parameters, inputs)) if x.dtype.is_floating_point]
    apply(*inputs)  # tables are copied to the device once
    found: dict[str, _Count] = {mode: _Count() for mode in MODES}
    with found["forward"]:
        value = apply(*inputs)
    with found["backward"]:
        gradient = torch.autograd.grad(sum_of_squares([*leaves_of(value)]), leaves, create_graph=True)
    with found["second"]:
        torch.autograd.grad(sum_of_squares(gradient), leaves, allow_unused=True)
    return {mode: {"launches": counts.launches, "bytes": counts.bytes} for mode, counts in found.items()}


def _on_device(task: Task) -> tuple[Callable[..., Any], Any, tuple[Any, ...]]:
    """Return a function of tensors, its parameters, and inputs on the device "meta", which has no memory."""
    inputs = _moved(tensors(task.arrays))
    if not isinstance(task.compute, nn.Layer):
        function = task.bind(lambda _, *arrays, **options: task.compute(*arrays, **options))
        return lambda *arrays: function(None, *arrays), None, inputs
    module = to_torch(task.compute, *task.inputs, **task.lists).to("meta")
    function = task.bind(lambda _, *arrays, **options: module(*arrays, **options))
    return lambda *arrays: function(None, *arrays), dict(module.named_parameters()), inputs


def _moved(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return tree.to("meta")
    if isinstance(tree, nn.FactoredBasis):
        return nn.FactoredBasis(*map(_moved, tree))
    return tuple(map(_moved, tree))
