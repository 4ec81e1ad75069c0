"""A force field as a StableHLO program of JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from e3any_flax import to_linen
from jax import export


def write(model: Any, tree: dict[str, Any], inputs: tuple[Any, ...], path: Path) -> None:
    """Write energy and forces, parameters included, for any numbers of atoms and neighbours."""
    module = to_linen(model)

    def energy_and_forces(numbers: Any, positions: Any, neighbours: Any) -> tuple[Any, Any]:
        energy, gradient = jax.value_and_grad(lambda r: module.apply({"params": tree}, numbers, r, neighbours))(
            positions
        )
        return energy, -gradient

    atoms, width = export.symbolic_shape("atoms, width")
    shapes = ((atoms,), jnp.int32), ((atoms, 3), jnp.float32), ((atoms, width), jnp.int32)
    program = export.export(jax.jit(energy_and_forces))(*(jax.ShapeDtypeStruct(*each) for each in shapes))
    path.write_bytes(program.serialize())
