"""Message passing in JAX as one primitive, whose form is chosen for the platform that a program is lowered for."""

from __future__ import annotations

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from e3any_backends import backend_of
from e3any_backends.jax import gpu_launches
from e3any_backends.jax.convolution import convolve

from e3any.nn.layers.couplings import coupling_plan
from e3any.testing import assert_parity

NODES, RECEIVERS, EDGES = 5, 4, 41
PLAN = coupling_plan((1, 2, 1, 2, 1, 2), False)


def operands(rng):
    shapes = [(NODES, 1, 4, 2), (EDGES, 4), (EDGES, 2, 2), (*PLAN.kernel_shape, 2)]
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def both(rng):
    """Return the primitive and the two forms that it is composed of, with all derivatives of two orders."""
    dst, src = (jnp.asarray(rng.integers(-1, n + 1, EDGES)) for n in (RECEIVERS, NODES))

    def native(*arrays):
        return convolve(*arrays, (dst, src), RECEIVERS, PLAN)

    def composed(x, angular, radial, kernel):
        backend = backend_of(x)
        sums = backend.edge_products(jnp.reshape(x, (NODES, 4, 2)), angular, radial, src, dst, RECEIVERS)
        return backend.couple_pair_features(jnp.reshape(sums, (RECEIVERS, 4, 1, 4, 2)), kernel, PLAN)

    def derivatives(function):
        def all_of_them(*arrays):
            gradients = jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), (0, 1, 2, 3))
            return function(*arrays), gradients(*arrays), jax.jvp(gradients, arrays, gradients(*arrays))[1]

        return all_of_them

    return derivatives(native), derivatives(composed)


def test_one_export_for_two_platforms_does_not_depend_on_the_process(rng):
    arrays, (native, composed) = operands(rng), both(rng)
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        exported = jax.export.export(jax.jit(native), platforms=["cpu", "cuda"])(*arrays)
    assert "triton" not in exported.mlir_module()
    assert_parity(jax.jit(exported.call)(*arrays), jax.jit(composed)(*arrays))


def test_a_program_for_a_gpu_has_the_numbers_of_the_cpu(rng):
    arrays, (native, _) = operands(rng), both(rng)
    checks = [jax.export.DisabledSafetyCheck.platform()]
    exported = jax.export.export(jax.jit(native), platforms=["cuda"], disabled_checks=checks)(*arrays)
    assert_parity(jax.jit(exported.call)(*arrays), jax.jit(native)(*arrays))


def test_rows_of_graphs_start_where_numbers_grow(rng):
    for num_edges in (1, 7, 8, 511, 512, 513):
        nodes = np.sort(rng.integers(0, 41, num_edges)).astype(np.int32)
        np.testing.assert_array_equal(
            gpu_launches._starts(jnp.asarray(nodes), 40), np.searchsorted(nodes, np.arange(42))
        )
