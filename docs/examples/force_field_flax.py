"""The force field in Flax: energies and forces, steps of training with optax."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from e3any_flax import load_tree, to_linen, to_tree
from flax import serialization

jax.config.update("jax_enable_x64", True)


class FlaxForceField:
    """An energy model as a Linen module, with its parameters and optimiser."""

    def __init__(self, model: Any, numbers: np.ndarray, positions: np.ndarray, seed: int) -> None:
        self.model = model
        self._module = to_linen(model)
        self._params = jax.jit(self._module.init)(jax.random.key(seed), numbers, positions)
        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
        self._optimizer = optax.chain(optax.clip_by_global_norm(1.0), optimizer)
        self._state = self._optimizer.init(self._params)

    def _energies_and_forces(self, params: Any, numbers: Any, positions: Any) -> tuple[Any, Any]:
        def total(positions: Any) -> tuple[Any, Any]:
            energies = self._module.apply(params, numbers, positions)
            return jnp.sum(energies), energies

        gradient, energies = jax.grad(total, has_aux=True)(positions)
        return energies, -gradient

    @partial(jax.jit, static_argnums=0)
    def _predict(self, params: Any, numbers: Any, positions: Any) -> tuple[Any, Any]:
        return self._energies_and_forces(params, numbers, positions)

    @partial(jax.jit, static_argnums=0)
    def _step(self, params: Any, state: Any, batch: Any, rate: Any) -> tuple[Any, Any, Any]:
        numbers, positions, energies, forces = batch

        def loss(params: Any) -> Any:
            e, f = self._energies_and_forces(params, numbers, positions)
            per_atom = (e - energies) / positions.shape[1]
            return (jnp.mean(per_atom**2) + jnp.mean((f - forces) ** 2)) / self.model.scale**2

        value, gradient = jax.value_and_grad(loss)(params)
        state[1].hyperparams["learning_rate"] = rate
        updates, state = self._optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    def step(self, batch: Any, rate: float) -> float:
        """Train on a batch and return its loss."""
        shifted = (batch.numbers, batch.positions, batch.energies.astype(np.float32), batch.forces)
        self._params, self._state, loss = self._step(self._params, self._state, shifted, jnp.float32(rate))
        return float(loss)

    def energy_and_forces(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energies (B,) and forces (B, N, 3), in the precision of the positions."""
        params = jax.tree.map(lambda x: x.astype(positions.dtype), self._params)
        energies, forces = self._predict(params, numbers, positions)
        return np.asarray(energies), np.asarray(forces)

    def tree(self) -> dict[str, Any]:
        """Return the parameters as NumPy arrays."""
        return to_tree(self._params)

    def load(self, tree: dict[str, Any]) -> None:
        """Take parameters from NumPy arrays."""
        self._params = load_tree(self._params, tree)

    def state(self) -> bytes:
        """Return all that training needs to go on."""
        return serialization.to_bytes((self._params, self._state))

    def restore(self, content: bytes) -> None:
        """Go on from :meth:`state`."""
        self._params, self._state = serialization.from_bytes((self._params, self._state), content)
