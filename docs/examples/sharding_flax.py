"""Energies and forces of a batch of molecules on several devices: JAX shards the batch, parameters are on every device.

Without accelerators the processor plays eight devices:

    python docs/examples/sharding_flax.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

if __name__ == "__main__":  # before JAX starts
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
import jax.numpy as jnp
import numpy as np
from e3any_flax import to_linen
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from random_molecules import Batch, Energy, inputs_of, random_molecules


def loss_of(model: Any) -> Callable[[Any, Batch], Any]:
    """Return the mean squared error of energies and forces."""

    def loss(params: Any, batch: Batch) -> Any:
        def energies(positions: Any) -> Any:
            return model.apply(params, *inputs_of({**batch, "positions": positions}))

        predicted, pullback = jax.vjp(energies, batch["positions"])
        (gradient,) = pullback(jnp.ones_like(predicted))
        return jnp.mean((predicted - batch["energies"]) ** 2) + jnp.mean((gradient + batch["forces"]) ** 2)

    return loss


def on_every_device(loss: Callable[[Any, Batch], Any], mesh: Mesh) -> Callable[[Any, Batch], Any]:
    """Return value and gradient of a loss; every device works on its part of the batch, then they take the mean."""
    batched, everywhere = PartitionSpec("batch"), PartitionSpec()

    @partial(
        jax.shard_map, mesh=mesh, in_specs=(everywhere, batched), out_specs=(everywhere, everywhere), check_vma=False
    )
    def value_and_grad(params: Any, batch: Batch) -> Any:
        return jax.lax.pmean(jax.value_and_grad(loss)(params, batch), "batch")

    return value_and_grad


def main() -> None:
    """Compute one gradient on one device, and on all of them in two ways."""
    batch, model = random_molecules(np.random.default_rng(0), 16), to_linen(Energy())
    params = jax.jit(model.init)(jax.random.PRNGKey(0), *inputs_of(batch))
    loss = loss_of(model)
    value, gradient = jax.jit(jax.value_and_grad(loss))(params, batch)
    print(f"one device: loss {value:.6f}")

    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    sharded = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("batch")))
    replicated = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    ways = {"jit": jax.value_and_grad(loss), "shard_map": on_every_device(loss, mesh)}
    for name, way in ways.items():
        other_value, other_gradient = jax.jit(way)(replicated, sharded)
        differences = jax.tree.map(lambda a, b: abs(a - b).max(), other_gradient, gradient)
        largest = max(map(float, jax.tree.leaves(differences)))
        print(f"{len(jax.devices())} devices, {name}: loss {other_value:.6f}, gradients differ by {largest:.1e}")


if __name__ == "__main__":
    main()
