"""Run a shipped force field where e3any is not installed; importing it would be an error here.

python docs/examples/shipped.py runs/ship_model/ethanol.stablehlo inputs.npz outputs.npz
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

for _name in ("e3any", "e3any_backends", "e3any_flax", "e3any_numpy", "e3any_torch"):
    sys.modules[_name] = None  # type: ignore[assignment]


def with_jax(path: str, inputs: list[np.ndarray]) -> tuple[Any, ...]:
    """Call a StableHLO program."""
    from jax import export

    with open(path, "rb") as file:
        return export.deserialize(bytearray(file.read())).call(*inputs)


def with_torch(path: str, inputs: list[np.ndarray]) -> tuple[Any, ...]:
    """Call a program of PyTorch, or a library that was compiled from one."""
    import torch

    compiled = path.endswith(".compiled.pt2")
    program = torch._inductor.aoti_load_package(path) if compiled else torch.export.load(path).module()
    return tuple(x.numpy() for x in program(*map(torch.from_numpy, inputs)))


def main() -> None:
    """Read inputs, write energies and forces."""
    path, inputs, outputs = sys.argv[1:]
    with np.load(inputs) as file:
        arrays = [file[name] for name in ("numbers", "positions", "neighbours")]
    energy, forces = (with_jax if path.endswith(".stablehlo") else with_torch)(path, arrays)
    np.savez(outputs, energy=energy, forces=forces)


if __name__ == "__main__":
    main()
