"""Programs of JAX, compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from e3any_flax import to_linen

from e3any import nn

from ..program import Program
from ..task import Task


@dataclass(frozen=True)
class JaxProgram(Program):
    """A function of JAX arrays, under ``jax.jit``.

    Parameters
    ----------
    init : callable or None
        Function of a key and the inputs that initialises the parameters, instead of ``params``.
    """

    init: Callable[..., Any] | None = None

    def shapes(self, mode: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the function of a mode, and shapes of its arguments; nothing is computed."""
        inputs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.inputs)
        params = self.params if self.init is None else jax.eval_shape(self.init, jax.random.key(0), *inputs)
        params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
        if mode == "training":
            adam = _adam()
            return partial(self._step, adam), (params, jax.eval_shape(adam.init, params), *inputs)
        return self._function(mode), (params, *inputs)

    def _call(self, mode: str) -> Callable[[], Any]:
        params = self._initialised()
        if mode == "training":
            return self._training(params)
        function = jax.jit(self._function(mode))
        return lambda: jax.block_until_ready(function(params, *self.inputs))

    def _initialised(self) -> Any:
        if self.init is None:
            return self.params
        # Initialisation runs once, and most of its compilation would optimise random numbers.
        init = jax.jit(self.init, compiler_options={"xla_backend_optimization_level": 0})
        return init(jax.random.key(0), *self.inputs)

    def _function(self, mode: str) -> Callable[..., Any]:
        """Return the function of a mode other than training."""
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
        return functions[mode]

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

    def _step(self, adam: Any, params: Any, moments: Any, *inputs: Any) -> Any:
        """Take a step of training on the sum of squares of energies and forces."""
        import optax

        gradient = jax.grad(lambda params: _square(self._energies_and_gradient(params, *inputs)))(params)
        updates, moments = adam.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    def _training(self, params: Any) -> Callable[[], Any]:
        adam = _adam()
        state = [params, adam.init(params)]
        step = jax.jit(partial(self._step, adam))

        def call() -> None:
            state[:] = jax.block_until_ready(step(*state, *self.inputs))

        return call


def _adam() -> Any:
    import optax

    return optax.adam(1e-3)


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
    return JaxProgram(task.bind(module.apply), None, arrays, init=task.bind(module.init))
