"""Kernels that share their work among threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from e3any_backends import kernels
from e3any_backends.kernels import availability, schedule
from e3any_backends.kernels.parallel import pool
from fuzz.settings import forget_plans
from thread_cases import CASES, arguments, assert_rounding


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch):
    """Let parts be as small as they can be, and as many as a test asks for."""
    monkeypatch.setattr(pool, "GRAIN", 1)
    monkeypatch.setattr(pool, "_PARTIAL_WORK", 0)
    monkeypatch.setattr(availability, "_LEAST_HARMONICS", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture(params=["programs", "tables"])
def programs_and_tables(request, monkeypatch):
    """Let kernels of contractions be programs of their own, and one loop over tables."""
    if request.param == "tables":
        monkeypatch.setattr(schedule, "MAX_ENTRIES", -1)
    forget_plans()
    yield
    forget_plans()


def with_threads(number, function, *arrays):
    with kernels.threads(number):
        return [np.asarray(a) for a in function(*arrays)]


def derivatives(function):
    """Return a function that returns a value and first and second derivatives, for arrays of PyTorch."""

    def evaluate(*arrays):
        leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
        value = function(*leaves)
        gradients = torch.autograd.grad((value * value).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum((s * s).sum() for s in gradients), leaves)
        return [a.detach().numpy() for a in (value, *gradients, *second)]

    return evaluate


@pytest.mark.usefixtures("programs_and_tables")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num", [0, 1, 2, 40])
@pytest.mark.parametrize("name", list(CASES))
def test_results_of_several_threads_are_those_of_one(rng, name, num, dtype):
    case, features = CASES[name]
    function, shapes = case(num, features)
    arrays = arguments(rng, shapes, dtype)
    value = with_threads(1, lambda *a: [function(*a)], *arrays)
    expected = with_threads(1, derivatives(function), *arrays)
    for number in (2, 3, 7):
        assert_rounding(with_threads(number, lambda *a: [function(*a)], *arrays), value)
        results = with_threads(number, derivatives(function), *arrays)
        assert_rounding(results, expected)
        for a, b in zip(with_threads(number, derivatives(function), *arrays), results, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", list(CASES))
def test_work_is_split_into_as_many_parts_as_there_are_threads(rng, monkeypatch, name):
    seen = []
    for module in ("maps", "harmonic_maps"):
        monkeypatch.setattr(f"e3any_backends.kernels.{module}.run", lambda function, parts: seen.append(len(parts)))
    monkeypatch.setattr(
        "e3any_backends.kernels.maps._contract_in_shares", lambda plan, _, parts, __: seen.append(parts)
    )
    function, shapes = CASES[name][0](40, CASES[name][1])
    with kernels.threads(4):
        function(*arguments(rng, shapes, "float32"))
    assert seen == [4]


def test_parts_are_done_by_several_threads():
    barrier = threading.Barrier(3)
    seen = []

    def part(number):
        barrier.wait(30)
        seen.append((number, threading.get_ident()))

    pool.run(part, [(n,) for n in range(3)])
    assert sorted(number for number, _ in seen) == [0, 1, 2]
    assert len({thread for _, thread in seen}) == 3
    assert (0, threading.get_ident()) in seen


def test_errors_of_parts_are_raised_when_all_are_done():
    done = []

    def part(number):
        done.append(number)
        if number == 1:
            raise OSError("part")

    with pytest.raises(OSError, match="part"):
        pool.run(part, [(n,) for n in range(3)])
    assert sorted(done) == [0, 1, 2]


def test_the_caller_does_what_no_thread_has_begun(monkeypatch):
    monkeypatch.setattr(pool._helpers, "start", lambda num: 0)
    done = []
    pool.run(lambda n: done.append((n, threading.get_ident())), [(n,) for n in range(3)])
    assert done == [(n, threading.get_ident()) for n in range(3)]


def test_little_work_is_not_shared(monkeypatch):
    monkeypatch.setattr(pool, "GRAIN", 100)
    count = lambda: 4
    assert [pool.num_shares(work, count) for work in (0, 199, 200, 350, 1000)] == [1, 1, 2, 3, 4]
    monkeypatch.setattr(pool, "_PARTIAL_WORK", 1)
    assert [pool.num_shares(1000, count, partial_size) for partial_size in (0, 100, 300, 1000)] == [4, 4, 2, 1]
    assert pool.num_shares(1000, count, most=2) == 2
    with kernels.threads(3):
        assert pool.num_shares(1000, count) == 3


def test_number_of_cpus_is_at_most_that_of_openmp(monkeypatch):
    assert pool.cpus() == 16
    for value, number in [("3", 3), ("5,2", 5), ("32", 16), ("0", 16), ("many", 16)]:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert pool.cpus() == number


def in_threads(num, function):
    """Call a function in threads at once; return what it gives in each."""
    results: list[object] = [None] * num

    def call(n):
        results[n] = function()

    threads = [threading.Thread(target=call, args=(n,)) for n in range(num)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.parametrize("name", ["product", "edges of vectors", "linear"])
def test_many_threads_may_call_kernels_at_once(rng, name):
    function, shapes = CASES[name][0](40, CASES[name][1])
    arrays = arguments(rng, shapes, "float64")
    expected = with_threads(3, derivatives(function), *arrays)
    for results in in_threads(8, lambda: [with_threads(3, derivatives(function), *arrays) for _ in range(10)]):
        for result in results:
            for a, b in zip(result, expected, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_forked_processes_have_threads_of_their_own():
    code = """
import os
import numpy as np
from e3any_backends import backend_of, kernels
from e3any_backends.kernels.parallel import pool

pool.GRAIN, pool.cpus.__code__ = 1, (lambda: 4).__code__
x, w, which = np.ones((100, 4, 16)), np.ones((2, 16, 16)), np.asarray([0, 1, 1, 1])
call = lambda: backend_of(x).linear(x, w, which, None)
expected = call()
assert pool._helpers._threads
child = os.fork()
if not child:
    begun = len(pool._helpers._threads)
    os._exit(int(begun != 0 or not (call() == expected).all() or len(pool._helpers._threads) == 0))
assert os.waitpid(child, 0)[1] == 0
assert (call() == expected).all()
"""
    environment = {**os.environ, "E3ANY_THREADS": ""}  # which benchmarks set
    options = {"capture_output": True, "text": True, "timeout": 300, "env": environment}
    result = subprocess.run([sys.executable, "-c", code], **options)
    assert result.returncode == 0, result.stderr
