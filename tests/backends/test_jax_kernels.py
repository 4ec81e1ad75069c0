"""Kernels as custom calls of XLA, compared with the definition and the references."""

from __future__ import annotations

import ctypes
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coupling_cases import by_einsum, couple, dense, operands, small
from e3any_backends import kernels
from e3any_backends.jax import custom_calls
from e3any_backends.kernels.xla import call_frame
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from layer_cases import jit

from e3any.testing import assert_parity


def calls_kernel(function, *arrays):
    return "custom_call @e3any" in jax.jit(function).lower(*arrays).as_text()


@jit
def ours(*arrays):
    """Return a product and all derivatives of the sum of its squares."""
    product, vjp = jax.vjp(couple(small()), *arrays)
    return product, *vjp(2 * product)


def defined(*arrays):
    """Return the same by the definition."""
    table = dense(small())
    lead = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    x, y, w = wide = [np.broadcast_to(np.asarray(a), (*lead, *a.shape[-2:])) for a in arrays]
    product = by_einsum(*wide, small())
    gradients = (
        np.einsum("...zf,s...yf,s...pf,pxyz->s...xf", 2 * product, y, w, table),
        np.einsum("...zf,s...xf,s...pf,pxyz->s...yf", 2 * product, x, w, table),
        np.einsum("...zf,s...xf,s...yf,pxyz->s...pf", 2 * product, x, y, table),
    )
    return product, *map(_sum_to_shape, gradients, arrays)


def _sum_to_shape(gradient, array):
    axes = tuple(i for i, n in enumerate(array.shape) if n == 1)
    return gradient.sum(axes, keepdims=True)


def cast(arrays, dtype):
    return tuple(jnp.asarray(a, dtype) for a in arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 16, 64, 100])
def test_products_and_gradients_are_those_of_the_definition(rng, dtype, features):
    arrays = cast(operands(rng, small(), outer=((2, 3), (2, 3), (2, 1)), features=(features,) * 3), dtype)
    assert calls_kernel(couple(small()), *arrays)
    assert_parity(ours(*arrays), tuple(d.astype(dtype) for d in defined(*arrays)), dtype)


@pytest.mark.parametrize("rows", [1, 2, 1025])
@pytest.mark.parametrize("features", [3, 32])
def test_any_number_of_rows_is_supported(rng, rows, features):
    arrays = cast(operands(rng, small(), outer=((1, rows), (1, rows), (1, 1)), features=(features,) * 3), "float64")
    assert calls_kernel(couple(small()), *arrays)
    assert_parity(ours(*arrays), defined(*arrays))


@pytest.mark.parametrize("features", [3, 16])
@pytest.mark.parametrize(
    "outer",
    [
        ((2, 3, 1), (1, 3, 1), (2, 1, 1)),
        ((1, 3, 1), (1, 1, 4), (1, 1, 1)),
        ((2, 5, 1), (2, 5, 4), (2, 1, 1)),
        ((1, 2, 3, 4), (1, 1, 3, 1), (1, 2, 1, 4)),
        ((3,), (1,), (3,)),
    ],
)
def test_leading_axes_broadcast(rng, outer, features):
    arrays = cast(operands(rng, small(), outer=outer, features=(features,) * 3), "float64")
    assert calls_kernel(couple(small()), *arrays)
    assert_parity(ours(*arrays), defined(*arrays))


@pytest.mark.parametrize("mapped", range(3))
def test_what_does_not_vary_is_not_repeated_for_what_does(rng, mapped):
    arrays = cast(operands(rng, small(), outer=((1, 3),) * 3, features=(5,) * 3), "float64")
    cotangent = jnp.asarray(rng.normal(size=(3, 7, 5)))
    stacked = jnp.stack([arrays[mapped], 2 * arrays[mapped], -arrays[mapped]])

    def pulled(some):
        factors = [some if i == mapped else a for i, a in enumerate(arrays)]
        return jax.vjp(couple(small()), *factors)[1](cotangent)

    assert calls_kernel(jax.vmap(pulled), stacked)
    each = [jit(pulled)(some) for some in stacked]
    assert_parity(jit(jax.vmap(pulled))(stacked), jax.tree.map(lambda *a: jnp.stack(a), *each))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_numbers_of_16_bits_are_computed_with_in_float32(rng, dtype):
    arrays = cast(operands(rng, small(), features=(5,) * 3), dtype)
    wide = couple(small())(*cast(arrays, "float32"))
    assert calls_kernel(couple(small()), *arrays)
    np.testing.assert_array_equal(couple(small())(*arrays), wide.astype(dtype))


def test_kernels_are_called_without_a_compiler_as_well(rng, monkeypatch):
    arrays = cast(operands(rng, small()), "float64")
    expected = couple(small())(*arrays)

    def fail(*_, **__):
        raise AssertionError("expected a kernel, got the reference")

    monkeypatch.setattr("e3any_backends.jax.contractions._contractions", fail)
    jax.clear_caches()
    assert_parity(couple(small())(*arrays), expected)
    with jax.disable_jit():
        assert_parity(couple(small())(*arrays), expected)


