"""Derivatives of energies with JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from e3any.nn import Layer
from e3any_ase.energies import Derivatives, total_energy

__all__ = ["derivatives"]


def derivatives(model: Layer, params: Mapping[str, Any], dtype: str) -> Callable[[Mapping[str, Any]], Derivatives]:
    """Return a compiled function of padded structures; see :class:`e3any_ase.ModelCalculator`."""
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError("expected jax_enable_x64 for energies in float64, got a JAX that has it off")
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params)

    @jax.jit
    def differentiate(params: Any, positions: Any, strain: Any, structure: Any) -> Any:
        energy = jax.value_and_grad(partial(total_energy, partial(model, params)), argnums=(0, 1), has_aux=True)
        return energy(positions, strain, structure)

    def evaluate(structure: Mapping[str, Any]) -> Derivatives:
        rest = {**structure, "cell": structure["cell"].astype(dtype)}
        positions = rest.pop("positions").astype(dtype)
        (_, energies), gradients = differentiate(params, positions, np.zeros((3, 3), dtype), rest)
        return Derivatives(*map(np.asarray, (energies, *gradients)))

    return evaluate
