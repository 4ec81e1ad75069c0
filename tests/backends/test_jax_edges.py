"""The primitive that sums products over edges in JAX, compared with the reference."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import backend_of, kernels
from e3any_backends.generic import Backend
from e3any_backends.jax import edges as jax_edges

from e3any.testing import assert_parity

NODES, RECEIVERS, EDGES = 5, 4, 41


@pytest.fixture(autouse=True, params=["loop", "kernel"])
def _form(request, monkeypatch):
    """Take the kernel, or a loop of several steps."""
    monkeypatch.setattr(jax_edges, "_BLOCK_BYTES", 4 * 4 * 3 * 2 * 2)
    jax.clear_caches()
    with kernels.enabled(request.param == "kernel"):
        yield


def numbers(rng, *shape):
    return jnp.asarray(rng.normal(size=shape))


@pytest.fixture
def factors(rng):
    return numbers(rng, NODES, 3, 2), numbers(rng, EDGES, 4), numbers(rng, EDGES, 2, 2)


@pytest.fixture
def lists(rng):
    """Return a list with padding of every kind, numbers that are too small and too large."""
    return jnp.asarray(rng.integers(-1, NODES + 1, EDGES)), jnp.asarray(rng.integers(-1, RECEIVERS + 1, EDGES))


def native(*arrays, indices_are_sorted=False):
    return backend_of(arrays[0]).edge_products(*arrays, RECEIVERS, indices_are_sorted)


def reference(*arrays):
    return Backend.edge_products(backend_of(arrays[0]), *arrays, RECEIVERS)


@pytest.mark.parametrize("by_kernel", [True, False])
def test_programs_call_the_kernel_where_it_is_switched_on(factors, lists, by_kernel):
    with kernels.enabled(by_kernel):
        text = jax.jit(lambda *a: jax.vjp(lambda *b: native(*b, *lists), *a)[0]).lower(*factors).as_text()
    assert ("custom_call @e3any" in text) == by_kernel


@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_values_and_gradients_are_those_of_the_reference(rng, factors, lists, monkeypatch, block_bytes):
    monkeypatch.setattr(jax_edges, "_BLOCK_BYTES", block_bytes)
    cotangent = numbers(rng, RECEIVERS, 4, 3, 2)

    def value_and_gradients(function):
        value, vjp = jax.vjp(lambda *a: function(*a, *lists), *factors)
        return value, *vjp(cotangent)

    assert_parity(
        jax.jit(value_and_gradients, static_argnums=0)(native),
        jax.jit(value_and_gradients, static_argnums=0)(reference),
    )


def test_sorted_lists_have_the_same_numbers(factors, lists):
    src, dst = lists
    dst = jnp.sort(dst)
    assert_parity(native(*factors, src, dst, indices_are_sorted=True), reference(*factors, src, dst))


def test_forward_mode_is_that_of_the_reference(rng, factors, lists):
    tangents = tuple(numbers(rng, *a.shape) for a in factors)

    def along(function):
        return jax.jit(lambda a, t: jax.jvp(lambda *a: function(*a, *lists), a, t))(factors, tangents)

    assert_parity(along(native), along(reference))


def test_second_derivatives_are_those_of_the_reference(factors, lists):
    def squared_gradients(function, *a):
        gradients = jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a, *lists))), (0, 1, 2))(*a)
        return sum(jnp.sum(g**2) for g in gradients)

    ours, theirs = (
        jax.jit(jax.grad(squared_gradients, (1, 2, 3)), static_argnums=0)(f, *factors) for f in (native, reference)
    )
    assert_parity(ours, theirs)


@pytest.mark.parametrize("axes", [(0, None, None, None, None), (None, 0, 1, None, 0), (0, 0, 0, 0, 0)])
def test_batches_are_stacks_of_calls(rng, factors, lists, axes):
    arrays = [
        a if axis is None else jnp.stack([a, jnp.roll(a, 1, 0), a[::-1]], axis)
        for a, axis in zip((*factors, *lists), axes)
    ]
    rows = [[a if axis is None else jnp.take(a, i, axis) for a, axis in zip(arrays, axes)] for i in range(3)]
    function = jax.jit(reference)
    assert_parity(jax.jit(jax.vmap(native, axes))(*arrays), jnp.stack([function(*row) for row in rows]))


def test_batches_of_cotangents(factors, lists):
    def loss(function):
        return lambda a: jnp.sum(function(a, *factors[1:], *lists) ** 2, axis=(1, 2))

    ours, theirs = jax.jit(jax.jacrev(loss(native))), jax.jit(jax.jacrev(loss(reference)))
    assert_parity(ours(factors[0]), theirs(factors[0]))


def test_a_basis_of_padding_may_be_infinite(factors, lists):
    x, angular, radial = factors
    src, dst = lists
    outside = (src < 0) | (src >= NODES) | (dst < 0) | (dst >= RECEIVERS)
    assert outside.any()
    bad = (jnp.where(outside[:, None], jnp.nan, angular), jnp.where(outside[:, None, None], jnp.inf, radial))

    function = jax.jit(jax.value_and_grad(lambda *a: jnp.sum(native(*a, *lists) ** 2), (0, 1, 2)))
    assert_parity(function(x, *bad), function(x, angular, radial))


def test_a_node_that_is_not_a_number_spoils_its_neighbours_only(factors):
    x, angular, radial = factors
    src, dst = jnp.asarray([0, 4] + [9] * 39), jnp.asarray([0, 1] + [2] * 39)
    value = native(x.at[4].set(jnp.nan), angular, radial, src, dst)
    np.testing.assert_array_equal(jnp.isnan(value).any((1, 2, 3)), [False, True, False, False])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes_are_kept(factors, lists, dtype):
    value = native(*(a.astype(dtype) for a in factors), *lists)
    assert_parity(value.astype("float32"), reference(*factors, *lists).astype("float32"), rtol=2e-2)
    assert value.dtype == dtype


@pytest.mark.parametrize("sizes", [(0, 4, 3), (5, 0, 3), (5, 4, 0)])
def test_nothing_sums_to_zero(rng, sizes):
    nodes, receivers, edges = sizes
    arrays = numbers(rng, nodes, 1, 2), numbers(rng, edges, 1), numbers(rng, edges, 1, 2)
    lists = (jnp.zeros(edges, int),) * 2
    value = backend_of(arrays[0]).edge_products(*arrays, *lists, receivers)
    assert value.shape == (receivers, 1, 1, 2)
    assert not value.any()


def test_programs_for_any_number_of_edges_are_exported(factors, lists):
    nodes, edges = jax.export.symbolic_shape("n, e")
    specs = [((nodes, 3, 2), float), ((edges, 4), float), ((edges, 2, 2), float), ((edges,), int), ((edges,), int)]
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in specs]
    exported = jax.export.export(jax.jit(native))(*arguments)
    assert_parity(exported.call(*factors, *lists), reference(*factors, *lists))


def test_memory_does_not_grow_with_products_of_edges(rng):
    """A compiled gradient needs less than the features of all edges, which other forms store several times."""
    nodes, edges, size, features = 50, 20_000, 9, 8
    shapes = (nodes, size, features), (edges, 4), (edges, 2, features)
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    indices = [jax.ShapeDtypeStruct((edges,), np.int32)] * 2

    def loss(*a):
        return jnp.sum(backend_of(a[0]).edge_products(*a, nodes) ** 2)

    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments, *indices).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * edges * size * features
