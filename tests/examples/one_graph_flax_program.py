"""Run by ``test_several_devices.py`` in a process with eight devices: prints what it finds as JSON."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))
sys.path.append(str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import one_graph_flax
from e3any_flax.parallel import exchange
from jax.sharding import Mesh, PartitionSpec
from part_cases import SIZES, random_partition, received


def derivatives(exchanging, x, weights):
    """Return rows after an exchange, the gradient of a function of them, and that of the squared gradient."""
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(exchanging(x)) * weights))
    return exchanging(x), gradient(x), jax.grad(lambda x: jnp.sum(gradient(x) ** 2))(x)


def differences(partition, rng, mesh) -> dict:
    """Return how much an exchange and its derivatives differ from gathers on one device, and the bytes of programs."""
    halo, rows = partition.halo, received(partition).reshape(-1)
    x, weights = rng.normal(size=(len(partition.nodes), 3)), rng.normal(size=(len(rows), 3))
    parts = PartitionSpec("parts")
    shard = partial(jax.shard_map, mesh=mesh, in_specs=parts, out_specs=parts, check_vma=False)
    outside = shard(lambda x, halo: exchange(x, halo, "parts"))

    @jax.jit
    def ways(x, weights, halo):
        """Gather on one device, differentiate on every device, and differentiate the function of all devices."""
        gathered = derivatives(lambda x: jnp.where((rows >= 0)[:, None], x[np.maximum(rows, 0)], 0), x, weights)
        of_parts = shard(lambda x, w, halo: derivatives(lambda x: exchange(x, halo, "parts"), x, w))(x, weights, halo)
        of_all = jax.grad(lambda x: jnp.sum(jnp.sin(outside(x, halo)) * weights))(x)
        return gathered, of_parts, of_all

    gathered, of_parts, of_all = ways(x, weights, halo)
    pairs = [*zip(of_parts, gathered), (of_all, gathered[1])]
    compiled = jax.jit(outside).lower(x, halo).compile()
    errors = [float(jnp.abs(found - expected).max()) for found, expected in pairs]
    return {"errors": errors, "bytes": one_graph_flax.bytes_sent(compiled), "counted": halo.size * x[0].nbytes}


def main() -> None:
    """Compare the numbers of one and of several devices."""
    one_graph_flax.main()
    rng, mesh = np.random.default_rng(0), Mesh(np.asarray(jax.devices()), ("parts",))
    eight = [size for size in SIZES if size[1] == 8]
    print(json.dumps([differences(random_partition(rng, *size)[0], rng, mesh) for size in eight]))


if __name__ == "__main__":
    main()
