"""Arrays of 64 bits keep their numbers after the block of ``jax.enable_x64`` in which they were made.

JAX makes no new arrays of 64 bits there, but computes with those that exist: ``jnp.sin`` of one is exact to 64 bits.
Derivatives of indexing are not among the cases, since JAX itself refuses them there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import e3any_flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import kernels
from flax import nnx

from e3any import Layout

RNG = np.random.default_rng(0)
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "harmonics": (lambda r: e3any_flax.so3.spherical_harmonics(r, 4), 2),
    "harmonics of few vectors": (lambda r: e3any_flax.so3.spherical_harmonics(r[:2], 2), 0),
    "solid harmonics": (lambda r: e3any_flax.so3.solid_harmonics(r, 3), 2),
    "norm": (lambda r: e3any_flax.ops.norm(r, axis=-1), 1),
    "normalize": (lambda r: e3any_flax.ops.normalize(r, axis=-1), 1),
    "sinc": (lambda r: e3any_flax.nn.sinc(r, 4), 1),
}
LAYERS = {
    "dense": (e3any_flax.nn.Dense(16), [(40, 2, 9, 16)]),
    "tensor": (e3any_flax.nn.Tensor(), [(40, 2, 9, 16)] * 2),
    "fused tensor": (e3any_flax.nn.FusedTensor(), [(40, 2, 9, 16)] * 2),
    "tensor dense": (e3any_flax.nn.TensorDense(16), [(40, 1, 9, 16)]),
    "message pass": (e3any_flax.nn.MessagePass(), [(9, 1, 9, 16), (40, 1, 9, 8)]),
}
# Derivatives of TensorDense pad in JAX, which JAX refuses, as it does those of an unfactored basis.
ORDERS = {"tensor dense": 0, "message pass": 0}


def derivatives(f: Callable[..., Any], order: int) -> list[Callable[..., Any]]:
    """Return a function, and its gradients up to an order."""
    found = [f]
    for _ in range(order):
        last = found[-1]
        found.append(jax.grad(lambda x, last=last: sum((y**2).sum() for y in jax.tree.leaves(last(x)))))
    return found


def compare(f: Callable[[Any], Any], x: Any, order: int) -> None:
    """Compare values and derivatives outside of the block with those inside."""
    for g in derivatives(f, order):
        with jax.enable_x64(True):
            right = g(x)
        for ours in (g(x), jax.jit(g)(x)):
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(right), strict=True):
                assert a.dtype == b.dtype == "float64"
                np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("by_kernels", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_arrays_that_outlive_x64(name: str, by_kernels: bool) -> None:
    function, order = FUNCTIONS[name]
    with jax.enable_x64(True):
        x = jnp.asarray(RNG.normal(size=(40, 3)))
    with kernels.enabled(by_kernels):
        compare(function, x, order)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_arrays_that_outlive_x64(name: str) -> None:
    layer, shapes = LAYERS[name]
    lists = {n: RNG.integers(9, size=40) for n in ("dst_idx", "src_idx")} if name == "message pass" else {}
    with jax.enable_x64(True):
        x = [jnp.asarray(RNG.normal(size=shape)) for shape in shapes]
        variables = jax.tree.map(lambda p: p.astype("float64"), layer.init(jax.random.key(0), *x, **lists))
    compare(lambda x: layer.apply(variables, *x, **lists), x, ORDERS.get(name, 2))


def test_parameters_of_nnx_modules_that_outlive_x64() -> None:
    module = e3any_flax.nnx.Dense(Layout(2, 16, pseudotensors=True), 8, rngs=nnx.Rngs(0))
    with jax.enable_x64(True):
        nnx.update(module, jax.tree.map(lambda p: p.astype("float64"), nnx.state(module)))
        x = jnp.asarray(RNG.normal(size=(40, 2, 9, 16)))
        right = module(x)
    np.testing.assert_allclose(np.asarray(module(x)), np.asarray(right), rtol=1e-12, atol=1e-12)
