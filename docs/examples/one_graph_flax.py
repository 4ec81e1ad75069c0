"""One graph on several devices: the loss of an energy and forces, and its gradient, beside those of one device.

Without accelerators the processor plays eight devices:

    python docs/examples/one_graph_flax.py

In two processes of JAX, with four devices each:

    python docs/examples/one_graph_flax.py localhost:9876 2 0 &
    python docs/examples/one_graph_flax.py localhost:9876 2 1
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

if __name__ == "__main__":  # before JAX starts
    number = 4 if sys.argv[1:] else 8
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={number}")

import jax
import jax.numpy as jnp
import numpy as np
from e3any_flax import to_linen
from e3any_flax.parallel import exchange
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from one_graph import AtomEnergies, parameters, parts_of, random_atoms

NUM_ATOMS = 100
ENERGY = -3.0  # to learn


def loss_of(model: Any, num_nodes: int, num_parts: int = 1) -> Callable[..., Any]:
    """Return the loss of a whole graph, or the share of one part in it: the loss is the sum of all shares."""

    def loss(params: Any, atoms: dict[str, Any], halo: Any = None) -> Any:
        with_others = {"exchange": partial(exchange, halo=halo, axis_name="parts")} if halo is not None else {}
        lists = (atoms["dst_idx"], atoms["src_idx"])

        def energy(positions: Any) -> Any:
            energies = model.apply(params, atoms["numbers"], positions, *lists, **with_others)
            return jnp.sum(jnp.where(atoms["mask"], energies, 0))

        # The derivative of the own energies, and, as cotangents are sent back, of those of all parts.
        total, gradient = jax.value_and_grad(energy)(atoms["positions"])
        total = jax.lax.psum(total, "parts") if halo is not None else total
        return ((total - ENERGY) ** 2 / num_parts + jnp.sum((gradient + atoms["forces"]) ** 2)) / num_nodes

    return loss


def on_all_devices(loss: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Return value and gradient of a loss, from the shares of all parts."""
    of_parts, everywhere = PartitionSpec("parts"), PartitionSpec()

    @partial(jax.shard_map, mesh=mesh, in_specs=(everywhere, of_parts, of_parts), out_specs=everywhere, check_vma=False)
    def value_and_grad(params: Any, atoms: Any, halo: Any) -> Any:
        return jax.lax.psum(jax.value_and_grad(loss)(params, atoms, halo), "parts")

    return value_and_grad


def bytes_sent(compiled: Any) -> int:
    """Return how many bytes a device sends to others in the exchanges of a program in double precision."""
    shapes = re.findall(r"f64\[([\d,]*)\]\S* collective-permute\(", compiled.as_text())
    return sum(8 * math.prod(map(int, shape.split(","))) for shape in shapes)


def shown(value: Any, gradient: Any) -> str:
    """Return a loss and the norm of its gradient as text."""
    norm = np.sqrt(sum(float(np.sum(np.square(x))) for x in jax.tree.leaves(gradient)))
    return f"loss {float(value):.15g}, norm of its gradient {norm:.15g}"


def main() -> None:
    """Compute one gradient on one device and on all of them."""
    if sys.argv[1:]:
        jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    jax.config.update("jax_enable_x64", True)  # so that differences are rounding
    rng, model, num_parts = np.random.default_rng(0), to_linen(AtomEnergies()), len(jax.devices())
    atoms = random_atoms(rng, NUM_ATOMS)
    params = jax.tree.map(np.float64, {"params": parameters(rng, atoms)})

    partition = parts_of(atoms, num_parts)
    mesh = Mesh(np.asarray(jax.devices()), ("parts",))
    split = {name: partition.split_nodes(atoms[name]) for name in ("numbers", "positions", "forces")}
    split |= {"mask": partition.node_mask, "dst_idx": partition.dst_idx, "src_idx": partition.src_idx}
    split, halo = jax.device_put((split, partition.halo), NamedSharding(mesh, PartitionSpec("parts")))
    several = jax.jit(on_all_devices(loss_of(model, NUM_ATOMS, num_parts), mesh)).lower(params, split, halo).compile()
    value, gradient = several(params, split, halo)
    print(f"{num_parts} devices: {shown(value, gradient)}")
    print(f"rows of each device: {halo.num_rows}, and {halo.size} received in {len(halo.rounds)} rounds")
    print(f"a device sends {bytes_sent(several)} bytes of features and cotangents")

    if jax.process_count() == 1:
        one = jax.jit(jax.value_and_grad(loss_of(model, NUM_ATOMS)))
        value, of_one = one(params, {**atoms, "mask": np.ones(NUM_ATOMS, bool)})
        print(f"one device: {shown(value, of_one)}")
        differences = jax.tree.map(lambda x, y: float(np.abs(np.asarray(x) - y).max()), gradient, of_one)
        print(f"gradients differ by {max(jax.tree.leaves(differences)):.1e}")


if __name__ == "__main__":
    main()
