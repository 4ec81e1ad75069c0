"""A small case of every layer and of a composed model, for the tests of what PyTorch does with modules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import e3any_torch
import pytest
import torch
from composed_model import Energies
from torch.utils._pytree import tree_map

from e3any import nn


@dataclass(frozen=True)
class Case:
    """A layer, and its inputs and options for a number of nodes."""

    layer: nn.Layer
    make: Callable[[torch.Generator, int], tuple[tuple, dict]]

    def arguments(self, dtype: torch.dtype = torch.float64, num: int = 4) -> tuple[tuple, dict]:
        return floating(lambda x: x.to(dtype), self.make(torch.Generator().manual_seed(num), num))

    def lazy(self) -> e3any_torch.LayerModule:
        """Return a module that has no parameters yet, of the class of this name if there is one."""
        module = getattr(e3any_torch.nn, type(self.layer).__name__, None)
        return (
            module(**{f.name: getattr(self.layer, f.name) for f in dataclasses.fields(self.layer)})
            if module
            else e3any_torch.to_torch(self.layer)
        )

    def module(self, dtype: torch.dtype = torch.float64) -> e3any_torch.LayerModule:
        """Return a module whose parameters, biases and forbidden couplings included, are random."""
        inputs, options = self.arguments(dtype)
        generator = torch.Generator().manual_seed(0)
        module = self.lazy().to(dtype)
        with torch.no_grad():
            module(*inputs, **options)
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return module


def floating(function: Callable, tree: Any) -> Any:
    """Apply a function to all floating-point tensors of a tree."""
    return tree_map(lambda x: function(x) if x.is_floating_point() else x, tree)


def features(g: torch.Generator, *lead: int, parities: int = 2) -> torch.Tensor:
    return torch.randn(*lead, parities, 4, 2, generator=g)


def basis(g: torch.Generator, *lead: int) -> nn.FactoredBasis:
    return nn.FactoredBasis(torch.randn(*lead, 1, 3, generator=g), torch.randn(*lead, 4, generator=g))


def sparse(g: torch.Generator, num: int) -> dict[str, torch.Tensor]:
    """Return two edges for every node, and one that is padding."""
    nodes = torch.arange(num)
    dst = torch.cat([nodes, nodes, torch.tensor([num])])
    return {"dst_idx": dst, "src_idx": torch.cat([nodes.roll(1), nodes.roll(2), torch.tensor([0])])}


def dense(g: torch.Generator, num: int) -> dict[str, torch.Tensor]:
    """Return three neighbours of every node, the last of which is padding."""
    nodes = torch.arange(num)
    return {"adj_idx": torch.stack([nodes.roll(1), nodes.roll(2), torch.full_like(nodes, -1)], 1)}


@dataclass(frozen=True)
class Learned(nn.Layer):
    """A basis with a learned rate."""

    def forward(self, p, r):
        return nn.ExponentialBasis()(p / "basis", r, max_degree=1, num=3, radial_fn=nn.exponential_bernstein)


@dataclass(frozen=True)
class Frames(nn.Layer):
    """A linear map in frames of edges."""

    def forward(self, p, x, vectors):
        frame = nn.edge_frame(vectors, 1)
        return nn.from_frame(nn.SO2Dense(2)(p / "dense", nn.to_frame(x, frame)), frame)


@dataclass(frozen=True)
class Averaged(nn.Layer):
    """A normalisation that is not being trained."""

    def forward(self, p, x):
        return nn.BatchNorm()(p, x, use_running_average=True)


CASES = {
    "Dense": Case(nn.Dense(2), lambda g, n: ((features(g, n),), {})),
    "Embed": Case(nn.Embed(5, 2), lambda g, n: ((torch.arange(n) % 5,), {})),
    "Tensor": Case(nn.Tensor(), lambda g, n: ((features(g, n), features(g, n)), {})),
    "Tensor, proper": Case(nn.Tensor(), lambda g, n: ((features(g, n, parities=1), features(g, n, parities=1)), {})),
    "FusedTensor": Case(nn.FusedTensor(), lambda g, n: ((features(g, n), features(g, n, parities=1)), {})),
    "TensorDense": Case(nn.TensorDense(2), lambda g, n: ((features(g, n),), {})),
    "LayerNorm": Case(nn.LayerNorm(), lambda g, n: ((features(g, n),), {})),
    "BatchNorm": Case(Averaged(), lambda g, n: ((features(g, n),), {})),
    "Gate": Case(nn.Gate(), lambda g, n: ((features(g, n),), {})),
    "NormActivation": Case(nn.NormActivation(), lambda g, n: ((features(g, n),), {})),
    "Residual": Case(nn.Residual(nn.Dense(3)), lambda g, n: ((features(g, n, parities=1),), {})),
    "MessagePass, sparse": Case(
        nn.MessagePass(use_basis_bias=True), lambda g, n: ((features(g, n), basis(g, 2 * n + 1)), sparse(g, n))
    ),
    "MessagePass, dense": Case(nn.MessagePass(), lambda g, n: ((features(g, n), basis(g, n, 3)), dense(g, n))),
    "MessagePass, sparse array": Case(
        nn.MessagePass(), lambda g, n: ((features(g, n), basis(g, 2 * n + 1).array()), sparse(g, n))
    ),
    "MessagePass, dense array": Case(
        nn.MessagePass(), lambda g, n: ((features(g, n), basis(g, n, 3).array()), dense(g, n))
    ),
    "PathMessagePass": Case(
        nn.PathMessagePass(hidden=(4,)), lambda g, n: ((features(g, n), basis(g, 2 * n + 1)), sparse(g, n))
    ),
    "SymmetricContraction": Case(
        nn.SymmetricContraction(3, 2), lambda g, n: ((features(g, n), torch.arange(n) % 3), {})
    ),
    "SelfAttention, sparse": Case(
        nn.SelfAttention(num_heads=2), lambda g, n: ((features(g, n), basis(g, 2 * n + 1)), sparse(g, n))
    ),
    "MultiHeadAttention, dense": Case(
        nn.MultiHeadAttention(), lambda g, n: ((features(g, n), features(g, n), basis(g, n, 3)), dense(g, n))
    ),
    "ExponentialBasis": Case(Learned(), lambda g, n: ((torch.randn(n, 3, generator=g),), {})),
    "SO2Dense in frames": Case(
        Frames(), lambda g, n: ((features(g, n, parities=1), torch.randn(n, 3, generator=g)), {})
    ),
    "SphereActivation": Case(nn.SphereActivation(nn.Gate(), 5), lambda g, n: ((features(g, n),), {})),
    "SpeciesDense": Case(nn.SpeciesDense(3, 2), lambda g, n: ((features(g, n), torch.arange(n) % 3), {})),
    "ScaleShift": Case(nn.ScaleShift(3), lambda g, n: ((torch.randn(n, generator=g), torch.arange(n) % 3), {})),
    "JointRMSNorm": Case(nn.JointRMSNorm(), lambda g, n: ((features(g, n),), {})),
    "composed": Case(
        Energies(features=2, blocks=1),
        lambda g, n: ((torch.arange(n), torch.randn(2 * n + 1, 3, generator=g), *sparse(g, n).values()), {}),
    ),
}

every_layer = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
