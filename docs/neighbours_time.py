"""Print how long lists of neighbours of 10,000 atoms take, beside vesin itself.

python docs/neighbours_time.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase.build import bulk
from e3any_ase import neighbours
from vesin import NeighborList

CUTOFF = 5.0  # Angstrom
REPEATS = 30


def seconds(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median time of functions that take turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) for name, each in times.items()}


def main() -> None:
    """Measure copper that is rattled, with periodic boundaries."""
    atoms = bulk("Cu", cubic=True).repeat((14, 14, 13))[:10_000]
    atoms.rattle(0.05)
    arrays = atoms.positions, atoms.cell.array, True
    vesin = {sort: NeighborList(cutoff=CUTOFF, full_list=True, sorted=sort) for sort in (False, True)}
    times = seconds(
        {
            "vesin": lambda: vesin[False].compute(*arrays, "ijS"),
            "vesin, sorted": lambda: vesin[True].compute(*arrays, "ijS"),
            "e3any_ase, sort=False": lambda: neighbours(*arrays, cutoff=CUTOFF, sort=False),
            "e3any_ase": lambda: neighbours(*arrays, cutoff=CUTOFF),
        }
    )
    print(f"{len(atoms)} atoms, {len(neighbours(*arrays, cutoff=CUTOFF).dst_idx)} edges, median of {REPEATS}")
    for name, each in times.items():
        beside = "vesin, sorted" if name == "e3any_ase" else "vesin"
        print(f"{name:22} {1000 * each:6.1f} ms, {each / times[beside]:.2f} of {beside}")


if __name__ == "__main__":
    main()
