"""Names of libraries outside of their documented API: each exists, and does what this library takes it for."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import pytest
import torch
from e3any_backends.jax import private
from e3any_backends.torch import private as of_torch
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir
from torch._subclasses import FakeTensorMode

# -- JAX ----------------------------------------------------------------------------------------------------


@pytest.fixture
def primitive():
    """Return a primitive that doubles an array, and that has no rules but these."""
    double = Primitive("double")
    double.def_impl(lambda x: 2 * x)
    double.def_abstract_eval(lambda x: private.shaped_array(x.shape, x.dtype))
    return double


def lowering_of(primitive, x, lower):
    """Return what a primitive is told when a program with it is lowered."""
    found = []
    private.set_lowering(primitive, lambda lowering: found.append(lowering) or (lambda x: [x + x]))
    lower(jax.jit(primitive.bind), x)
    (lowering,) = found
    return lowering


def test_functions_take_the_arguments_that_are_passed_to_them():
    inspect.signature(mlir.register_lowering).bind(None, None, platform="cpu")
    inspect.signature(mlir.lower_fun).bind(None, multiple_results=True)
    inspect.signature(ad.is_undefined_primal).bind(None)


def test_a_batch_comes_with_the_axis_of_each_operand(primitive):
    seen = []

    def batch(operands, axes):
        seen.extend(axes)
        return primitive.bind(*operands), axes[0]

    private.set_batching(primitive, batch)
    result = jax.vmap(primitive.bind, in_axes=1, out_axes=1)(jnp.ones((3, 2)))
    assert seen == [1]
    assert result.tolist() == [[2.0] * 2] * 3


def test_arrays_of_abstract_evaluation_have_shapes_and_dtypes(primitive):
    result = jax.eval_shape(primitive.bind, jnp.ones((2, 3), "bfloat16"))
    assert (result.shape, result.dtype) == ((2, 3), jnp.bfloat16)


def test_tangents_that_do_not_depend_on_inputs_are_symbolic_zeros(primitive):
    seen = []

    def jvp(primals, tangents):
        seen.extend(private.is_zero(t) for t in tangents)
        value = primitive.bind(*primals)
        return value, private.zero_tangent(value)

    private.set_derivatives(primitive, jvp, None)
    one = jnp.ones(3)
    value, tangent = jax.jvp(lambda x: primitive.bind(x) + primitive.bind(one), (one,), (one,))
    assert seen == [False]
    assert (value.tolist(), tangent.tolist()) == ([4.0] * 3, [0.0] * 3)


def test_a_transpose_sees_which_operand_is_unknown(primitive):
    seen = []

    def transpose(cotangent, x):
        seen.append((private.is_unknown(x), private.is_unknown(cotangent), private.is_zero(cotangent)))
        return (private.zero(x),)

    private.set_derivatives(primitive, None, transpose)
    (result,) = jax.linear_transpose(primitive.bind, jnp.ones(3))(jnp.ones(3))
    assert seen == [(True, False, False)]
    assert result.tolist() == [0.0] * 3


def test_a_lowering_is_the_function_that_is_chosen(primitive):
    private.set_lowering(primitive, lambda _: lambda x: [x + x])
    assert jax.jit(primitive.bind)(jnp.ones(3)).tolist() == [2.0] * 3


def test_lowerings_are_told_about_one_device(primitive):
    lowering = lowering_of(primitive, jnp.ones(3), lambda f, x: f.lower(x))
    assert lowering == private.Lowering(is_exported=False, num_devices=1, has_symbolic_sizes=False)


def test_lowerings_are_told_about_exports_and_symbolic_sizes(primitive):
    x = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n"), jnp.float32)
    lowering = lowering_of(primitive, x, lambda f, x: jax.export.export(f)(x))
    assert lowering == private.Lowering(is_exported=True, num_devices=1, has_symbolic_sizes=True)


def test_lowerings_are_told_about_other_numbers_of_devices(primitive):
    mesh = jax.sharding.AbstractMesh((2,), ("a",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("a"))
    x = jax.ShapeDtypeStruct((4,), jnp.float32, sharding=sharding)
    lowering = lowering_of(primitive, x, lambda f, x: f.trace(x).lower(lowering_platforms=("cpu",)))
    assert lowering.num_devices == 2


# -- PyTorch ------------------------------------------------------------------------------------------------


def modes():
    """Return the modes that are under way."""
    found = {
        "torch.func": of_torch.is_transformed(),
        "forward": of_torch.forward_level() >= 0,
        "dispatch": of_torch.num_dispatch_modes() > 0,
        "trace": of_torch.tracing_state() is not None,
        "batch": of_torch.batches_gradients(),
    }
    return {name for name, is_active in found.items() if is_active}


class Twice(torch.autograd.Function):
    """Twice a tensor; the backward pass appends its modes to a list."""

    @staticmethod
    def forward(ctx, x, found):
        ctx.found = found
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        ctx.found.append(modes())
        return 2 * g, None


@pytest.mark.filterwarnings("ignore:`torch.jit.trace`:DeprecationWarning")
def test_modes_of_torch_are_seen_while_they_last():
    found, x = {}, torch.ones(2)

    def record(name):
        def function(x):
            found[name] = modes()
            return 2 * x

        return function

    torch.func.vmap(record("vmap"))(x)
    torch.func.grad(lambda x: record("grad")(x).sum())(x)
    with torch.autograd.forward_ad.dual_level():
        record("dual")(x)
    with FakeTensorMode():
        record("fake")(torch.ones(2))
    torch.jit.trace(record("trace"), x, check_trace=False)
    assert found == {
        "vmap": {"torch.func"},
        "grad": {"torch.func"},
        "dual": {"forward"},
        "fake": {"dispatch"},
        "trace": {"trace"},
    }
    assert modes() == set()


@pytest.mark.parametrize("is_batch", [False, True])
def test_batches_of_gradients_are_seen_in_backward_passes(is_batch):
    x, found = torch.ones(2, requires_grad=True), []
    g = torch.eye(2) if is_batch else torch.ones(2)
    torch.autograd.grad(Twice.apply(x, found), x, g, is_grads_batched=is_batch)
    assert ["batch" in modes for modes in found] == [is_batch]


def test_attributes_for_compilers_are_those_of_public_functions():
    def function():
        return 1

    torch.compiler.assume_constant_result(function)
    assert vars(function) == vars(of_torch.set_constant(lambda: 1))
    ours, theirs = torch.ones(2, 3), torch.ones(2, 3)
    of_torch.set_fixed_sizes(ours)
    torch._dynamo.mark_static(theirs)
    assert {n: vars(theirs)[n] for n in vars(ours)} == vars(ours) != {}
