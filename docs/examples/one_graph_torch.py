"""One graph in several processes: the loss of an energy and forces, and its gradient, beside those of one process.

torchrun --nproc-per-node 2 docs/examples/one_graph_torch.py
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from e3any_torch import load_tree, to_torch
from e3any_torch.parallel import exchange, sum_parts
from one_graph import AtomEnergies, inputs_of, parameters, parts_of, random_atoms
from torch import distributed

NUM_ATOMS = 100
ENERGY = -3.0  # to learn


def loss_of(model: torch.nn.Module, atoms: dict[str, Any], num_nodes: int, halo: Any = None) -> torch.Tensor:
    """Return the loss of a whole graph, or the share of one part in it: the loss is the sum of all shares."""
    with_others = {"exchange": partial(exchange, halo=halo)} if halo is not None else {}
    positions = atoms["positions"].clone().requires_grad_()
    energies = model(atoms["numbers"], positions, atoms["dst_idx"], atoms["src_idx"], **with_others)
    total = energies.masked_fill(~atoms["mask"], 0).sum()
    # The derivative of the own energies, and, as cotangents are sent back, of those of all processes.
    (gradient,) = torch.autograd.grad(total, positions, create_graph=True)
    num_parts = 1
    if halo is not None:
        total, num_parts = sum_parts(total), halo.num_parts
    return ((total - ENERGY) ** 2 / num_parts + ((gradient + atoms["forces"]) ** 2).sum()) / num_nodes


def make_model(rng: np.random.Generator, atoms: dict[str, Any]) -> torch.nn.Module:
    """Return the same model in every process, in double precision, so that differences are rounding."""
    model = to_torch(AtomEnergies())
    model(*map(torch.from_numpy, inputs_of(atoms)))
    load_tree(model, parameters(rng, atoms))
    return model.double()


def shown(value: torch.Tensor, gradient: Sequence[torch.Tensor]) -> str:
    """Return a loss and the norm of its gradient as text."""
    norm = sum(float((x**2).sum()) for x in gradient) ** 0.5
    return f"loss {value.item():.15g}, norm of its gradient {norm:.15g}"


def compare() -> None:
    """Compute one gradient in all processes and in one."""
    rank, num_parts = distributed.get_rank(), distributed.get_world_size()
    rng = np.random.default_rng(0)
    atoms = random_atoms(rng, NUM_ATOMS)
    model = make_model(rng, atoms)
    whole = {name: torch.from_numpy(x) for name, x in atoms.items()}
    whole["mask"] = torch.ones(NUM_ATOMS, dtype=torch.bool)

    partition = parts_of(atoms, num_parts)
    own = {name: partition.split_nodes(whole[name], rank) for name in ("numbers", "positions", "forces", "mask")}
    own |= partition.part(rank, like=whole["positions"])
    halo = own.pop("halo")
    share = loss_of(model, own, NUM_ATOMS, halo)
    gradient = [sum_parts(g) for g in torch.autograd.grad(share, list(model.parameters()))]
    value = sum_parts(share.detach())

    if rank == 0:
        print(f"{num_parts} processes: {shown(value, gradient)}")
        print(f"rows of each process: {halo.num_rows}, and {halo.size} received in {len(halo.rounds)} rounds")
        value = loss_of(model, whole, NUM_ATOMS)
        of_one = torch.autograd.grad(value, list(model.parameters()))
        print(f"one process: {shown(value, of_one)}")
        differences = [float(abs(x - y).max()) for x, y in zip(gradient, of_one, strict=True)]
        print(f"gradients differ by {max(differences):.1e}")


def main() -> None:
    """Start the processes' communication, and compare."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    compare()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
