"""Programs of PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from e3any_torch import to_torch

from e3any import nn

from ..program import Program, Unavailable
from ..task import Task

torch.set_num_threads(1)


@dataclass(frozen=True)
class TorchProgram(Program):
    """A function of tensors; parameters can be those of the modules that it calls."""

    compiled: bool = False

    def _call(self, mode: str) -> Callable[[], Any]:
        if self.compiled and mode not in ("forward", "backward"):
            raise Unavailable(f"PyTorch differentiates compiled functions once, so no mode {mode!r}")
        torch._dynamo.config.recompile_limit = 64  # one function at many sizes in one process
        apply = torch.compile(self.apply, fullgraph=True, dynamic=False) if self.compiled else self.apply
        leaves = [x for x in leaves_of((self.params, self.inputs)) if x.dtype.is_floating_point]
        for x in leaves:
            x.requires_grad_(mode != "forward")
        calls = {"forward": self._forward, "backward": self._backward, "second": self._second, "forces": self._forces}
        return self._training() if mode == "training" else lambda: calls[mode](apply, leaves)

    def _forward(self, apply: Callable[..., Any], _: list[Any]) -> Any:
        with torch.no_grad():
            return apply(self.params, *self.inputs)

    def _backward(self, apply: Callable[..., Any], leaves: list[Any]) -> Any:
        return torch.autograd.grad(sum_of_squares(apply(self.params, *self.inputs)), leaves, allow_unused=True)

    def _second(self, apply: Callable[..., Any], leaves: list[Any]) -> Any:
        first = list(leaves_of(self.inputs[0]))
        gradient = torch.autograd.grad(sum_of_squares(apply(self.params, *self.inputs)), first, create_graph=True)
        return torch.autograd.grad(sum_of_squares(gradient), leaves, allow_unused=True)

    def _forces(self, apply: Callable[..., Any], _: list[Any], create_graph: bool = False) -> Any:
        energies = apply(self.params, *self.inputs)
        return energies, torch.autograd.grad(energies.sum(), self.inputs[0], create_graph=create_graph)[0]

    def _training(self) -> Callable[[], Any]:
        adam = torch.optim.Adam(list(leaves_of(self.params)), 1e-3)

        def step() -> None:
            loss = sum_of_squares(self._forces(self.apply, [], create_graph=True))
            adam.zero_grad()
            loss.backward()
            adam.step()

        return step


def tensors(tree: Any) -> Any:
    """Return a tree of NumPy arrays as tensors."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    if isinstance(tree, nn.FactoredBasis):
        return nn.FactoredBasis(*map(tensors, tree))
    return tuple(map(tensors, tree))


def leaves_of(tree: Any) -> Any:
    """Yield the tensors of nested dictionaries and tuples."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif tree is not None:
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves_of(branch)


def sum_of_squares(tree: Any) -> Any:
    return sum(torch.sum(x**2) for x in leaves_of(tree))


def program(task: Task, compiled: bool = False, kernels: bool = True) -> TorchProgram:
    """Return a task done by e3any."""
    arrays = tensors(task.arrays)
    if not isinstance(task.compute, nn.Layer):
        apply = task.bind(lambda _, *inputs, **options: task.compute(*inputs, **options))
        return TorchProgram(apply, None, arrays, kernels, compiled)
    return module_program(to_torch(task.compute, *task.inputs, **task.lists), task, compiled, kernels)


def module_program(module: torch.nn.Module, task: Task, compiled: bool = False, kernels: bool = True) -> TorchProgram:
    """Return a task done by a module with its own parameters."""
    apply = task.bind(lambda _, *inputs, **options: module(*inputs, **options))
    return TorchProgram(apply, dict(module.named_parameters()), tensors(task.arrays), kernels, compiled)
