"""Nothing of the library asks JAX for a promotion of dtypes or ranks, which programs may refuse.

Programs are traced and lowered, not compiled: that is where JAX refuses. Numbers are compared in test_jax_modes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_trees import random_parameters, tree_map
from modes.cases import KINDS, Case
from modes.jax_modes import Run, arguments_of, refused_promotion, settings
from public_calls import CALLS

from e3any import nn

precisions = pytest.mark.parametrize("x64", [True, False], ids=["x64", "x32"])

# Functions that return no arrays of JAX, and those whose shapes depend on values.
HOST = ("plot.", "strategies.", "testing.", "ops.index_kind", "Layout", "parallel.", "interop.contraction_weights")
OF_VALUES = ("ops.dense_to_sparse_indices", "ops.sparse_to_dense_indices", "ops.pad_")
TRACED = [
    name
    for name, call in CALLS.items()
    if not name.startswith(HOST + OF_VALUES) and any(hasattr(kind.right, "shape") for kind in call.kinds.values())
]


def as_jax(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return jax.random.key(0)
    return tree_map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, value)


def shapes_of(name: str, arguments: dict[str, Any]) -> Any:
    """Trace a call, and return the shapes and dtypes of its results."""
    leaves, structure = jax.tree.flatten(as_jax(arguments))
    inside = [isinstance(x, jax.Array) for x in leaves]

    def run(traced: list[jax.Array]) -> Any:
        rest = iter(traced)
        return CALLS[name].function(
            **jax.tree.unflatten(structure, [next(rest) if i else x for i, x in zip(inside, leaves)])
        )

    return jax.eval_shape(run, [x for i, x in zip(inside, leaves) if i])


def calls_of_other_ranks(name: str) -> Iterator[dict[str, Any]]:
    """Yield arguments, and such that one array has an axis less or more, or stands for a number."""
    right = {argument: kind.right for argument, kind in CALLS[name].kinds.items()}
    yield right
    for argument, value in right.items():
        if isinstance(value, np.ndarray) and value.ndim:
            yield {**right, argument: value[0]}
            yield {**right, argument: np.stack([value, value])}
        elif isinstance(value, float):
            yield {**right, argument: np.asarray(value)}


@pytest.mark.parametrize("name", TRACED)
def test_functions_take_arrays_of_different_ranks_where_promotion_is_refused(name):
    for number, arguments in enumerate(calls_of_other_ranks(name)):
        try:
            expected = shapes_of(name, arguments)
        except (TypeError, ValueError, RuntimeError):
            assert number, "the first arguments are right"
            continue  # not what the function takes
        with refused_promotion(True):
            assert shapes_of(name, arguments) == expected


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith(OF_VALUES)])
def test_functions_of_values_give_the_same_where_promotion_is_refused(name):
    call = CALLS[name]
    arguments = as_jax({argument: kind.right for argument, kind in call.kinds.items()})
    expected = call.function(**arguments)
    with refused_promotion(True):
        actual = call.function(**arguments)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@precisions
@pytest.mark.parametrize("kind", KINDS)
def test_layers_and_derivatives_are_lowered_where_promotion_is_refused(kind, x64):
    for features, use_kernels in ((2, True), (16, True), (128, False)):
        case = Case(kind, features=features, parities=2, dtype="float32")
        with refused_promotion(x64), settings(use_kernels, 1):
            run = Run.of(case.layer, arguments_of(case))
            jax.jit(run.results if x64 else run).lower(run.leaves)
            if features == 16:
                jax.eval_shape(jax.vmap(run.first), [jnp.stack([x, x]) for x in run.leaves])


@pytest.mark.parametrize("layer", [nn.SelfAttention(use_basis_bias=True), nn.MessagePass(use_basis_bias=True)])
def test_biases_of_bases_are_added_where_promotion_is_refused(layer):
    inputs, options = Case("SelfAttention, sparse").arguments()
    params = random_parameters(layer, np.random.default_rng(0), inputs, options)
    with refused_promotion(True):
        jax.eval_shape(lambda p, x, lists: layer(p, *x, **lists), *as_jax((params, inputs, options)))


@pytest.mark.parametrize("dtypes", [("int32", "int64"), ("int64", "int32"), ("int64", "int64"), ("uint8", "int16")])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_lists_of_edges_may_have_any_two_integer_dtypes(dtypes, is_sorted):
    case = Case("MessagePass, sparse", features=16, rows=7)
    inputs, lists = case.arguments()
    order = np.argsort(lists["dst_idx"], kind="stable")
    basis = type(inputs[1])(*(x[order] for x in inputs[1]))
    lists = {name: x[order] for name, x in lists.items()}
    expected = case.layer(case.parameters(), inputs[0], basis, **lists)
    arguments = tree_map(jnp.asarray, (case.parameters(), inputs[0], basis))
    cast = {name: jnp.asarray(x.astype(dtype)) for (name, x), dtype in zip(lists.items(), dtypes)}
    with refused_promotion(True):
        actual = jax.jit(lambda *a: case.layer(*a, **cast, indices_are_sorted=is_sorted))(*arguments)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
