"""Modes of JAX: ways to compute the value of a layer and its derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import e3any_flax
import jax
import jax.numpy as jnp
import numpy as np
import torch
from array_trees import is_float, tree_map
from e3any_backends import kernels
from e3any_backends.kernels.parallel import pool
from e3any_flax.nnx_module import to_nnx
from flax import nnx
from modes.cases import Case

from e3any import nn
from e3any.testing import assert_parity, to_numpy

__all__ = ["MODES", "Mode", "Run", "arguments_of", "assert_same", "jit", "reference", "settings", "sharded"]

Results = dict[str, Any]
Arguments = tuple[dict[str, Any], tuple, dict[str, Any]]

# Functions are compiled to run once.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
jit = partial(jax.jit, compiler_options=QUICKLY)


@contextmanager
def settings(use_kernels: bool, shares: int) -> Iterator[None]:
    """Switch kernels, and let as many threads share all work, however little."""
    with kernels.enabled(use_kernels), kernels.threads(shares), ExitStack() as stack:
        if shares > 1:
            stack.enter_context(mock.patch.multiple(pool, GRAIN=1, _PARTIAL_WORK=0))
        yield


@dataclass(eq=False)
class Run:
    """The function of a case, of a list of arrays of floating-point numbers.

    Parameters
    ----------
    apply : callable
        ``apply(params, *inputs, **options)`` returns the value.
    arguments : tuple
        Parameters, inputs by position and by name.
    layer : Layer
        What is applied, as a description.
    """

    apply: Callable[..., Any]
    arguments: Arguments
    layer: nn.Layer

    @classmethod
    def of(cls, layer: nn.Layer, arguments: Arguments) -> Run:
        """Return a description as a function of arrays of JAX."""
        return cls(layer, tree_map(jnp.asarray, arguments), layer)

    @property
    def leaves(self) -> list[Any]:
        """Parameters and inputs of floating-point numbers."""
        return [x for x in jax.tree.leaves(self.arguments) if jnp.issubdtype(x.dtype, jnp.floating)]

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Return the value."""
        rest = iter(leaves)
        flat, structure = jax.tree.flatten(self.arguments)
        flat = [next(rest) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in flat]
        params, inputs, options = jax.tree.unflatten(structure, flat)
        return self.apply(params, *inputs, **options)

    def loss(self, leaves: Sequence[Any]) -> Any:
        """Return a linear function of the value."""
        value = self(leaves)
        return jnp.sum(value * waves([value])[0])

    def first(self, leaves: Sequence[Any]) -> Any:
        """Return derivatives of the loss."""
        return jax.grad(self.loss)(leaves)

    def value_and_first(self, leaves: Sequence[Any]) -> Results:
        """Return what training computes."""
        value, pullback = jax.vjp(self, leaves)
        return {"value": value, "first": pullback(jnp.asarray(waves([value])[0]))[0]}

    def results(self, leaves: Sequence[Any]) -> Results:
        """Return the value and the derivatives."""
        first, pullback = jax.vjp(self.first, leaves)
        return {"value": self(leaves), "first": first, "second": pullback(waves(leaves))[0]}


def arguments_of(case: Case) -> Arguments:
    """Return the arguments of a case, as arrays of NumPy."""
    return case.parameters(), *case.arguments()


def assert_same(results: Results, layer: nn.Layer, arguments: Arguments, dtype: str) -> None:
    """Compare results with the reference; derivatives by all arrays are one vector, as some are small differences."""
    expected = reference(layer, arguments)
    assert_parity(*({name: _flat(x[name]) for name in results} for x in (results, expected)), dtype)


def _flat(arrays: Any) -> np.ndarray:
    return np.concatenate([to_numpy(x).ravel() for x in (arrays if isinstance(arrays, list) else [arrays])])


def waves(arrays: Sequence[Any]) -> list[Any]:
    """Return weights for numbers of arrays; sums of many smooth functions with weights of mean zero would cancel."""
    return [np.asarray(1.0 + np.cos(np.arange(x.size, dtype="float64")).reshape(x.shape), x.dtype) for x in arrays]


def dot(left: Sequence[Any], right: Sequence[Any]) -> Any:
    """Return the sum of products of two lists of arrays."""
    return sum(jnp.sum(x * y) for x, y in zip(left, right, strict=True))


def reference(layer: nn.Layer, arguments: Arguments) -> Results:
    """Return what every mode is to give, in double precision: by PyTorch, without kernels, which compiles nothing."""
    leaves: list[torch.Tensor] = []

    def tensor(x: np.ndarray) -> torch.Tensor:
        if is_float(x):
            leaves.append(torch.from_numpy(np.asarray(x, "float64")).requires_grad_())
            return leaves[-1]
        return torch.from_numpy(x)

    # JAX sorts the keys of dictionaries.
    params, inputs, options = jax.tree.map(tensor, arguments)
    with kernels.enabled(False):
        value = layer(params, *inputs, **options)
        first = _derivatives(_dot([value], _waves([value])), leaves)
        along = _dot(first, _waves(leaves))
        return {"value": value, "first": first, "directional": along, "second": _derivatives(along, leaves)}


def _derivatives(value: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    if not value.requires_grad:  # a constant
        return [torch.zeros_like(x) for x in leaves]
    return list(torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True, materialize_grads=True))


