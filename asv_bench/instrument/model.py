"""The models for steps of training: energies of molecules, and of one large structure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from e3any_backends import backend_of

from e3any import nn, ops

CUTOFF = 5.0  # Angstrom
NUM_RADIAL = 16
NUM_ELEMENTS = 10


@dataclass(frozen=True)
class Energies(nn.Layer):
    """Energies of molecules, whose atoms are concatenated in one list."""

    features: int = 32
    max_degree: int = 2
    passes: int = 3

    def forward(self, p: nn.Parameters, positions: Any, numbers: Any, *, adj_idx: Any) -> Any:
        """Return energies (B,) of atoms (B*N,) with lists of neighbours (B*N, N-1)."""
        basis = nn.basis(
            ops.gather_src(positions, adj_idx=adj_idx) - positions[:, None, :],
            max_degree=self.max_degree,
            num=NUM_RADIAL,
            radial_fn=nn.reciprocal_bernstein,
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=CUTOFF),
            factored=True,
        )
        x = nn.Embed(NUM_ELEMENTS, self.features)(p / "embed", numbers)
        for i in range(self.passes):
            last = i == self.passes - 1
            message = nn.MessagePass(0 if last else None, include_pseudotensors=not last)
            y = message(p / f"message_{i}", x, basis, adj_idx=adj_idx)
            if last:
                x = nn.change_max_degree_or_type(x, max_degree=0, include_pseudotensors=False)
            y = nn.silu(nn.Dense(self.features)(p / f"refine_{i}", nn.add(x, y)))
            x = nn.add(x, nn.Dense(self.features)(p / f"update_{i}", y))
        atomic = nn.Dense(1, use_bias=False)(p / "energy", x)[:, 0, 0, 0]
        xp = backend_of(positions).xp
        return xp.sum(xp.reshape(atomic, (-1, adj_idx.shape[1] + 1)), axis=-1)


@dataclass(frozen=True)
class ForceField(nn.Layer):
    """Energy of one large structure, whose pairs of neighbours are sorted by receiver."""

    features: int = 64
    max_degree: int = 2
    passes: int = 2
    num_radial: int = 8

    def forward(
        self, p: nn.Parameters, positions: Any, numbers: Any, shifts: Any, *, dst_idx: Any, src_idx: Any
    ) -> Any:
        """Return the energy of atoms (N,) with E pairs, displaced by shifts (E, 3) of the cell."""
        basis = nn.basis(
            ops.gather_src(positions, src_idx=src_idx) + shifts - ops.gather_dst(positions, dst_idx=dst_idx),
            max_degree=self.max_degree,
            num=self.num_radial,
            radial_fn=nn.reciprocal_bernstein,
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=CUTOFF),
            factored=True,
        )
        lists = {"dst_idx": dst_idx, "src_idx": src_idx, "indices_are_sorted": True}
        x = nn.Embed(NUM_ELEMENTS, self.features)(p / "embed", numbers)
        for i in range(self.passes):
            y = nn.MessagePass(self.max_degree, include_pseudotensors=False)(p / f"message_{i}", x, basis, **lists)
            y = nn.add(y, nn.TensorDense(self.features, include_pseudotensors=False)(p / f"product_{i}", y))
            if i == self.passes - 1:
                x, y = (nn.change_max_degree_or_type(a, max_degree=0) for a in (x, y))
            y = nn.silu(nn.Dense(self.features)(p / f"refine_{i}", nn.add(x, y)))
            x = nn.add(x, nn.Dense(self.features)(p / f"update_{i}", y))
        return backend_of(positions).xp.sum(nn.Dense(1, use_bias=False)(p / "energy", x))
