"""Features of the atoms of molecules: the part that the models of both studies share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from e3any_backends import backend_of

from e3any import nn, ops


@dataclass(frozen=True)
class Atoms(nn.Layer):
    """Features of atoms from all their neighbours within a distance.

    Without ``equivariant``, the harmonics of a neighbour's direction are taken for numbers like any others, which
    nothing restricts: the same steps, on scalars alone.
    """

    features: int = 32
    max_degree: int = 2
    pseudotensors: bool = False
    equivariant: bool = True
    num_interactions: int = 2
    num_basis: int = 12
    cutoff: float = 6.0  # Angstrom

    def forward(self, p: nn.Parameters, numbers: Any, positions: Any) -> Any:
        """Return features (..., N, P, (L+1)**2, features) of atoms with numbers (..., N), 0 for padding."""
        xp, size = backend_of(positions).xp, positions.shape[-2]
        neighbours = backend_of(positions).index(ops.dense_pairwise_indices(size), like=positions)
        neighbours = xp.broadcast_to(neighbours, (*positions.shape[:-2], *neighbours.shape))
        others = ops.gather_src(numbers, adj_idx=neighbours)
        basis = nn.basis(
            ops.gather_src(positions, adj_idx=neighbours) - positions[..., None, :],
            max_degree=self.max_degree,
            num=self.num_basis,
            radial_fn=nn.reciprocal_bernstein,
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=self.cutoff),
            factored=self.equivariant,
        )
        if not self.equivariant:
            basis = xp.reshape(basis, (*basis.shape[:-3], 1, 1, math.prod(basis.shape[-3:])))
        neighbours = xp.where(others > 0, neighbours, size)
        x = nn.Embed(10, self.features)(p / "embed", numbers)
        degree = self.max_degree if self.equivariant else 0
        for i in range(self.num_interactions):
            x = Interaction(self.features, degree, self.pseudotensors)(p / f"interaction_{i}", x, basis, neighbours)
        return x


@dataclass(frozen=True)
class Interaction(nn.Layer):
    """Messages of all neighbours, products of what arrives, and an update of every atom."""

    features: int
    max_degree: int
    pseudotensors: bool

    def forward(self, p: nn.Parameters, x: Any, basis: Any, neighbours: Any) -> Any:
        """Return features (..., N, P, (max_degree+1)**2, features)."""
        options = {"max_degree": self.max_degree, "include_pseudotensors": self.pseudotensors}
        y = nn.MessagePass(**options)(p / "message", x, basis, adj_idx=neighbours)
        y = nn.Dense(self.features)(p / "mix", y)
        y = nn.add(y, nn.TensorDense(self.features, **options)(p / "square", y))
        y = nn.Dense(self.features)(p / "refine_0", nn.add(x, y))
        return nn.add(nn.add(x, y), nn.Dense(self.features)(p / "refine_1", nn.silu(y)))
