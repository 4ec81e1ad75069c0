"""Count what parts of a crystal exchange, and write the table of docs/scaling.md.

Run from the root of the repository: ``python docs/scaling_table.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from e3any_ase import from_arrays

from e3any.parallel import partition_graph, partition_nodes

PAGE = Path(__file__).parent / "scaling.md"
START, END = "<!-- table: written by docs/scaling_table.py -->\n\n", "\n\n<!-- end of table -->"
SIDES = (10, 20, 40)
PARTS = (2, 8, 64)
CUTOFF = 4.8  # Angstrom; 42 neighbours
# Bytes of a row in one exchange: positions, scalars, and features of L=2, 64 channels, in float32.
POSITION, SCALARS, FEATURES = 12, 64 * 4, 64 * 9 * 4
# How often each goes through an exchange, forward and backward, in a model of two passes: counted in compiled programs.
FORCES = 2 * POSITION + SCALARS + 2 * FEATURES
TRAINING = 3 * POSITION + 2 * SCALARS + 4 * FEATURES


def crystal(side: int) -> dict[str, np.ndarray]:
    """Return copper of side**3 cells with four atoms each, slightly disordered."""
    rng, constant = np.random.default_rng(0), 3.6
    corners = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = (corners + 0.5 * np.asarray([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]])).reshape(-1, 3) * constant
    positions += 0.05 * rng.normal(size=positions.shape)
    return from_arrays(
        numbers=np.full(len(positions), 29),
        positions=positions,
        cutoff=CUTOFF,
        cell=np.eye(3) * side * constant,
        pbc=True,
    )


def row(atoms: dict[str, np.ndarray], num_parts: int) -> str:
    """Return the row of a partition."""
    parts = partition_nodes(atoms["positions"], num_parts)
    partition = partition_graph(atoms["dst_idx"], atoms["src_idx"], parts, num_parts)
    halo, num = partition.halo, len(parts)
    cells = [
        f"{num:,}",
        str(num_parts),
        f"{halo.num_rows:,}",
        f"{halo.size:,}",
        f"{partition.sent.sum(0).max():,}",
        str(len(halo.rounds)),
        f"{num - num // num_parts:,}",
        f"{halo.size * FORCES / 1e6:.1f}",
        f"{halo.size * TRAINING / 1e6:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """Return the table."""
    heads = (
        "atoms",
        "devices",
        "atoms each",
        "rows received",
        "of these no padding",
        "rounds",
        "rows of an all-gather",
    )
    heads += ("forces, MB", "training, MB")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for side in SIDES:
        atoms = crystal(side)
        lines += [row(atoms, num_parts) for num_parts in PARTS]
    return "\n".join(lines)


def main() -> None:
    """Write the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    if not rest:
        sys.exit(f"expected a line {START!r} in {PAGE}, got none")
    PAGE.write_text(before + START + table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
