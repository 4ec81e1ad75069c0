"""Values and derivatives of programs, in every library."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from fuzz.programs import Program
from fuzz.reference import Weights, torch_derivatives

Results = dict[str, np.ndarray]


def by_numpy(program: Program, arrays: Mapping[str, Any], weights: Weights, order: int, eager: bool) -> Results:
    """Return the value, and derivatives of maps of kernels."""
    if program.map is None:
        return {"value": program.function(arrays)}
    results = {"value": program.map.value(arrays)}
    if order:
        results |= {f"d/d {n}": s for n, s in program.map.vjp(arrays, weights.of_value).items()}
    if order > 1:
        seconds = program.map.second(arrays, weights.of_value, weights.of_gradients)
        results |= {f"d2/d {n}": s for n, s in seconds.items()}
    return results


def by_torch(program: Program, arrays: Mapping[str, Any], weights: Weights, order: int, eager: bool) -> Results:
    """Return value and derivatives of PyTorch; tensors lie in the memory of arrays."""
    given = Weights(
        torch.from_numpy(weights.of_value), {n: torch.from_numpy(w) for n, w in weights.of_gradients.items()}
    )
    results = torch_derivatives(program, {n: torch.from_numpy(a) for n, a in arrays.items()}, given, order)
    return {n: r.numpy() for n, r in results.items()}


def by_jax(program: Program, arrays: Mapping[str, Any], weights: Weights, order: int, eager: bool) -> Results:
    """Return value and derivatives of JAX; programs are compiled once for all cases that have them."""
    import jax
    import jax.numpy as jnp

    function = _jax_derivatives(program, order)
    given = {n: jnp.asarray(a) for n, a in arrays.items()}
    cotangents = jnp.asarray(weights.of_value), {n: jnp.asarray(w) for n, w in weights.of_gradients.items()}
    results = function(given, *cotangents) if eager else _compiled(program, order)(given, *cotangents)
    return {n: np.asarray(jax.block_until_ready(r)) for n, r in results.items()}


@lru_cache(maxsize=4)
def _compiled(program: Program, order: int) -> Callable[..., Any]:
    import jax

    return jax.jit(_jax_derivatives(program, order))


def _jax_derivatives(program: Program, order: int) -> Callable[..., Any]:
    import jax
    import jax.numpy as jnp

    def evaluate(arrays: Mapping[str, Any], cotangent: Any, tangents: Mapping[str, Any]) -> dict[str, Any]:
        leaves = {n: a for n, a in arrays.items() if program.specs[n].is_float} if order else {}
        if not leaves:
            return {"value": program.function(arrays)}

        def first(leaves: Mapping[str, Any]) -> Any:
            value, vjp = jax.vjp(lambda x: program.function({**arrays, **x}), leaves)
            return value, vjp(cotangent)[0]

        def dot(leaves: Mapping[str, Any]) -> Any:
            value, gradients = first(leaves)
            return sum(jnp.sum(s * tangents[n]) for n, s in gradients.items()), (value, gradients)

        if order > 1:
            seconds, (value, gradients) = jax.grad(dot, has_aux=True)(leaves)
        else:
            seconds, (value, gradients) = {}, first(leaves)
        named = {f"d/d {n}": s for n, s in gradients.items()}
        return {"value": value, **named, **{f"d2/d {n}": s for n, s in seconds.items()}}

    return evaluate


def prepare(library: str) -> None:
    """Set a library up for many small programs."""
    torch.set_num_threads(1)
    if library == "jax":
        os.environ.setdefault("XLA_FLAGS", "")
        import jax

        jax.config.update("jax_enable_x64", True)


LIBRARIES: dict[str, Callable[..., Results]] = {"numpy": by_numpy, "torch": by_torch, "jax": by_jax}
