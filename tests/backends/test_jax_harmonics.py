"""The primitive of harmonics in JAX, compared with derivatives of their reference."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import kernels
from e3any_backends.jax.arrays import ARRAYS
from e3any_backends.references.harmonics import harmonics_by_recursion

from e3any.so3 import solid_harmonics, spherical_harmonics
from e3any.testing import assert_parity

FUNCTIONS = {"spherical": spherical_harmonics, "solid": solid_harmonics}


@pytest.fixture(params=FUNCTIONS)
def function(request):
    """Return harmonics up to degree 2."""
    return partial(FUNCTIONS[request.param], max_degree=2, cartesian_order=True)


@pytest.fixture
def points(rng):
    """Return more vectors than a register holds; one is zero, one on an axis."""
    r = rng.normal(size=(21, 3))
    r[:2] = [[0, 0, 0], [0, 0, 2]]
    return jnp.asarray(r)


def checked(function, *arrays):
    """Compare what a function gives with kernels, which it must call, by the primitive alone, and without it."""
    text = jax.jit(lambda *a: function(*a)).lower(*arrays).as_text()
    assert "custom_call @e3any_harmonics" in text
    ours = jax.jit(lambda *a: function(*a))(*arrays)
    with kernels.enabled(False):
        primitive = jax.jit(lambda *a: function(*a))(*arrays)
    reference = _without_primitive(function, *arrays)
    assert_parity(ours, reference)
    assert_parity(primitive, reference)


def _without_primitive(function, *arrays):
    """Return what a function gives where derivatives are those of the reference, operation by operation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("e3any_backends.jax.backend.harmonics", partial(harmonics_by_recursion, ARRAYS))
        return jax.jit(lambda *a: function(*a))(*arrays)


def weighted(function, r, w):
    return jnp.sum(w * jnp.sin(function(r)))


def test_values_and_derivatives_of_three_orders_are_those_of_the_reference(rng, function, points):
    w, c = jnp.asarray(rng.normal(size=(21, 9))), jnp.asarray(rng.normal(size=(21, 3)))

    def derivatives(r, w):
        first = jax.grad(partial(weighted, function), (0, 1))
        second = jax.grad(lambda r, w: jnp.sum(c * jnp.cos(first(r, w)[0])), (0, 1))
        third = jax.grad(lambda r, w: jnp.sum(c * second(r, w)[0]), (0, 1))
        return function(r), first(r, w), second(r, w), third(r, w)

    checked(derivatives, points, w)


def test_forward_mode_in_any_order_with_reverse_mode(rng, function, points):
    c, d = jnp.asarray(rng.normal(size=(2, 21, 3)))

    def along(f):
        return lambda r: jax.jvp(f, (r,), (c,))[1]

    def derivatives(r):
        gradient = jax.grad(lambda r: jnp.sum(jnp.sin(along(function)(r))))
        return along(along(function))(r), gradient(r), jax.jvp(gradient, (r,), (d,))[1]

    checked(derivatives, points)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 5, 3), (2, 0, 3)])
def test_any_shape_is_supported(rng, function, shape):
    r = jnp.asarray(rng.normal(size=shape))

    def both(r):
        return function(r), jax.grad(lambda r: jnp.sum(jnp.sin(function(r))))(r)

    assert_parity(jax.jit(both)(r), _without_primitive(both, r))


def test_batches_are_stacks_of_calls(rng, function, points):
    w = jnp.asarray(rng.normal(size=(4, 21, 9)))
    gradient = jax.grad(partial(weighted, function))
    ours = jax.jit(jax.vmap(gradient, (None, 0)))(points, w)
    assert_parity(ours, jnp.stack([gradient(points, some) for some in w]))
    each = jax.jit(jax.vmap(jax.jacfwd(function)))(points)
    assert_parity(each, jnp.stack([jax.jacrev(function)(r) for r in points]))


def test_equal_calls_compile_once(function, points):
    programs = [jax.make_jaxpr(lambda r: function(r))(points).eqns[0].params["program"] for _ in range(2)]
    assert programs[0] == programs[1]
    assert hash(programs[0]) == hash(programs[1])


def test_programs_for_any_number_of_vectors_are_exported(function, points):
    shape = jax.export.symbolic_shape("n, 3")
    gradient = jax.grad(lambda r: jnp.sum(function(r) ** 3))
    exported = jax.export.export(jax.jit(gradient))(jax.ShapeDtypeStruct(shape, points.dtype))
    assert "custom_call @e3any" not in exported.mlir_module()
    assert_parity(exported.call(points), gradient(points))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes_are_kept(function, points, dtype):
    value = function(points.astype(dtype))
    assert value.dtype == dtype
    exact = np.asarray(function(points.astype(dtype).astype("float64")))
    np.testing.assert_allclose(
        np.asarray(value, "float64"), exact, rtol=1e-2, atol=2e-2 if dtype == "bfloat16" else 1e-5
    )
