"""Run by ``test_several_devices.py`` in a process that has several devices: prints what it finds as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))

import jax
import jax.numpy as jnp
import numpy as np
import sharding_flax
from e3any_flax import to_linen
from e3any_numpy import to_numpy
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from random_molecules import Energy, inputs_of, random_molecules

from e3any import nn

COLLECTIVES = ("all-gather", "all-to-all", "collective-permute", "all-reduce")


def collectives(compiled) -> list[str]:
    """Return the kinds of communication in a program."""
    text = compiled.as_text()
    return [name for name in COLLECTIVES if f"{name}(" in text or f"{name}-start(" in text]


@dataclass(frozen=True)
class Pointwise(nn.Layer):
    """Layers that treat every row by itself."""

    def forward(self, p, x):
        x = nn.silu(nn.Dense(4)(p / "dense", x))
        return nn.Tensor()(p / "tensor", x, x)


def pointwise(batched) -> dict[str, list[str]]:
    """Return how devices communicate in layers that treat every row by itself."""
    model = to_linen(Pointwise())
    x = jnp.ones((16, 2, 4, 4))
    params = model.init(jax.random.PRNGKey(0), x)
    x = jax.device_put(x, batched)
    apply, gradient = jax.jit(model.apply), jax.jit(jax.grad(lambda p, x: jnp.sum(model.apply(p, x) ** 2), (0, 1)))
    return {
        "layers": collectives(apply.lower(params, x).compile()),
        "derivatives": collectives(gradient.lower(params, x).compile()),
    }


def main() -> None:
    """Compare the numbers of one and of several devices."""
    mesh = Mesh(np.asarray(jax.devices()), ("batch",))
    batched, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))
    rng, description = np.random.default_rng(0), Energy(features=2)
    batch, model = random_molecules(rng, 8), to_linen(description)
    params = {"params": to_numpy(description).init(rng, *inputs_of(batch))}
    loss = sharding_flax.loss_of(model)
    ways = {"jit": jax.value_and_grad(loss), "shard_map": sharding_flax.on_every_device(loss, mesh)}
    expected = jax.tree.leaves(jax.jit(ways["jit"])(params, batch))
    sharded, replicated = jax.device_put(batch, batched), jax.device_put(params, everywhere)
    report = {"devices": len(jax.devices()), "communication": pointwise(batched), "errors": {}}
    for name, way in ways.items():
        compiled = jax.jit(way).lower(replicated, sharded).compile()
        actual = jax.tree.leaves(compiled(replicated, sharded))
        scale = max(float(abs(e).max()) for e in expected)
        report["errors"][name] = max(float(abs(a - e).max()) for a, e in zip(actual, expected)) / scale
        report["communication"][name] = collectives(compiled)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
