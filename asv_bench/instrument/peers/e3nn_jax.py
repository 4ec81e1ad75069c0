"""e3nn-jax: products of all irreps, then weights and sums over the paths to each."""

from __future__ import annotations

from typing import Any

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np

from ..frameworks.jax import JaxProgram
from ..irreps import Irrep, couplings, irreps, irreps_of, stacked
from ..task import Task


def spherical_harmonics(task: Task) -> JaxProgram:
    """Return harmonics of unit vectors."""
    degrees = list(range(task.options["max_degree"] + 1))

    def apply(_: Any, r: Any) -> Any:
        return e3nn.spherical_harmonics(degrees, e3nn.IrrepsArray("1o", r), normalize=True).array

    return JaxProgram(apply, None, jax.tree.map(jnp.asarray, task.arrays))


def tensor(task: Task) -> JaxProgram:
    """Return the product of equal features with a weight for every path and feature."""
    x, y = task.inputs
    kinds = irreps_of(x)
    weights = _weights(x.shape[-1], len(couplings(kinds, irreps_of(y), kinds)))
    arrays = tuple(jnp.asarray(np.swapaxes(stacked(a), -1, -2)) for a in (x, y))
    return JaxProgram(lambda w, x, y: _product(kinds, x, irreps_of(task.inputs[1]), y, w), weights, arrays)


def message_pass(task: Task) -> JaxProgram:
    """Return messages along edges, with weights of paths that are linear in the radial functions."""
    x, basis = task.inputs
    kinds, filters = irreps_of(x), irreps(basis.max_degree, 1)
    weights = _weights(basis.radial.shape[-1], x.shape[-1], len(couplings(kinds, filters, kinds)))

    def apply(weights: Any, x: Any, radial: Any, angular: Any, dst: Any, src: Any) -> Any:
        scales = jnp.tensordot(radial, weights, 1)
        messages = _product(kinds, x[src], filters, angular[:, None], scales)
        return jax.ops.segment_sum(messages, dst, len(x), indices_are_sorted=True)

    arrays = np.swapaxes(stacked(x), -1, -2), basis.radial[:, 0], basis.angular, *task.lists.values()
    return JaxProgram(apply, weights, tuple(map(jnp.asarray, arrays)))


def _product(first: list[Irrep], x: Any, second: list[Irrep], y: Any, weights: Any) -> Any:
    """Return features (..., F, K) of the first factor's irreps; weights are (..., F, paths)."""
    product = e3nn.tensor_product(_array(first, x), _array(second, y), filter_ir_out=_names(first)).regroup()
    counts = [count for count, _ in product.irreps]
    scales = jnp.split(weights, np.cumsum(counts)[:-1], axis=-1)
    sums = {
        str(irrep): jnp.sum(scale[..., None] * chunk, axis=-2)
        for (_, irrep), chunk, scale in zip(product.irreps, product.chunks, scales, strict=True)
    }
    return jnp.concatenate([sums[str(a)] for a in first], axis=-1)


def _array(kinds: list[Irrep], x: Any) -> Any:
    return e3nn.IrrepsArray("+".join(map(str, kinds)), x)


def _names(kinds: list[Irrep]) -> list[str]:
    return [str(a) for a in kinds]


def _weights(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))
