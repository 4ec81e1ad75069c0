"""Programs of JAX, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from e3any_flax import to_linen

from e3any import nn

from ..program import Program
from ..task import Task


class JaxProgram(Program):
    """A function of JAX arrays, under ``jax.jit``."""

    def _call(self, mode: str) -> Callable[[], Any]:
        if mode == "training":
            return self._training()
        float_inputs = [
            i for i, x in enumerate(self.inputs, 1) if all(leaf.dtype.kind == "f" for leaf in jax.tree.leaves(x))
        ]
        argnums = (0, *float_inputs)
        functions = {
            "forward": self.apply,
            "backward": jax.value_and_grad(self._loss, argnums),
            "second": jax.value_and_grad(self._squared_gradient, argnums),
            "forces": self._energies_and_gradient,
        }
        function = jax.jit(functions[mode])
        return lambda: jax.block_until_ready(function(self.params, *self.inputs))

    def _loss(self, *args: Any) -> Any:
        return _square(self.apply(*args))

    def _squared_gradient(self, *args: Any) -> Any:
        return _square(jax.grad(self._loss, 1)(*args))

    def _energies_and_gradient(self, *args: Any) -> Any:
        def total(*args: Any) -> Any:
            energies = self.apply(*args)
            return jnp.sum(energies), energies

        gradient, energies = jax.grad(total, 1, has_aux=True)(*args)
        return energies, gradient

    def _training(self) -> Callable[[], Any]:
        import optax

        adam = optax.adam(1e-3)
        state = [self.params, adam.init(self.params)]

        @jax.jit
        def step(params: Any, moments: Any, *inputs: Any) -> Any:
            gradient = jax.grad(lambda params: _square(self._energies_and_gradient(params, *inputs)))(params)
            updates, moments = adam.update(gradient, moments, params)
            return optax.apply_updates(params, updates), moments

        def call() -> None:
            state[:] = jax.block_until_ready(step(*state, *self.inputs))

        return call


def _square(tree: Any) -> Any:
    return sum(jnp.sum(x**2) for x in jax.tree.leaves(tree))


def program(task: Task) -> JaxProgram:
    """Return a task done by e3any."""
    arrays = jax.tree.map(jnp.asarray, task.arrays)
    if not isinstance(task.compute, nn.Layer):
        return JaxProgram(task.bind(lambda _, *inputs, **options: task.compute(*inputs, **options)), None, arrays)
    return module_program(to_linen(task.compute), task)


def module_program(module: Any, task: Task) -> JaxProgram:
    """Return a task done by a Linen module."""
    arrays = jax.tree.map(jnp.asarray, task.arrays)
    # Initialisation runs once, and most of its compilation would optimise random numbers.
    init = jax.jit(task.bind(module.init), compiler_options={"xla_backend_optimization_level": 0})
    params = init(jax.random.key(0), *arrays)
    return JaxProgram(task.bind(module.apply), params, arrays)
