"""e3j, by its method for CPUs: a loop over entries of the table of couplings."""

from __future__ import annotations

from typing import Any

import e3j
import jax
import jax.numpy as jnp
import numpy as np

from ..frameworks.jax import JaxProgram
from ..irreps import Irrep, couplings, irreps, irreps_of, stacked
from ..task import Task


def tensor(task: Task) -> JaxProgram:
    """Return the product of equal features with a weight for every path and feature."""
    x, y = task.inputs
    kinds = irreps_of(x)
    product = _product(kinds, irreps_of(y), "MAP")
    weights = _weights(len(couplings(kinds, irreps_of(y), kinds)), x.shape[-1])
    arrays = tuple(jnp.asarray(stacked(a)) for a in (x, y))
    return JaxProgram(lambda w, x, y: _mixed(kinds, product, product(x, y), w), weights, arrays)


def message_pass(task: Task) -> JaxProgram:
    """Return messages along edges, with weights of paths that are linear in the radial functions."""
    x, basis = task.inputs
    kinds, filters = irreps_of(x), irreps(basis.max_degree, 1)
    product = _product(kinds, filters, "OUTER")
    weights = _weights(basis.radial.shape[-1], len(couplings(kinds, filters, kinds)), x.shape[-1])

    def apply(weights: Any, x: Any, radial: Any, angular: Any, dst: Any, src: Any) -> Any:
        messages = product(x[src], angular[..., None])
        mixed = _mixed(kinds, product, messages, jnp.tensordot(radial, weights, 1))
        return jax.ops.segment_sum(mixed, dst, len(x), indices_are_sorted=True)

    arrays = stacked(x), basis.radial[:, 0], basis.angular, *task.lists.values()
    return JaxProgram(apply, weights, tuple(map(jnp.asarray, arrays)))


def _product(first: list[Irrep], second: list[Irrep], mode: str) -> Any:
    names = ["+".join(map(str, kinds)) for kinds in (first, second)]
    return e3j.core.TensorProduct((names[0], names[1]), names[0], layout="TRAILING_CHANNELS", mode=mode)


def _mixed(kinds: list[Irrep], product: Any, values: Any, weights: Any) -> Any:
    """Return features (..., K, F): values times weights (..., paths, F), summed over the paths to each irrep."""
    sums, path, row = {}, 0, 0
    for count, irrep in product.target:
        rows = count * irrep.dim
        chunk = values[..., row : row + rows, :].reshape(*values.shape[:-2], count, irrep.dim, values.shape[-1])
        scaled = weights[..., path : path + count, None, :] * chunk
        sums[str(irrep)] = sums.get(str(irrep), 0) + jnp.sum(scaled, axis=-3)
        path, row = path + count, row + rows
    return jnp.concatenate([sums[str(a)] for a in kinds], axis=-2)


def _weights(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))
