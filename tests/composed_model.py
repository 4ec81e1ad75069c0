"""A model as a user writes it: a description of layers, functions of arrays and a parameter of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from e3any import nn, ops


@dataclass(frozen=True)
class Block(nn.Layer):
    """Messages, and a linear map of them."""

    features: int

    def forward(self, p, x, basis, **edges):
        y = nn.MessagePass(max_degree=1, use_basis_bias=True)(p / "message", x, basis, **edges)
        return nn.silu(nn.Dense(self.features)(p / "dense", nn.add(x, y)))


@dataclass(frozen=True)
class Energies(nn.Layer):
    """An energy for every node, from the numbers of nodes and the displacements along edges."""

    features: int = 4
    blocks: int = 2

    def forward(self, p, numbers, displacements, dst_idx, src_idx):
        radial_fn = partial(nn.reciprocal_bernstein, use_reciprocal_weighting=True)
        basis = nn.basis(displacements, max_degree=1, num=3, radial_fn=radial_fn, factored=True)
        x = nn.Embed(10, self.features)(p / "embed", numbers)
        for i in range(self.blocks):
            x = Block(self.features)(p / f"block{i}", x, basis, dst_idx=dst_idx, src_idx=src_idx)
        x = nn.TensorDense(max_degree=0, include_pseudotensors=False)(p / "product", x)
        readout = p.param("readout", (self.features, 1), nn.initializers.lecun_normal)
        return (x[..., 0, 0, :] @ readout)[..., 0]


def molecule(dtype="float32"):
    """Return inputs: four nodes, all pairs of them, and one edge of padding."""
    rng = np.random.default_rng(5)
    dst, src = (np.append(i, 9) for i in ops.sparse_pairwise_indices(4))
    return np.asarray([6, 1, 1, 8]), rng.normal(size=(13, 3)).astype(dtype), dst, src
