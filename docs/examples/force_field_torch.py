"""The force field in PyTorch: energies and forces, steps of training with torch.optim."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from e3any_torch import load_tree, to_torch, to_tree

torch.set_num_threads(1)  # a few molecules are too little work to share


class ForceField:
    """An energy model as a PyTorch module, with its optimiser."""

    def __init__(self, model: Any, numbers: np.ndarray, positions: np.ndarray, seed: int) -> None:
        self.model = model
        self._module = to_torch(model, numbers, positions, generator=torch.Generator().manual_seed(seed))
        self._copies: dict[torch.dtype, Any] = {}
        self._optimizer = torch.optim.Adam(self._module.parameters())

    def _energies_and_forces(self, module: Any, numbers: Any, positions: Any, train: bool) -> tuple[Any, Any]:
        positions = positions.detach().requires_grad_()
        energies = module(numbers, positions)
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=train)
        return energies, -gradient

    def step(self, batch: Any, rate: float) -> float:
        """Train on a batch and return its loss."""
        batch = batch._make(torch.from_numpy(np.array(x)) for x in batch)
        energies, forces = self._energies_and_forces(self._module, batch.numbers, batch.positions, train=True)
        per_atom = (energies - batch.energies) / batch.positions.shape[1]
        loss = (torch.mean(per_atom**2) + torch.mean((forces - batch.forces) ** 2)) / self.model.scale**2
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        self._copies.clear()
        return float(loss.detach())

    def energies_and_forces(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energies (B,) and forces (B, N, 3), in the precision of the positions."""
        z, r = torch.from_numpy(np.array(numbers)), torch.from_numpy(np.array(positions))
        if r.dtype not in self._copies:
            self._copies[r.dtype] = copy.deepcopy(self._module).to(r.dtype).requires_grad_(False)
        energies, forces = self._energies_and_forces(self._copies[r.dtype], z, r, train=False)
        return energies.detach().numpy(), forces.numpy()

    def tree(self) -> dict[str, Any]:
        """Return the parameters as NumPy arrays."""
        return to_tree(self._module)

    def load(self, tree: dict[str, Any]) -> None:
        """Take parameters from NumPy arrays."""
        load_tree(self._module, tree)
        self._copies.clear()

    def state(self) -> dict[str, Any]:
        """Return all that training needs to go on, as NumPy arrays."""
        moments = self._optimizer.state_dict()["state"]
        return {
            "params": self.tree(),
            "optimizer": {
                str(i): {k: x.numpy(force=True).copy() for k, x in each.items()} for i, each in moments.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.load(state["params"])
        moments = {int(i): {k: torch.from_numpy(x) for k, x in each.items()} for i, each in state["optimizer"].items()}
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
