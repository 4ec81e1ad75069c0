"""e3nn: code generated for every product, compiled by TorchScript or by ``torch.compile``."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import e3nn
import numpy as np
import torch
from e3nn import o3
from e3nn.nn import NormActivation

from .. import model
from ..frameworks.torch import TorchProgram, module_program, tensors
from ..irreps import Irrep, couplings, flat, irreps, irreps_of
from ..task import Task


def spherical_harmonics(task: Task, compiled: bool = False) -> TorchProgram:
    """Return harmonics of unit vectors."""
    degrees = list(range(task.options["max_degree"] + 1))
    return TorchProgram(
        lambda _, r: o3.spherical_harmonics(degrees, r, True), None, tensors(task.arrays), compiled=compiled
    )


def wigner_d(task: Task, compiled: bool = False) -> TorchProgram:
    """Return the blocks of all degrees on one diagonal."""
    irreps = o3.Irreps([(1, (l, 1)) for l in range(task.options["max_degree"] + 1)])
    return TorchProgram(lambda _, q: irreps.D_from_matrix(q), None, tensors(task.arrays), compiled=compiled)


def dense(task: Task, compiled: bool = False) -> TorchProgram:
    """Return a linear map of every irrep."""
    x = task.inputs[0]
    out = _irreps(irreps_of(x), task.compute.features)
    module = _built(lambda: o3.Linear(_irreps_of(x), out, biases=True), compiled)
    return TorchProgram(lambda _, x: module(x), dict(module.named_parameters()), tensors((flat(x),)), compiled=compiled)


def tensor(task: Task, compiled: bool = False) -> TorchProgram:
    """Return the product of equal features with a weight for every path and feature."""
    x, y = task.inputs
    module = _built(lambda: _product(irreps_of(x), irreps_of(y), irreps_of(x), x.shape[-1], "uuu"), compiled)
    weights = torch.randn(module.weight_numel)
    return TorchProgram(lambda w, x, y: module(x, y, w), weights, tensors((flat(x), flat(y))), compiled=compiled)


def message_pass(task: Task, compiled: bool = False) -> TorchProgram:
    """Return messages along edges, with weights of paths that are linear in the radial functions."""
    x, basis = task.inputs
    filters = irreps(basis.max_degree, 1)
    module = _built(lambda: _product(irreps_of(x), filters, irreps_of(x), x.shape[-1], "uvu"), compiled)
    weights = torch.randn(basis.radial.shape[-1], module.weight_numel)

    def apply(weights: Any, x: Any, radial: Any, angular: Any, dst: Any, src: Any) -> Any:
        messages = module(x[src], angular, radial @ weights)
        return torch.zeros_like(x).index_add(0, dst, messages)

    arrays = flat(x), basis.radial[:, 0], basis.angular, task.lists["dst_idx"], task.lists["src_idx"]
    return TorchProgram(apply, weights, tensors(arrays), compiled=compiled)


def energies(task: Task, compiled: bool = False) -> TorchProgram:
    """Return a model of the same structure."""
    return module_program(_built(lambda: Energies(task.compute), compiled), task, compiled=compiled)


class Energies(torch.nn.Module):
    """Passes of messages with as many features of the same irreps; activations act on norms."""

    def __init__(self, description: model.Energies) -> None:
        super().__init__()
        width, degree = description.features, description.max_degree
        kinds = [irreps(0, 1), *[irreps(degree, 2)] * (description.passes - 1), irreps(0, 1)]
        self.filters = irreps(degree, 1)
        self.embed = torch.nn.Embedding(model.NUM_ELEMENTS, width)
        self.passes = torch.nn.ModuleList(_Pass(a, self.filters, b, width) for a, b in pairwise(kinds))
        self.energy = o3.Linear(f"{width}x0e", "1x0e")

    def forward(self, positions: Any, numbers: Any, *, adj_idx: Any) -> Any:
        """Return energies (B,) of atoms (B*N,) with lists of neighbours (B*N, N-1)."""
        count = adj_idx.shape[1]
        src, dst = adj_idx.reshape(-1), torch.arange(len(positions)).repeat_interleave(count)
        r = positions[src] - positions[dst]
        angular = o3.spherical_harmonics([a.degree for a in self.filters], r, True)
        radial = _radial(torch.linalg.vector_norm(r, dim=-1))
        x = self.embed(numbers)
        for layer in self.passes:
            x = layer(x, angular, radial, dst, src)
        return self.energy(x).reshape(-1, count + 1).sum(1)


class _Pass(torch.nn.Module):
    def __init__(self, inputs: list[Irrep], filters: list[Irrep], outputs: list[Irrep], width: int) -> None:
        super().__init__()
        first, last = _irreps(inputs, width), _irreps(outputs, width)
        targets = {k for _, _, k in couplings(inputs, filters, outputs)}
        reached = [outputs[k] for k in sorted(targets)]
        middle = _irreps(reached, width)
        self.product = _product(inputs, filters, reached, width, "uvu")
        self.weights = torch.nn.Linear(model.NUM_RADIAL, self.product.weight_numel, bias=False)
        self.skip = o3.Linear(first, last)
        self.refine, self.update = o3.Linear(middle, middle), o3.Linear(middle, last)
        self.activation = NormActivation(middle, torch.nn.functional.silu)

    def forward(self, x: Any, angular: Any, radial: Any, dst: Any, src: Any) -> Any:
        """Return features of nodes."""
        messages = self.product(x[src], angular, self.weights(radial))
        y = messages.new_zeros(len(x), messages.shape[1]).index_add(0, dst, messages)
        return self.skip(x) + self.update(self.activation(self.refine(y)))


def _radial(norm: Any) -> Any:
    """Return Bernstein polynomials of 1/(1+r) with a smooth cut-off."""
    n = model.NUM_RADIAL - 1
    t = 1 / (1 + norm[:, None])
    k = torch.arange(n + 1)
    binomials = torch.tensor(np.array([float(math.comb(n, i)) for i in range(n + 1)], np.float32))
    inside = (norm / model.CUTOFF).clamp(max=1 - 1e-6)
    cutoff = torch.where(norm < model.CUTOFF, torch.exp(1 - 1 / (1 - inside**2)), 0.0)
    return binomials * t**k * (1 - t) ** (n - k) * cutoff[:, None]


def _built(build: Callable[[], Any], compiled: bool) -> Any:
    """Return a module for ``torch.compile``, or a module of TorchScript, the default of e3nn."""
    before = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_mode="eager" if compiled else "script")
    try:
        return build()
    finally:
        e3nn.set_optimization_defaults(**before)


def _product(first: list[Irrep], second: list[Irrep], out: list[Irrep], width: int, mode: str) -> Any:
    """Return a tensor product; "uuu" of equal features, "uvu" of features with one filter for each edge."""
    paths = [(i, j, k, mode, True) for i, j, k in couplings(first, second, out)]
    filters = _irreps(second, width if mode == "uuu" else 1)
    return o3.TensorProduct(
        _irreps(first, width), filters, _irreps(out, width), paths, shared_weights=mode == "uuu", internal_weights=False
    )


def _irreps(kinds: list[Irrep], width: int) -> Any:
    return o3.Irreps("+".join(f"{width}x{a}" for a in kinds))


def _irreps_of(x: Any) -> Any:
    return _irreps(irreps_of(x), x.shape[-1])
