"""What the tests of all layers share: inputs, parameters, derivatives, and the laws that every layer obeys."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import e3any_flax
import e3x
import jax
import jax.numpy as jnp
import numpy as np
import torch
from array_trees import is_float, random_parameters, tree_map
from backends_matrix import Library

from e3any import nn
from e3any.nn.layer import leaves
from e3any.testing import assert_parity

KEY = jax.random.PRNGKey(3)

# Functions are compiled to run once.
jit = partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


def features(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Draw features, positions or anything else."""
    return rng.normal(size=shape)


def compiled(library: Library, function: Callable) -> Callable:
    """Return a function compiled for JAX, whose single operations would be compiled one by one."""
    return jit(function) if library is Library.JAX else function


def cast(tree: Any, library: Library, dtype: str = "float64") -> Any:
    """Make the NumPy arrays of a tree arrays of a library, floating-point ones of a dtype."""
    return tree_map(lambda x: library.array(x, dtype if is_float(x) else None), tree)


def jax_value_and_grad(apply: Callable, options: dict, *, linear: bool = False) -> Callable:
    """Return a compiled function of (params, inputs): output, and gradients of the sum of its sine.

    With ``linear``, of a weighted sum: slopes of sines of large outputs amplify rounding of these.
    """

    @jit
    def value_and_grad(params: Any, inputs: tuple) -> Any:
        inexact = [jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves(inputs)]

        def call(params: Any, floating: list) -> Any:
            rest = iter(floating)
            flat = [next(rest) if f else x for f, x in zip(inexact, jax.tree.leaves(inputs))]
            return apply(params, *jax.tree.unflatten(jax.tree.structure(inputs), flat), **options)

        floating = [x for f, x in zip(inexact, jax.tree.leaves(inputs)) if f]
        out, pullback = jax.vjp(call, params, floating)
        weights = jnp.arange(out.size, dtype=out.dtype).reshape(out.shape) if linear else out
        return out, *pullback(jnp.cos(weights))

    return value_and_grad


def torch_value_and_grad(layer: nn.Layer, params: dict, inputs: tuple, options: dict) -> Any:
    """Return what :func:`jax_value_and_grad` does, from PyTorch."""
    params = tree_map(lambda x: x.detach().requires_grad_(), params)
    inputs = tree_map(lambda x: x.detach().requires_grad_() if x.dtype.is_floating_point else x, inputs)
    floating = []
    tree_map(lambda x: floating.append(x) if x.requires_grad else None, inputs)
    out = layer(params, *inputs, **options)
    out.sin().sum().backward()
    return (
        out,
        tree_map(lambda x: torch.zeros_like(x) if x.grad is None else x.grad, params),
        [x.grad for x in floating],
    )


def assert_equals_e3x(
    layer: nn.Layer,
    rng: np.random.Generator,
    inputs: tuple,
    options: dict | None = None,
    dtype: str = "float64",
    *,
    ours_only: tuple | None = None,
    linear: bool = False,
) -> None:
    """Compare parameters of one key, outputs and gradients with those of the layer of e3x of the same name.

    The oracle computes in double precision, from the same numbers: what it computes in single precision has errors of
    its own.

    ``ours_only`` are inputs of e3any that are to give the same output as ``inputs`` of e3x, with the same
    parameters; of their gradients only those of parameters are compared. For ``linear`` see
    :func:`jax_value_and_grad`.
    """
    options = options or {}
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    fields = {name: value for name, value in fields.items() if not name.endswith("_init") and value is not None}
    fields.pop("use_parity", None)  # of e3any alone
    oracle = getattr(e3x.nn, type(layer).__name__)(**fields)
    module = e3any_flax.to_linen(layer)
    inputs, options = cast(inputs, Library.JAX, dtype), cast(options, Library.JAX)
    mine = inputs if ours_only is None else cast(ours_only, Library.JAX, dtype)
    initialize = jit(lambda key: (oracle.init(key, *inputs, **options), module.init(key, *mine, **options)))
    theirs, ours = initialize(KEY)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    # e3x computes standard deviations in the dtype of parameters, and the compiler reorders products.
    jax.tree.map(partial(np.testing.assert_array_max_ulp, maxulp=2), ours, theirs)
    params = tree_map(lambda x: jnp.asarray(rng.normal(size=x.shape), dtype), theirs)
    exact = tree_map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, (params, inputs))
    expected = jax_value_and_grad(oracle.apply, options, linear=linear)(*exact)
    actual = jax_value_and_grad(module.apply, options, linear=linear)(params, mine)
    if ours_only is not None:
        expected, actual = expected[:2], actual[:2]
    assert_parity(actual, expected, dtype, rtol={"float64": 1e-12, "float32": 1e-6}[dtype])