def _waves(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.from_numpy(x) for x in waves([x.detach().numpy() for x in tensors])]


def _dot(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> torch.Tensor:
    return sum((x * y).sum() for x, y in zip(left, right, strict=True))


# -- modes --------------------------------------------------------------------------------------------------


def compiled(run: Run) -> Results:
    return jit(run.results)(run.leaves)


def trained(run: Run) -> Results:
    return jit(run.value_and_first)(run.leaves)


def eager(run: Run) -> Results:
    return {"value": run(run.leaves)}


def forward_derivatives(run: Run) -> Results:
    @jit
    def both(leaves: list[Any]) -> Any:
        value, tangent = jax.jvp(run, (leaves,), (waves(leaves),))
        first, second = jax.jvp(run.first, (leaves,), (waves(leaves),))
        along = jnp.sum(tangent * waves([tangent])[0])
        return {"value": value, "directional": along, "first": first, "second": second}

    return both(run.leaves)


def _batch(run: Run) -> list[Any]:
    return [jnp.stack([2 * x, x]) for x in run.leaves]


def maps_over_batches(run: Run) -> Results:
    """Over batches of all arrays, and of one: others are the same for all."""
    others = run.leaves[:-1]

    @jit
    def both(batch: list[Any]) -> Any:
        value, first = jax.vmap(lambda leaves: (run(leaves), run.first(leaves)))(batch)
        return {"value": value, "first": first}, jax.vmap(lambda x: run([*others, x]))(batch[-1])

    results, of_one = jax.tree.map(lambda x: x[1], both(_batch(run)))
    np.testing.assert_allclose(of_one, results["value"], rtol=1e-4, atol=1e-4)
    return results


def scans_with_checkpoints(run: Run) -> Results:
    inner = Run(jax.checkpoint(run.apply), run.arguments, run.layer)
    last = jit(lambda batch: jax.lax.scan(lambda carry, leaves: (carry, inner.value_and_first(leaves)), 0, batch)[1])
    return jax.tree.map(lambda x: x[1], last(_batch(run)))


def exports(run: Run) -> Results:
    exported = jax.export.export(jax.jit(run))(run.leaves)
    called = jax.export.deserialize(exported.serialize(vjp_order=1)).call

    @jit
    def both(leaves: list[Any]) -> Any:
        value, pullback = jax.vjp(called, leaves)
        return {"value": value, "first": pullback(jnp.asarray(waves([value])[0]))[0]}

    return both(run.leaves)


def donates(run: Run) -> Results:
    return jit(run.value_and_first, donate_argnums=0)([jnp.array(x) for x in run.leaves])


def linen_modules(run: Run) -> Results:
    module = e3any_flax.to_linen(run.layer)
    _, inputs, options = run.arguments
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs, **options)

    def apply(tree: dict, *inputs: Any, **options: Any) -> Any:
        return module.apply({name: _taken(tree, shape) for name, shape in shapes.items()}, *inputs, **options)

    return trained(Run(apply, run.arguments, run.layer))


def _taken(tree: dict, like: Any) -> Any:
    return {name: _taken(tree[name], x) for name, x in like.items()} if isinstance(like, Mapping) else tree


def nnx_modules(run: Run) -> Results:
    _, inputs, options = run.arguments
    module = to_nnx(run.layer, *inputs, rngs=nnx.Rngs(0), **options)
    graph, state = nnx.split(module)

    def apply(tree: dict, *inputs: Any, **options: Any) -> Any:
        new = [(path, x.replace(functools.reduce(dict.get, path, tree))) for path, x in nnx.to_flat_state(state)]
        return nnx.merge(graph, nnx.from_flat_state(new))(*inputs, **options)

    return trained(Run(apply, run.arguments, run.layer))


@contextmanager
def refused_promotion(x64: bool) -> Iterator[None]:
    """Refuse what JAX can be told to refuse, in single precision or in double."""
    with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def sharded(run: Run) -> Results:
    """On all devices: arrays are split along their first axis where they can be."""
    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.asarray(devices), ("rows",))

    def placed(x: Any, axes: tuple[str, ...]) -> Any:
        return jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)))

    params, *inputs = run.arguments
    placed_inputs = tree_map(lambda x: placed(x, ("rows",) if x.shape[0] % len(devices) == 0 else ()), tuple(inputs))
    return trained(Run(run.apply, (tree_map(lambda x: placed(x, ()), params), *placed_inputs), run.layer))


@dataclass(frozen=True)
class Mode:
    """A mode, and settings of JAX that hold meanwhile, for a dtype."""

    run: Callable[[Run], Results]
    context: Callable[[str], Any] = lambda dtype: nullcontext()


def _finite(dtype: str) -> Any:
    return jax.debug_nans(True)


MODES = {
    "jit": Mode(compiled),
    "eager, debug_nans": Mode(eager, _finite),
    "jvp": Mode(forward_derivatives),
    "vmap": Mode(maps_over_batches),
    "scan, remat": Mode(scans_with_checkpoints),
    "export": Mode(exports),
    "donation, debug_nans": Mode(donates, _finite),
    "strict": Mode(trained, lambda dtype: refused_promotion(dtype == "float64")),
    "linen": Mode(linen_modules),
    "nnx": Mode(nnx_modules),
}
