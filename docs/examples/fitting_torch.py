"""Models of the smaller examples in PyTorch, trained with torch.optim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from e3any_torch import load_tree, to_torch, to_tree

torch.set_num_threads(1)  # a small batch is too little work to share


class Module:
    """A model as a PyTorch module, with its optimiser."""

    def __init__(
        self, model: Any, loss: Callable[[Any, Any], Any], tree: dict[str, Any], inputs: Sequence[np.ndarray]
    ) -> None:
        self._module, self._loss = to_torch(model, *inputs), loss
        self.restart(tree)

    def restart(self, tree: dict[str, Any]) -> None:
        """Begin training anew from parameters."""
        load_tree(self._module, tree)
        self._optimizer = torch.optim.Adam(self._module.parameters())

    def step(self, inputs: Sequence[np.ndarray], targets: np.ndarray, rate: float) -> float:
        """Train on a batch and return its loss."""
        loss = self._loss(self._module(*map(torch.from_numpy, inputs)), torch.from_numpy(targets))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        return float(loss.detach())

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Apply the model."""
        with torch.no_grad():
            return self._module(*map(torch.from_numpy, inputs)).numpy()

    def tree(self) -> dict[str, Any]:
        """Return the parameters as NumPy arrays."""
        return to_tree(self._module)