def test_loops_and_rematerialisation_may_be_around_kernels(rng):
    x, y, w = cast(operands(rng, small(), outer=((4, 1, 3), (4, 1, 3), (1, 1)), features=(5,) * 3), "float64")

    @jax.checkpoint
    def step(total, factors):
        return total + jnp.tanh(couple(small())(*factors, w)), None

    def total(x, y):
        return jnp.sum(jax.lax.scan(step, jnp.zeros((3, 7, 5)), (x, y))[0])

    def reference(x, y):
        return sum(jnp.sum(jnp.tanh(by_einsum(a, b, w, small(), jnp))) for a, b in zip(x, y))

    assert calls_kernel(total, x, y)
    w = jnp.broadcast_to(w, (1, 3, *w.shape[2:]))
    assert_parity(jit(jax.grad(total, (0, 1)))(x, y), jit(jax.grad(reference, (0, 1)))(x, y))


def test_switch_holds_for_what_is_compiled_in_its_block(rng, caplog):
    arrays = cast(operands(rng, small()), "float64")
    with kernels.enabled(False), caplog.at_level(logging.DEBUG, logger="e3any"):
        assert not calls_kernel(lambda *a: couple(small())(*a), *arrays)
        reference = couple(small())(*arrays)
    assert "no kernel for contraction: kernels are switched off or do not work here" in caplog.messages
    assert calls_kernel(lambda *a: couple(small())(*a), *arrays)
    assert_parity(couple(small())(*arrays), reference)


def test_exported_programs_do_without(rng, caplog):
    arrays = cast(operands(rng, small()), "float64")
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        exported = export.export(jax.jit(couple(small())))(*arrays)
    assert "custom_call @e3any" not in exported.mlir_module()
    assert "no kernel for contraction: exported programs run without e3any" in caplog.messages
    assert_parity(exported.call(*arrays), couple(small())(*arrays))


def test_programs_for_several_devices_do_without(rng, caplog):
    arrays = cast(operands(rng, small()), "float64")
    mesh = jax.sharding.AbstractMesh((2,), ("rows",))
    shapes = [
        jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, PartitionSpec("rows"))) for a in arrays
    ]
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        lowered = jax.jit(lambda *a: couple(small())(*a)).trace(*shapes).lower(lowering_platforms=("cpu",))
    assert "custom_call @e3any" not in lowered.as_text()
    assert "no kernel for contraction: the program is for several devices" in caplog.messages


def test_one_device_may_be_named(rng):
    arrays = cast(operands(rng, small()), "float64")
    sharding = NamedSharding(Mesh(np.asarray(jax.devices("cpu")[:1]), ("rows",)), PartitionSpec())
    assert calls_kernel(lambda *a: couple(small())(*a), *jax.device_put(arrays, sharding))


@pytest.mark.parametrize("features", [(2, 1, 2), (0, 0, 0)])
def test_logs_say_which_shapes_are_not_supported(rng, caplog, features):
    arrays = cast(operands(rng, small(), features=features), "float64")
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        assert not calls_kernel(lambda *a: couple(small())(*a), *arrays)
    assert f"no kernel for contraction: operands of shape {arrays[0].shape}, " in caplog.text


def test_another_version_of_the_interface_is_refused(caplog, monkeypatch):
    handler = _old_handler()  # XLA only has its address
    monkeypatch.setattr(custom_calls, "_handler", lambda *_: handler)
    with caplog.at_level(logging.DEBUG, logger="e3any"):
        assert custom_calls.call("old", "float32", [(1,)], np.zeros(1, np.float32), work=0) is None
    assert "no kernel for old: jaxlib refuses the kernel: INVALID_ARGUMENT" in caplog.text


def _old_handler():
    """Return a handler for version 0.0 of the interface."""

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(call_frame.CallFrame))
    def handle(frame):
        extension = call_frame.MetadataExtension.from_address(frame.contents.extension_start)
        assert extension.extension_base.type == call_frame.EXTENSION_METADATA
        call_frame.Metadata.from_address(extension.metadata).api_version.minor_version = 0

    return handle


def test_threads_may_share_a_kernel(rng):
    arrays = cast(operands(rng, small(), outer=((1, 100), (1, 100), (1, 1)), features=(8,) * 3), "float64")
    many = jit(lambda *a: [couple(small())(i * a[0], *a[1:]) for i in range(1, 9)])
    assert_parity(many(*arrays), [i * defined(*arrays)[0] for i in range(1, 9)])


@pytest.mark.parametrize("rows", [1, 40_000])
def test_arrays_of_any_size_may_lie_on_large_pages(rng, rows):
    arrays = cast(operands(rng, small(), outer=((1, rows), (1, rows), (1, 1)), features=(16,) * 3), "float32")
    product = jit(couple(small()))(*arrays)
    first = couple(small())(*(a[:, :1] for a in arrays))
    assert_parity(product[:1], first)
    with kernels.enabled(False):
        assert_parity(product, jit(lambda *a: couple(small())(*a))(*arrays), "float32")
