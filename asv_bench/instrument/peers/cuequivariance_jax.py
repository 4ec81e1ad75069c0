"""cuequivariance with JAX, by its method for CPUs."""

from __future__ import annotations

from typing import Any

import cuequivariance_jax as cuex
import jax
import jax.numpy as jnp
import numpy as np

from ..frameworks.jax import JaxProgram
from ..irreps import irreps, irreps_of, stacked
from ..task import Task
from . import polynomials


def spherical_harmonics(task: Task) -> JaxProgram:
    """Return harmonics of unit vectors."""
    polynomial = polynomials.harmonics(task.options["max_degree"])

    def apply(_: Any, r: Any) -> Any:
        return _evaluate(polynomial, r / jnp.linalg.norm(r, axis=-1, keepdims=True))

    return JaxProgram(apply, None, jax.tree.map(jnp.asarray, task.arrays))


def tensor(task: Task) -> JaxProgram:
    """Return the product of equal features with a weight for every path and feature."""
    x, y = task.inputs
    polynomial = polynomials.product(irreps_of(x), irreps_of(y), irreps_of(x), x.shape[-1], filters=False)
    weights = _weights(1, polynomial.inputs[0].size)
    arrays = tuple(jnp.asarray(stacked(a).reshape(len(a), -1)) for a in (x, y))
    return JaxProgram(lambda w, x, y: _evaluate(polynomial, w, x, y), weights, arrays)


def message_pass(task: Task) -> JaxProgram:
    """Return messages along edges, with weights of paths that are linear in the radial functions."""
    x, basis = task.inputs
    filters = irreps(basis.max_degree, 1)
    polynomial = polynomials.product(irreps_of(x), filters, irreps_of(x), x.shape[-1], filters=True)
    weights = _weights(basis.radial.shape[-1], polynomial.inputs[0].size)

    def apply(weights: Any, x: Any, radial: Any, angular: Any, dst: Any, src: Any) -> Any:
        messages = _evaluate(polynomial, radial @ weights, x[src], angular)
        return jax.ops.segment_sum(messages, dst, len(x), indices_are_sorted=True)

    arrays = stacked(x).reshape(len(x), -1), basis.radial[:, 0], basis.angular, *task.lists.values()
    return JaxProgram(apply, weights, tuple(map(jnp.asarray, arrays)))


def _weights(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def _evaluate(polynomial: Any, *inputs: Any) -> Any:
    shape = jax.ShapeDtypeStruct((len(inputs[-1]), -1), jnp.float32)
    return cuex.segmented_polynomial(polynomial, list(inputs), [shape], method="naive")[0]
