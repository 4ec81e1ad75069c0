"""The force field in Flax: energies and forces, steps of training with optax."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from e3any_flax import load_tree, to_linen, to_tree

jax.config.update("jax_enable_x64", True)


class ForceField:
    """An energy model as a Linen module, with its parameters and optimiser."""

    def __init__(self, model: Any, numbers: np.ndarray, positions: np.ndarray, seed: int) -> None:
        self.model = model
        self._module = to_linen(model)
        # It runs once: compile it fast.
        init = jax.jit(self._module.init, compiler_options={"xla_backend_optimization_level": 0})
        self._params = init(jax.random.key(seed), numbers, positions)
        adam = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
        self._optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)
        self._state = self._optimizer.init(self._params)

    def _energies_and_forces(self, params: Any, numbers: Any, positions: Any) -> tuple[Any, Any]:
        params = jax.tree.map(lambda x: x.astype(positions.dtype), params)
        energies, pullback = jax.vjp(lambda r: self._module.apply(params, numbers, r), positions)
        return energies, -pullback(jnp.ones_like(energies))[0]

    @partial(jax.jit, static_argnums=0)
    def _predict(self, params: Any, numbers: Any, positions: Any) -> tuple[Any, Any]:
        return self._energies_and_forces(params, numbers, positions)

    @partial(jax.jit, static_argnums=0)
    def _step(self, params: Any, state: Any, batch: Any, rate: Any) -> tuple[Any, Any, Any]:
        def loss(params: Any) -> Any:
            energies, forces = self._energies_and_forces(params, batch.numbers, batch.positions)
            per_atom = (energies - batch.energies) / batch.positions.shape[1]
            return (jnp.mean(per_atom**2) + jnp.mean((forces - batch.forces) ** 2)) / self.model.scale**2

        value, gradient = jax.value_and_grad(loss)(params)
        state[1].hyperparams["learning_rate"] = rate
        updates, state = self._optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    def step(self, batch: Any, rate: float) -> float:
        """Train on a batch and return its loss."""
        self._params, self._state, loss = self._step(self._params, self._state, batch, jnp.float32(rate))
        return float(loss)

    def energies_and_forces(self, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return energies (B,) and forces (B, N, 3), in the precision of the positions."""
        energies, forces = self._predict(self._params, numbers, positions)
        return np.asarray(energies), np.asarray(forces)

    def tree(self) -> dict[str, Any]:
        """Return the parameters as NumPy arrays."""
        return to_tree(self._params)

    def load(self, tree: dict[str, Any]) -> None:
        """Take parameters from NumPy arrays."""
        self._params = load_tree(self._params, tree)

    def state(self) -> dict[str, Any]:
        """Return all that training needs to go on, as NumPy arrays."""
        leaves = jax.tree.leaves(self._state)
        return {"params": self.tree(), "optimizer": {str(i): np.asarray(x) for i, x in enumerate(leaves)}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.load(state["params"])
        leaves = [jnp.asarray(state["optimizer"][str(i)]) for i in range(len(state["optimizer"]))]
        self._state = jax.tree.unflatten(jax.tree.structure(self._state), leaves)
