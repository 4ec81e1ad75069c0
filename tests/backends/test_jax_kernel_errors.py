"""Kernels that fail within XLA: JAX raises an error, and the process goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

START = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from e3any_backends import kernels
from e3any_backends.jax import custom_calls
from e3any_backends.kernels.parallel import pool

pool.GRAIN, pool._PARTIAL_WORK = 1, 0
rng = np.random.default_rng(0)
x, g = rng.normal(size=(40, 1, 16)).astype("float32"), rng.normal(size=(40, 1, 16)).astype("float32")
arguments = x, g, np.zeros(1, np.int32)

def gradient(name="linear_matrix_vjp", **options):
    amount = {"work": 1000, "partial_size": 256, **options}
    return jax.jit(lambda *a: custom_calls.call(name, "float32", [(1, 16, 16)], *a, **amount)[0])

def error_of(function):
    try:
        jax.block_until_ready(function(*arguments))
    except jax.errors.JaxRuntimeError as error:
        return str(error)
    raise AssertionError("expected an error")

def check():
    np.testing.assert_allclose(gradient()(*arguments)[0], x[:, 0].T @ g[:, 0], rtol=1e-5, atol=1e-5)
"""

NO_MEMORY = """
check()
for options in ({"shared": 1 << 50}, {"partial_size": 1 << 50, "work": 1 << 60}):
    failing = gradient(**options)
    for _ in range(3):
        message = error_of(failing)
        assert message.startswith("RESOURCE_EXHAUSTED: e3any: there is no memory"), message
        check()
print("passed")
"""

FAILING_STEPS = """
import tempfile
from numba.core import config
from e3any_backends.kernels.code.jit import inlined, inner
from e3any_backends.kernels.xla.operations import OPERATIONS

@inner
def fail(call, dtype):
    raise ValueError("expected nothing")

@inlined
def fail_for_last(share, num_shares, call, dtype, code):
    if share == num_shares - 1:
        raise ValueError("expected nothing")

config.CACHE_DIR = tempfile.mkdtemp()
check()
good = OPERATIONS["linear_matrix_vjp"]
steps = {"prepare": fail, "share": fail_for_last, "finish": fail}
for step, function in steps.items():
    OPERATIONS[step] = good._replace(**{step: function})
    for threads in (1, 4):
        failing = gradient(step)
        for _ in range(20):
            with kernels.threads(threads):
                message = error_of(failing)
            assert message.startswith("INTERNAL: e3any: a kernel failed"), message
        check()
print("passed")
"""


@pytest.mark.parametrize("program", [NO_MEMORY, FAILING_STEPS], ids=["memory", "steps"])
def test_errors_of_kernels_are_raised_by_jax(program):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PJRT_NPROC": "4"}
    environment |= {"NPROC": "4", "E3ANY_THREADS": ""}  # the last of which benchmarks set
    options = {"capture_output": True, "text": True, "timeout": 300, "env": environment}
    result = subprocess.run([sys.executable, "-c", START + program], **options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["passed"]
    assert "Exception ignored" not in result.stderr
