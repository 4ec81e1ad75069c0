"""Message passing in JAX as one primitive: its derivatives, and the kernels of programs that are lowered for GPUs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import backend_of
from e3any_backends.jax import gpu_launches
from e3any_backends.jax.contractions import contract
from e3any_backends.jax.convolution import convolve
from e3any_backends.jax.multilinear import Program

from e3any.nn.layers.couplings import coupling_plan

NODES, EDGES, FEATURES = 5, 20, 3
PLAN = coupling_plan((1, 2, 1, 2, 1, 2), False)


def operands():
    rng = np.random.default_rng(0)
    shapes = [(NODES, 1, 4, FEATURES), (EDGES, 4), (EDGES, 2, FEATURES), (*PLAN.kernel_shape, FEATURES)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def indices():
    rng = np.random.default_rng(1)
    return tuple(jnp.asarray(rng.integers(-1, NODES + 1, EDGES)) for _ in range(2))


def native(*arrays):
    return convolve(*arrays, indices(), NODES, PLAN)


def specified(x, angular, radial, kernel):
    backend, (dst, src) = backend_of(x), indices()
    sums = backend.edge_products(x[:, 0], angular, radial, src, dst, NODES)
    return backend.couple_pair_features(sums[:, :, None], kernel, PLAN)


def derivatives(function):
    """Return a function with the gradients, and the gradients of squares of gradients, of a layer."""

    def gradients(*arrays):
        return jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), (0, 1, 2, 3))(*arrays)

    def both(*arrays):
        squares = lambda *a: sum(jnp.sum(g**2) for g in gradients(*a))
        return *gradients(*arrays), *jax.grad(squares, (0, 1, 2, 3))(*arrays)

    return both


def assert_close(found, wanted):
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * float(jnp.abs(b).max()))


def test_derivatives_are_those_of_the_specification():
    assert_close(jax.jit(derivatives(native))(*operands()), jax.jit(derivatives(specified))(*operands()))


def test_batches_are_those_of_the_specification():
    x, *rest = operands()
    both = [jax.jit(jax.vmap(lambda x, f=f: f(x, *rest)))(jnp.stack([x, 2 * x])) for f in (native, specified)]
    assert_close(*both)


def interpreted(launch):
    """Run a kernel in Triton's interpreter, on copies of its arrays."""
    torch = pytest.importorskip("torch")
    inputs = [torch.tensor(np.asarray(a)) if hasattr(a, "shape") else a for a in launch.inputs]
    results = [torch.empty(shape, dtype=getattr(torch, launch.dtype)) for shape in launch.outputs]
    if launch.is_update:
        results = inputs[-1:]
    launch.kernel.function[launch.grid](*inputs, *results)
    return [jnp.asarray(r.numpy()) for r in results]


def test_launches_have_the_numbers_of_the_reference(monkeypatch):
    monkeypatch.setattr(gpu_launches, "_run", interpreted)
    form, rng = PLAN.product_form, np.random.default_rng(0)
    shapes = [(1, NODES, 4, FEATURES), (1, 1, 4, FEATURES), (1, 1, form.sizes[3], FEATURES), (1, NODES, 4, FEATURES)]
    x, y, w, z = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    # Gradients with respect to x, y, which is one row for all, and the weights.
    outs, terms = ((0, x.shape), (1, y.shape), (3, w.shape)), ((0, (1, 3, 2)), (1, (0, 3, 2)), (2, (0, 1, 3)))
    program = Program(form, (0, 1, 3, 2), outs, terms)
    found = gpu_launches.evaluate_rows(program, [x, y, w, z])
    value = lambda *a: contract(a, form, 2)
    assert_close(found, jax.jit(lambda *a: jax.vjp(value, *a)[1](z[0]))(x, y, w))
    dst, src = indices()
    lists = gpu_launches.graph_lists(jnp.tile(dst, 10), jnp.tile(src, 10), NODES, NODES)
    x, angular, radial, kernel = operands()
    arrays = [x[:, 0], jnp.tile(angular, (10, 1)), jnp.tile(radial, (10, 1, 1)), jnp.reshape(kernel, (-1, FEATURES))]
    program = Program(None, (0, 1, 2, 3), ((4, (NODES, 4, FEATURES)),), ((0, (0, 1, 2, 3)),))
    found = gpu_launches.evaluate_edges(PLAN.merged.number, program, arrays, lists)
    assert_close(found, [10 * native(*operands())[:, 0]])


def many_edges(x, angular, radial, kernel):
    """Return the sums over a graph whose rows can be split: a second launch adds up their parts."""
    repeated = [jnp.tile(a, (10, *(1 for _ in a.shape[1:]))) for a in (angular, radial, *indices())]
    return convolve(x, *repeated[:2], kernel, tuple(repeated[2:]), NODES, PLAN)


def product(x, angular, radial, kernel):
    """Return the gradients of a coupling of rows."""
    return jax.grad(lambda *a: jnp.sum(backend_of(x).couple_features(*a, PLAN) ** 2), (0, 1, 2))(x, x, kernel)


def lowered_for_cuda():
    """Print the numbers of calls of kernels in programs that are lowered for a GPU."""
    for function in (native, lambda *a: jax.vjp(native, *a)[1](native(*a)), derivatives(native), many_edges, product):
        text = jax.jit(function).trace(*operands()).lower(lowering_platforms=("cuda",)).as_text()
        print("calls", len(re.findall(r"custom_call @triton_kernel_call", text)))


@pytest.mark.skipif(importlib.util.find_spec("jax_cuda13_plugin") is None, reason="JAX has no support for GPUs")
def test_programs_for_gpus_call_kernels():
    environment = os.environ | {"E3ANY_CUDA_CAPABILITY": "90", "TRITON_INTERPRET": "0", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, __file__],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # The value is one call, its vjp three, that of all gradients six. The third program has 4 + 4 + 6 + 3 of them. Of
    # couplings, the value is one call and the gradients are another one.
    assert re.findall(r"calls (\d+)", result.stdout) == ["1", "4", "17", "2", "2"]


if __name__ == "__main__":
    lowered_for_cuda()
