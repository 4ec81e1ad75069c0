"""Train on energies and forces in two processes with DistributedDataParallel, and compare with one process.

python docs/examples/distributed_torch.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from e3any_torch import to_torch
from random_molecules import Batch, Energy, inputs_of, random_molecules
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

BATCH, PROCESSES, STEPS = 8, 2, 3


class EnergyAndForces(torch.nn.Module):
    """Energies, and forces as their derivatives: inside of the module that is distributed.

    Parameters
    ----------
    energy : torch.nn.Module
        The model of energies.
    """

    def __init__(self, energy: torch.nn.Module) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, numbers: Any, positions: Any, dst_idx: Any, src_idx: Any) -> tuple[Any, Any]:
        """Return energies and forces."""
        positions = positions.requires_grad_()
        energies = self.energy(numbers, positions, dst_idx, src_idx)
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
        return energies, -gradient


def make_model(batch: Batch) -> torch.nn.Module:
    """Return the same model in every process."""
    energy = to_torch(Energy(features=4))
    torch.manual_seed(0)
    energy(*inputs_of(batch))
    return EnergyAndForces(energy)


def train(model: torch.nn.Module, batch: Batch) -> list[float]:
    """Train on a batch for a few steps, and return the losses."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        energies, forces = model(*inputs_of(batch))
        loss = ((energies - batch["energies"]) ** 2).mean() + ((forces - batch["forces"]) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def molecules() -> Batch:
    """Return the whole batch."""
    return {name: torch.from_numpy(x) for name, x in random_molecules(np.random.default_rng(0), BATCH).items()}


def work(rank: int, folder: str) -> None:
    """Train on one part of the batch, in one of the processes; gradients are averaged over all of them."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES)
    part = {name: x[rank::PROCESSES] for name, x in molecules().items()}
    model = DistributedDataParallel(make_model(part))
    losses = train(model, part)
    torch.save({"losses": losses, "parameters": model.module.state_dict()}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def main() -> None:
    """Train in two processes and in one, and print how much the parameters differ."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, (folder,), PROCESSES)
        results = [torch.load(Path(folder) / f"{rank}.pt") for rank in range(PROCESSES)]
    batch = molecules()
    model = make_model(batch)
    for step, loss in enumerate(train(model, batch)):
        parts = [result["losses"][step] for result in results]
        print(f"step {step}: loss {loss:.6f}, mean of processes {np.mean(parts):.6f}")
    for rank, result in enumerate(results):
        pairs = [(p, result["parameters"][name]) for name, p in model.state_dict().items()]
        largest = max(float(abs(ours - theirs).max()) for ours, theirs in pairs)
        print(f"process {rank}: parameters differ by {largest:.1e}")


if __name__ == "__main__":
    main()
