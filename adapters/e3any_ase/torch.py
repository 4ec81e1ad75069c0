"""Derivatives of energies with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from e3any.nn import Layer
from e3any_ase.energies import Derivatives, total_energy

__all__ = ["derivatives"]


def derivatives(model: Layer, params: Mapping[str, Any], dtype: str) -> Callable[[Mapping[str, Any]], Derivatives]:
    """Return a function of padded structures; see :class:`e3any_ase.ModelCalculator`."""
    kind = getattr(torch, dtype)
    applied = partial(model, _tensors(params, kind))

    def evaluate(structure: Mapping[str, Any]) -> Derivatives:
        tensors = _tensors(structure, kind)
        positions, strain = tensors.pop("positions").requires_grad_(), torch.zeros(3, 3, dtype=kind, requires_grad=True)
        energy, energies = total_energy(applied, positions, strain, tensors)
        gradients = torch.autograd.grad(energy, (positions, strain), materialize_grads=True)
        return Derivatives(*(x.detach().numpy() for x in (energies, *gradients)))

    return evaluate


def _tensors(tree: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return a nested mapping of arrays as tensors, those of real numbers in one dtype."""
    return {
        name: _tensors(x, dtype) if isinstance(x, Mapping) else _tensor(np.asarray(x), dtype)
        for name, x in tree.items()
    }


def _tensor(x: Any, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(x))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
