"""The force field in PyTorch: energies and forces, steps of training with torch.optim."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import torch
from e3any_torch import load_tree, to_torch, to_tree


class TorchForceField:
    """An energy model as a PyTorch module, with its optimiser."""

    def __init__(self, model: Any, numbers: np.ndarray, positions: np.ndarray, seed: int) -> None:
        self.model = model
        self._module = to_torch(model, numbers, positions, generator=torch.Generator().manual_seed(seed))
        self._modules = {torch.float32: self._module}
        self._optimizer = torch.optim.Adam(self._module.parameters())

    def _energies_and_forces(self, module: Any, numbers: Any, positions: Any, train: bool) -> tuple[Any, Any]:
        positions = positions.detach().requires_grad_()
        energies = module(numbers, positions)
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=train)
        return energies, -gradient

    def step(self, batch: Any, rate: float) -> float:
        """Train on a batch and return its loss."""
        numbers, positions, energies, forces = (
            torch.from_numpy(np.ascontiguousarray(x))
            for x in (batch.numbers, batch.positions, batch.energies.astype(np.float32), batch.forces)
        )
        e, f = self._energies_and_forces(self._module, numbers, positions, train=True)
        per_atom = (e - energies) / positions.shape[1]
        loss = (torch.mean(per_atom**2) + torch.mean((f - forces) ** 2)) / self.model.scale**2
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        return float(loss.detach())

    def energy_and_forces(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energies (B,) and forces (B, N, 3), in the precision of the positions."""
        r = torch.from_numpy(np.ascontiguousarray(positions))
        if r.dtype not in self._modules:
            self._modules[r.dtype] = copy.deepcopy(self._module).to(r.dtype)
        z = torch.from_numpy(np.ascontiguousarray(numbers))
        energies, forces = self._energies_and_forces(self._modules[r.dtype], z, r, train=False)
        return energies.detach().numpy(), forces.numpy()

    def tree(self) -> dict[str, Any]:
        """Return the parameters as NumPy arrays."""
        return to_tree(self._module)

    def load(self, tree: dict[str, Any]) -> None:
        """Take parameters from NumPy arrays."""
        load_tree(self._module, tree)
        self._modules = {torch.float32: self._module}

    def state(self) -> bytes:
        """Return all that training needs to go on."""
        content = io.BytesIO()
        torch.save((self._module.state_dict(), self._optimizer.state_dict()), content)
        return content.getvalue()

    def restore(self, content: bytes) -> None:
        """Go on from :meth:`state`."""
        module, optimizer = torch.load(io.BytesIO(content), weights_only=True)
        self._module.load_state_dict(module)
        self._optimizer.load_state_dict(optimizer)
