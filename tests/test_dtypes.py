"""Dtypes in and out of every layer on every library, and the precision of products and sums."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from e3any_backends import backend_of, kernels
from jax.extend.core import jaxprs_in_params
from layer_cases import random_parameters, tree_map
from torch_cases import CASES, every_layer

from e3any import ops, so3
from e3any.testing import TOLERANCES, assert_parity

PRECISIONS = {"bfloat16": jax.lax.Precision.DEFAULT, "float32": jax.lax.Precision.HIGHEST}
SHORT = ("bfloat16", "float16")


def arrays_of(case: Any, make: Callable[[np.ndarray], Any]) -> tuple[dict, tuple, dict]:
    """Return parameters, inputs and options of a case, as arrays that a function makes from NumPy's."""
    inputs, options = tree_map(lambda x: x.numpy(), case.arguments())
    single = tree_map(lambda x: x.astype("float32") if x.dtype.kind == "f" else x, inputs)
    params = random_parameters(case.layer, np.random.default_rng(0), single, options)
    return tree_map(make, (params, inputs, options))


def floats(dtype: Any) -> Callable[[np.ndarray], Any]:
    """Return a function that makes arrays of JAX, floating-point ones of a dtype."""
    return lambda x: jnp.asarray(x, dtype if x.dtype.kind == "f" else "int32")


def floats_of_torch(dtype: torch.dtype) -> Callable[[np.ndarray], torch.Tensor]:
    return lambda x: torch.from_numpy(np.array(x)).to(dtype if x.dtype.kind == "f" else torch.int64)


def call(case: Any, params: dict, inputs: tuple, options: dict) -> Any:
    return case.layer(params, *inputs, **options)


def every_equation(jaxpr: Any) -> Iterator[Any]:
    """Yield the equations of a program and of the programs in it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from every_equation(inner)


@every_layer
@pytest.mark.parametrize("dtype", ["float64", "float32", *SHORT])
@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])
def test_torch_keeps_dtypes_within_their_tolerance(case, dtype, kernel):
    expected = call(case, *arrays_of(case, lambda x: x))
    with kernels.enabled(kernel):
        actual = call(case, *arrays_of(case, floats_of_torch(getattr(torch, dtype))))
    assert_parity(actual, expected, dtype)


@every_layer
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_numpy_keeps_dtypes_within_their_tolerance(case, dtype):
    expected = call(case, *arrays_of(case, lambda x: x))
    actual = call(case, *arrays_of(case, lambda x: x.astype(dtype) if x.dtype.kind == "f" else x))
    assert_parity(actual, expected, dtype)


@every_layer
@pytest.mark.parametrize("x64", [True, False])
def test_jax_keeps_dtypes_with_and_without_double_precision(case, x64):
    with jax.enable_x64(x64):
        for dtype in ("float32", *SHORT, *["float64"] * x64):
            arguments = arrays_of(case, floats(dtype))
            assert jax.eval_shape(lambda *a: call(case, *a), *arguments).dtype == dtype


def test_a_model_of_float32_has_the_same_numbers_with_and_without_double_precision():
    case = CASES["composed"]
    results = []
    for x64 in (True, False):
        with jax.enable_x64(x64), warnings.catch_warnings():
            warnings.simplefilter("error")
            arguments = arrays_of(case, floats("float32"))
            results.append(jax.jit(lambda *a: call(case, *a))(*arguments))
    assert_parity(*results, "float32", rtol=1e-6)


@every_layer
def test_jax_multiplies_matrices_without_rounding_factors(case):
    program = jax.make_jaxpr(lambda *a: call(case, *a))(*arrays_of(case, floats("float32")))
    products = [e for e in every_equation(program.jaxpr) if e.primitive.name == "dot_general"]
    precisions = {e.params["precision"] for e in products}
    if case is CASES["composed"]:
        precisions -= {None}  # its last product is not one of a layer
    assert precisions <= {(jax.lax.Precision.HIGHEST,) * 2}


def test_the_default_precision_of_jax_is_used_where_it_is_set():
    x = jnp.ones((2, 2), jnp.float32)
    backend = backend_of(x)
    for name, precision in PRECISIONS.items():
        with jax.default_matmul_precision(name):
            program = jax.make_jaxpr(lambda x: backend.matmul(x, x))(x)
            explicit = jax.make_jaxpr(lambda x: backend.matmul(x, x, precision="highest"))(x)
        (product,), (highest,) = (list(every_equation(p.jaxpr))[-1:] for p in (program, explicit))
        assert product.params["precision"] == (precision,) * 2
        assert highest.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2


def test_settings_of_torch_are_left_alone():
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])
def test_autocast_does_not_round_what_depends_on_directions(rng, kernel):
    case = CASES["Tensor"]
    params, inputs, options = arrays_of(case, floats_of_torch(torch.float32))
    rot = so3.random_rotation(rng)
    with kernels.enabled(kernel), torch.autocast("cpu", torch.bfloat16):
        coupled = call(case, params, inputs, options)
        matrix = so3.wigner_d(torch.from_numpy(rot).float(), 4)
    assert_parity(coupled, call(case, *arrays_of(case, lambda x: x)), "float32")
    assert_parity(matrix, so3.wigner_d(rot, 4), "float32")


def test_autocast_can_be_compiled(rng):
    rot = torch.from_numpy(so3.random_rotation(rng)).float()
    expected = so3.wigner_d(rot, 2)
    torch._dynamo.reset()
    with torch.autocast("cpu", torch.bfloat16):
        actual = torch.compile(lambda rot: so3.wigner_d(rot, 2), fullgraph=True, backend="eager")(rot)
    assert_parity(actual, expected, "float32")


@pytest.mark.parametrize("dtype", SHORT)
def test_sums_over_many_neighbours_are_taken_in_single_precision(rng, dtype):
    num = 1000
    x, dst = rng.normal(size=(4 * num, 3)) + 1, np.tile(np.arange(4), num)
    tolerance = TOLERANCES[dtype] / 10
    of_torch, of_jax = torch.from_numpy(x).to(getattr(torch, dtype)), jnp.asarray(x, dtype)
    expected = np.asarray(of_jax.astype("float64")).reshape(num, 4, 3).sum(axis=0)
    actual = ops.indexed_sum(of_torch, dst_idx=torch.from_numpy(dst), num_segments=4)
    assert_parity(actual, expected, dtype, rtol=tolerance)

    def total(x: jax.Array) -> jax.Array:
        return ops.indexed_sum(x, dst_idx=jnp.asarray(dst), num_segments=4)

    def gathered(nodes: jax.Array) -> jax.Array:
        return jnp.sum(of_jax * ops.gather_src(nodes, src_idx=jnp.asarray(dst)), dtype="float32")

    actual, slope = jax.jit(lambda x, nodes: (total(x), jax.grad(gathered)(nodes)))(of_jax, jnp.zeros((4, 3), dtype))
    assert_parity(actual, expected, dtype, rtol=tolerance)
    assert_parity(slope, expected, dtype, rtol=tolerance)
    if dtype == "float16":
        actual = ops.indexed_sum(x.astype(dtype), dst_idx=dst, num_segments=4)
        assert_parity(actual, expected, dtype, rtol=tolerance)
