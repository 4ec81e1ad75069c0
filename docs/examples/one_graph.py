"""The model and the piece of matter of the examples with one graph on several devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from e3any_numpy import to_numpy

from e3any import nn, ops
from e3any.parallel import GraphPartition, partition_graph, partition_nodes

CUTOFF = 3.0


@dataclass(frozen=True)
class AtomEnergies(nn.Layer):
    """Energies of atoms, those of one part of a graph or of all."""

    features: int = 4
    max_degree: int = 1

    def forward(
        self,
        p: nn.Parameters,
        numbers: Any,
        positions: Any,
        dst_idx: Any,
        src_idx: Any,
        exchange: Callable[[Any], Any] = lambda x: x,
    ) -> Any:
        """Pass messages twice; ``exchange`` appends the rows that other parts send."""
        edges = {"dst_idx": dst_idx, "src_idx": src_idx}
        vectors = ops.displacements(exchange(positions), **edges)
        basis = nn.basis(
            vectors,
            max_degree=self.max_degree,
            num=6,
            radial_fn=partial(nn.basic_bernstein, limit=CUTOFF),
            cutoff_fn=partial(nn.smooth_cutoff, cutoff=CUTOFF),
            factored=True,
        )
        # Only the atoms of this part receive messages.
        lists = {**edges, "num_segments": numbers.shape[0], "indices_are_sorted": True}
        x = nn.Embed(10, self.features)(p / "embed", numbers)
        x = nn.MessagePass(self.max_degree)(p / "first", exchange(x), basis, **lists)
        x = nn.silu(nn.Dense(self.features)(p / "mix", x))
        x = nn.MessagePass(0, include_pseudotensors=False)(p / "second", exchange(x), basis, **lists)
        return nn.Dense(1)(p / "energy", nn.silu(x))[..., 0, 0, 0]


def random_atoms(rng: np.random.Generator, num: int) -> dict[str, Any]:
    """Return atoms in a box, pairs within the cut-off, and an energy and forces to learn."""
    box = np.asarray([3.0, 1.0, 1.0]) * (num / 0.3) ** (1 / 3)
    positions = rng.uniform(size=(num, 3)) * box
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    dst_idx, src_idx = np.nonzero((distances < CUTOFF) & ~np.eye(num, dtype=bool))
    return {
        "numbers": rng.integers(1, 9, num),
        "positions": positions,
        "dst_idx": dst_idx,
        "src_idx": src_idx,
        "forces": rng.normal(size=(num, 3)),
    }


def inputs_of(atoms: dict[str, Any]) -> tuple[Any, ...]:
    """Return initial parameters, in single precision, the default."""
    return atoms["numbers"], atoms["positions"].astype(np.float32), atoms["dst_idx"], atoms["src_idx"]


def parameters(rng: np.random.Generator, atoms: dict[str, Any]) -> dict[str, Any]:
    """Return initial parameters of the model."""
    return to_numpy(AtomEnergies()).init(rng, *inputs_of(atoms))


def parts_of(atoms: dict[str, Any], num_parts: int) -> GraphPartition:
    """Return the atoms in compact parts of about as many edges."""
    edges = np.bincount(atoms["dst_idx"], minlength=len(atoms["numbers"]))
    parts = partition_nodes(atoms["positions"], num_parts, 1.0 + edges)
    return partition_graph(atoms["dst_idx"], atoms["src_idx"], parts, num_parts)