def assert_libraries_agree(
    layer: nn.Layer, rng: np.random.Generator, inputs: tuple, options: dict | None = None
) -> None:
    """Compare outputs on all libraries, and gradients of PyTorch and JAX."""
    options = options or {}
    params = random_parameters(layer, rng, inputs, options)
    expected = layer(params, *inputs, **options)
    for library in (Library.NUMPY, Library.STRICT):
        actual = layer(cast(params, library), *cast(inputs, library), **cast(options, library))
        assert library.owns(actual)
        assert_parity(actual, expected, "float64")
    run = jax_value_and_grad(layer, cast(options, Library.JAX))
    of_jax = run(cast(params, Library.JAX), cast(inputs, Library.JAX))
    of_torch = torch_value_and_grad(layer, *(cast(x, Library.TORCH) for x in (params, inputs, options)))
    assert_parity(of_jax[0], expected, "float64")
    assert_parity(of_torch, of_jax, "float64")


def assert_dtypes_are_kept(
    layer: nn.Layer, rng: np.random.Generator, inputs: tuple, options: dict | None = None
) -> None:
    """Run all libraries in float32, and JAX and PyTorch in bfloat16 too."""
    options = options or {}
    params = random_parameters(layer, rng, inputs, options)
    expected = layer(params, *inputs, **options)
    for library in (Library.NUMPY, Library.STRICT, Library.TORCH):
        actual = layer(*(cast(x, library, "float32") for x in (params, *inputs)), **cast(options, library))
        assert_parity(actual, expected, "float32")
    of_jax = [cast(x, Library.JAX, "float32") for x in (params, *inputs)]
    assert jax.eval_shape(lambda a: layer(*a, **cast(options, Library.JAX)), of_jax).dtype == jnp.float32
    of_jax = tree_map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, of_jax)
    assert jax.eval_shape(lambda a: layer(*a, **cast(options, Library.JAX)), of_jax).dtype == jnp.bfloat16
    of_torch = [cast(x, Library.TORCH) for x in (params, *inputs)]
    of_torch = tree_map(lambda x: x.bfloat16() if x.is_floating_point() else x, of_torch)
    assert_parity(layer(*of_torch, **cast(options, Library.TORCH)), expected, "bfloat16")


def assert_transformations_agree(
    layer: nn.Layer, rng: np.random.Generator, inputs: tuple, options: dict | None = None
) -> None:
    """Check jit, vmap, scan, remat, jvp and Hessian-vector products under JAX, in one compilation.

    The layer is a function of its first input; if that is no floating-point array, of its parameters.
    """
    options = options or {}
    params = random_parameters(layer, rng, inputs, options)
    params, inputs, options = (cast(x, Library.JAX) for x in (params, inputs, options))
    by_input = jnp.issubdtype(inputs[0].dtype, jnp.floating)
    first = inputs[0] if by_input else params
    batch = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=(2, *x.shape))), first)
    tangent = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), first)

    def call(x: Any) -> Any:
        return layer(params, x, *inputs[1:], **options) if by_input else layer(x, *inputs, **options)

    def loss(x: Any) -> Any:
        return jnp.sum(jnp.sin(call(x)))

    def dot(x: Any, y: Any) -> Any:
        return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y)))

    @jit
    def run() -> Any:
        grad = jax.grad(loss)
        reverse_over_reverse = jax.grad(lambda x: dot(grad(x), tangent))(first)
        forward_over_reverse = jax.jvp(grad, (first,), (tangent,))[1]
        remat = jax.grad(jax.checkpoint(loss))(first)
        directional = jax.jvp(loss, (first,), (tangent,))[1]
        scanned = jax.lax.scan(lambda carry, x: (carry, call(x)), 0, batch)[1]
        vmapped = jax.vmap(call)(batch)
        one_by_one = jnp.stack([call(jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(2)])
        return (
            (scanned, vmapped, remat, directional, forward_over_reverse),
            (one_by_one, one_by_one, grad(first), dot(grad(first), tangent), reverse_over_reverse),
        )

    assert_parity(*run())
    with jax.disable_jit():
        eager = call(first)
    assert_parity(eager, jit(call)(first))


def torch_gradient(function: Callable) -> Callable:
    """Return the function that gives the gradient, by its first argument, of the sum of squares of a function.

    The sum is invariant under O(3), so that the gradient of an equivariant function is equivariant.
    """

    def gradient(*inputs: Any) -> Any:
        first = inputs[0].detach().requires_grad_()
        return torch.autograd.grad((function(first, *inputs[1:]) ** 2).sum(), first)[0]

    return gradient


def paths(tree: dict) -> list[str]:
    """Return the dotted paths of the arrays of a tree."""
    return [".".join(path) for path, _ in leaves(tree)]
