"""Models of the smaller examples in Flax, trained with optax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from e3any_flax import load_tree, to_linen, to_tree


class Module:
    """A model as a Linen module, with its parameters and optimiser."""

    def __init__(
        self, model: Any, loss: Callable[[Any, Any], Any], tree: dict[str, Any], inputs: Sequence[np.ndarray]
    ) -> None:
        self._module, self._loss = to_linen(model), loss
        shapes = jax.eval_shape(self._module.init, jax.random.key(0), *inputs)
        self._optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
        self._params = shapes
        self.restart(tree)

    def restart(self, tree: dict[str, Any]) -> None:
        """Begin training anew from parameters."""
        self._params = load_tree(self._params, tree)
        self._state = self._optimizer.init(self._params)

    @partial(jax.jit, static_argnums=0)
    def _step(self, params: Any, state: Any, inputs: Any, targets: Any, rate: Any) -> tuple[Any, Any, Any]:
        loss, gradient = jax.value_and_grad(lambda p: self._loss(self._module.apply(p, *inputs), targets))(params)
        state.hyperparams["learning_rate"] = rate
        updates, state = self._optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    @partial(jax.jit, static_argnums=0)
    def _apply(self, params: Any, *inputs: Any) -> Any:
        return self._module.apply(params, *inputs)

    def step(self, inputs: Sequence[np.ndarray], targets: np.ndarray, rate: float) -> float:
        """Train on a batch and return its loss."""
        step = self._step(self._params, self._state, list(inputs), targets, jnp.float32(rate))
        self._params, self._state, loss = step
        return float(loss)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Apply the model."""
        return np.asarray(self._apply(self._params, *inputs))

    def tree(self) -> dict[str, Any]:
        """Return the parameters as NumPy arrays."""
        return to_tree(self._params)
