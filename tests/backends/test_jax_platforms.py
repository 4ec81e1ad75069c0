"""Forms that programs take for GPUs and TPUs: lowered for them on a CPU, counted, and run on the CPU.

What is lowered for a GPU contains no instruction that only a GPU has. So a program for a GPU runs on a CPU once the
check of its platform is switched off.
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import backend_of
from e3any_backends.generic import Backend
from e3any_backends.jax import contractions, edges

from e3any.nn.layers.couplings import coupling_plan
from e3any.testing import assert_parity

DEVICES = pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
NODES, RECEIVERS, EDGES = 5, 4, 41


def exported(platforms, function, *arguments):
    checks = [jax.export.DisabledSafetyCheck.platform()]
    return jax.export.export(jax.jit(function), platforms=platforms, disabled_checks=checks)(*arguments)


def run_as(platform, function, *arguments):
    """Lower a function for a platform, and run that program on the CPU."""
    return jax.jit(exported([platform], function, *arguments).call)(*arguments)


def count(program, name=r"\w+"):
    return len(re.findall(rf'= "?(?:stablehlo|chlo)\.{name}\b', program.mlir_module()))


def derivatives(function):
    """Return a function with its gradients, and products of second derivatives with these."""

    def scalar(*arrays):
        return jnp.sum(jnp.sin(function(*arrays)))

    def all_of_them(*arrays):
        numbers = tuple(range(len(arrays)))
        gradient = jax.grad(scalar, numbers)
        return function(*arrays), *gradient(*arrays), *jax.jvp(gradient, arrays, gradient(*arrays))[1]

    return all_of_them


def coupling(rng, shape):
    p1, n1, p2, n2, _, _ = shape
    plan = coupling_plan(shape, False)
    arrays = [rng.normal(size=s) for s in ((3, p1, n1**2, 2), (3, p2, n2**2, 2), (*shape, 2))]
    return plan, [jnp.asarray(a) for a in arrays]


def entry_by_entry(plan):
    return lambda *a: Backend.couple_features(Backend(jnp), *a, plan)


@pytest.mark.parametrize(
    ("platform", "shape"),
    [
        ("cuda", (2, 2, 2, 2, 2, 2)),
        ("tpu", (1, 2, 2, 2, 1, 2)),
        ("cpu", (2, 2, 1, 1, 2, 2)),
        ("cuda", (2, 1, 2, 2, 1, 2)),
    ],
)
def test_couplings_of_all_parities_have_the_numbers_of_the_reference(rng, platform, shape):
    plan, arrays = coupling(rng, shape)
    function = derivatives(lambda x, y, w: backend_of(x).couple_features(x, y, w, plan))
    assert_parity(run_as(platform, function, *arrays), jax.jit(derivatives(entry_by_entry(plan)))(*arrays))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_long_couplings_are_products_of_matrices(rng, platform, monkeypatch):
    for name in ("_MAX_UNROLLED", "_MAX_UNROLLED_ON_GPU"):
        monkeypatch.setattr(contractions, name, 0)
    plan, arrays = coupling(rng, (2, 1, 2, 2, 2, 2))

    def both_forms(x, y, w):
        backend = backend_of(x)
        pairs = x[:, 0, :, None, None] * y[:, None]  # (n, (L1+1)**2, P2, (L2+1)**2, F)
        halves = coupling_plan((1, 1, 2, 2, 2, 2), False)
        return backend.couple_features(x, y, w, plan), backend.couple_pair_features(pairs, w[:1], halves)

    def total(function):
        return derivatives(lambda *a: sum(function(*a)))

    program = exported([platform], total(both_forms), *arrays)
    assert not count(program, "while")
    assert count(program, "dot_general")
    monkeypatch.undo()
    assert_parity(jax.jit(program.call)(*arrays), jax.jit(total(both_forms))(*arrays))


def test_a_program_for_a_gpu_does_not_depend_on_the_process(rng):
    plan, arrays = coupling(rng, (2, 3, 2, 3, 2, 3))

    def loss(*arrays):
        return jnp.sum(backend_of(arrays[0]).couple_features(*arrays, plan) ** 2)

    program = exported(["cuda"], jax.value_and_grad(loss, (0, 1, 2)), *arrays)
    assert not count(program, "custom_call")
    assert count(program) < 3500  # the table of all parities is unrolled to more than 8,000


@pytest.fixture
def graph(rng):
    lists = rng.integers(-1, NODES + 1, EDGES), np.sort(rng.integers(0, RECEIVERS + 1, EDGES))
    factors = [rng.normal(size=s) for s in ((NODES, 3, 2), (EDGES, 4), (EDGES, 2, 2))]
    return [jnp.asarray(a) for a in factors], [jnp.asarray(a) for a in lists]


@pytest.mark.parametrize("block_bytes", [2**32, 4 * 4 * 3 * 2 * 2])
def test_sums_over_edges_for_a_gpu_have_the_numbers_of_the_reference(graph, monkeypatch, block_bytes):
    monkeypatch.setattr(edges, "_BLOCK_BYTES_ON_GPU", block_bytes)
    factors, lists = graph

    def of(sums):
        return derivatives(lambda *a: sums(*a, *lists, RECEIVERS))

    backend = backend_of(factors[0])
    program = exported(["cuda"], of(lambda *a: backend.edge_products(*a, indices_are_sorted=True)), *factors)
    assert bool(count(program, "while")) == (block_bytes < 2**32)
    expected = jax.jit(of(lambda *a: Backend.edge_products(backend, *a)))(*factors)
    assert_parity(jax.jit(program.call)(*factors), expected)


def test_a_batch_of_graphs_for_a_gpu_is_a_stack_of_calls(graph):
    (x, *basis), (src, dst) = graph
    stacked, receivers = jnp.stack([x, -x]), jnp.stack([dst, jnp.roll(dst, 7)])

    def sums(x, dst):
        return backend_of(x).edge_products(x, *basis, src, dst, RECEIVERS)

    actual = run_as("cuda", jax.vmap(sums), stacked, receivers)
    assert_parity(actual, jnp.stack([sums(a, d) for a, d in zip(stacked, receivers)]))


@DEVICES
def test_blocks_of_edges_are_those_of_the_platform(platform):
    """A GPU takes all edges at once, a TPU blocks."""
    shapes = (100, 9, 64), (5000, 9), (5000, 3, 64)
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    indices = [jax.ShapeDtypeStruct((5000,), np.int32)] * 2
    program = exported([platform], lambda *a: backend_of(a[0]).edge_products(*a, 100, True), *arguments, *indices)
    assert bool(count(program, "while")) == (platform == "tpu")


def test_one_export_serves_several_platforms(graph):
    factors, lists = graph

    def sums(*a):
        return backend_of(a[0]).edge_products(*a, *lists, RECEIVERS)

    program = exported(["cpu", "cuda"], sums, *factors)
    assert_parity(jax.jit(program.call)(*factors), sums(*factors))
