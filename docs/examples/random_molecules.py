"""A small model of energies and random molecules: what the examples with several devices and processes train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from e3any import nn, ops

ATOMS = 5
Batch = dict[str, Any]


@dataclass(frozen=True)
class Energy(nn.Layer):
    """Energies (...,) of molecules from atomic numbers (..., N), positions (..., N, 3) and pairs of atoms."""

    features: int = 8
    max_degree: int = 1

    def forward(self, p: nn.Parameters, numbers: Any, positions: Any, dst_idx: Any, src_idx: Any) -> Any:
        """Pass messages along all pairs, then weigh them by attention."""
        pairs = {"dst_idx": dst_idx, "src_idx": src_idx}
        vectors = ops.gather_src(positions, src_idx=src_idx) - ops.gather_dst(positions, dst_idx=dst_idx)
        basis = nn.basis(vectors, max_degree=self.max_degree, num=6, radial_fn=nn.reciprocal_bernstein, factored=True)
        x = nn.Embed(10, self.features)(p / "embed", numbers)
        x = nn.add(x, nn.MessagePass(self.max_degree)(p / "message", x, basis, **pairs))
        x = nn.silu(nn.Dense(self.features)(p / "mix", x))
        x = nn.add(x, nn.SelfAttention(num_heads=2)(p / "attention", x, basis, **pairs))
        x = nn.Tensor(0, include_pseudotensors=False)(p / "square", x, x)
        return nn.Dense(1)(p / "energy", x)[..., 0, 0, 0].sum(-1)


def random_molecules(rng: np.random.Generator, size: int) -> Batch:
    """Return a batch of molecules at random positions, with energies and forces to learn."""
    pairs = np.broadcast_to(np.stack(ops.sparse_pairwise_indices(ATOMS))[:, None], (2, size, ATOMS * (ATOMS - 1)))
    return {
        "numbers": rng.integers(1, 9, (size, ATOMS)),
        "positions": rng.normal(scale=2.0, size=(size, ATOMS, 3)).astype(np.float32),
        "dst_idx": pairs[0].astype(np.int32),
        "src_idx": pairs[1].astype(np.int32),
        "energies": rng.normal(size=size).astype(np.float32),
        "forces": rng.normal(size=(size, ATOMS, 3)).astype(np.float32),
    }


def inputs_of(batch: Batch) -> tuple[Any, ...]:
    """Return what the model is applied to."""
    return batch["numbers"], batch["positions"], batch["dst_idx"], batch["src_idx"]
