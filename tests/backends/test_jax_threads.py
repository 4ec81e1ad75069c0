"""Kernels whose work is shared by threads of XLA's pool."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3any_backends import kernels
from e3any_backends.kernels import schedule
from e3any_backends.kernels.parallel import pool
from thread_cases import CASES, arguments, assert_rounding

# Contractions may be programs of their own, or one loop over tables.
PROGRAMS = [(name, 2048) for name in CASES]
TABLES = [(name, -1) for name in CASES if name.startswith("product")]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Let parts be as small as they can be."""
    monkeypatch.setattr(pool, "GRAIN", 1)
    monkeypatch.setattr(pool, "_PARTIAL_WORK", 0)


def derivatives(function):
    """Return a function that returns a value and first and second derivatives."""

    def evaluate(*arrays):
        numbers = tuple(range(len(arrays)))
        square = lambda *a: (function(*a) ** 2).sum()
        gradients = jax.grad(square, numbers)
        second = jax.grad(lambda *a: sum((s**2).sum() for s in gradients(*a)), numbers)
        return function(*arrays), *gradients(*arrays), *second(*arrays)

    return evaluate


def compiled(number, function, arrays):
    """Compile a function for a number of threads."""
    with kernels.threads(number):
        return jax.jit(lambda *a: function(*a)).lower(*arrays).compile()


def case(rng, name, num, dtype):
    """Return a function with derivatives, and arguments."""
    function, shapes = CASES[name][0](num, CASES[name][1])
    return derivatives(function), [jnp.asarray(a) for a in arguments(rng, shapes, dtype)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num", [0, 1, 40])
@pytest.mark.parametrize(("name", "max_entries"), PROGRAMS + TABLES)
def test_results_of_several_threads_are_those_of_one(rng, monkeypatch, name, max_entries, num, dtype):
    monkeypatch.setattr(schedule, "MAX_ENTRIES", max_entries)
    schedule.plan.cache_clear()
    function, arrays = case(rng, name, num, dtype)
    expected = compiled(1, function, arrays)(*arrays)
    for number in (2, 7):
        program = compiled(number, function, arrays)
        results = program(*arrays)
        assert_rounding(map(np.asarray, results), map(np.asarray, expected))
        for a, b in zip(program(*arrays), results, strict=True):
            np.testing.assert_array_equal(a, b)
    schedule.plan.cache_clear()


@pytest.mark.parametrize("name", list(CASES))
def test_programs_say_how_many_parts_there_may_be(rng, monkeypatch, name):
    function, shapes = CASES[name][0](40, CASES[name][1])
    arrays = [jnp.asarray(a) for a in arguments(rng, shapes, "float32")]

    def text():
        return jax.jit(lambda *a: function(*a)).lower(*arrays).as_text()

    with kernels.threads(3):
        assert "num_shares = 3 : i64" in text()
    assert "num_shares = 256 : i64" in text() or "num_shares = 40 : i64" in text()
    monkeypatch.setattr(pool, "GRAIN", 1 << 40)
    assert "num_shares = 1 : i64" in text()


def test_operations_outside_of_programs_follow_the_number_of_threads(rng):
    function, shapes = CASES["linear"][0](40, 16)
    arrays = [jnp.asarray(a) for a in arguments(rng, shapes, "float64")]
    with kernels.threads(1):
        expected = function(*arrays)
    with kernels.threads(5):
        np.testing.assert_array_equal(function(*arrays), expected)


def test_many_threads_may_run_programs_of_several_kernels_at_once(rng):
    parts = [case(rng, name, 40, "float64") for name in ("product", "edges of vectors", "linear", "harmonics")]
    arrays = [arguments for _, arguments in parts]
    function = lambda arrays: [f(*a) for (f, _), a in zip(parts, arrays, strict=True)]
    program = compiled(7, function, [arrays])
    expected = jax.tree.leaves(program(arrays))
    results: list[object] = [None] * 8

    def call(n):
        results[n] = [jax.block_until_ready(program(arrays)) for _ in range(20)]

    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    for result in jax.tree.leaves(results, is_leaf=lambda r: isinstance(r, list) and len(r) == len(parts)):
        for a, b in zip(jax.tree.leaves(result), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cpus", [1, 4])
def test_parts_are_as_many_as_xla_has_threads(cpus):
    code = """
import jax
import jax.numpy as jnp
import numpy as np
from e3any_backends import kernels
from e3any_backends.kernels.parallel import pool
from thread_cases import CASES, arguments

pool.GRAIN, pool._PARTIAL_WORK = 1, 0
function, shapes = CASES["linear"][0](400, 16)
arrays = [jnp.asarray(a) for a in arguments(np.random.default_rng(0), shapes, "float32")]
gradients = {}
for number in (1, 4, 7):
    with kernels.threads(number):
        gradient = jax.grad(lambda *a: (function(*a) ** 2).sum(), 1)
        gradients[number] = jax.jit(gradient)(*arrays)
assert np.allclose(gradients[1], gradients[4], rtol=1e-4)
assert (gradients[7] == gradients[4]).all()
print((gradients[1] == gradients[4]).all())
"""
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "NPROC": str(cpus), "PJRT_NPROC": str(cpus)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    # Sums are rounded as those of one part, or not.
    assert result.stdout.strip() == str(cpus == 1)
