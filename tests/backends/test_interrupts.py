"""Signal handlers that raise errors while kernels are compiled and run."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from e3any_backends.kernels.parallel import pool

PROGRAM = Path(__file__).parents[1] / "interrupt_program.py"
# How often every library is interrupted, instead of a few times, in a longer run.
COUNT = os.environ.get("E3ANY_TEST_INTERRUPTS")

needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals can be sent to a thread")


class Interruption(Exception):
    """What the signal handler raises."""


@pytest.fixture
def interrupt():
    """Return a function that lets the handler of a signal raise an error in this thread."""

    def handle(*_):
        raise Interruption

    before, main = signal.signal(signal.SIGUSR1, handle), threading.main_thread().ident
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def several_interrupts():
    """Return a function that sends signals of several numbers at once, whose handlers raise errors in this thread."""

    def handle(number, _):
        raise Interruption(number)

    numbers = signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM
    before = [signal.signal(number, handle) for number in numbers]
    main = threading.main_thread().ident
    yield lambda count: [signal.pthread_kill(main, number) for number in numbers[:count]]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def is_true_within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


@needs_signals
@pytest.mark.parametrize("interrupts", [1, 3])
def test_errors_of_signal_handlers_are_raised_when_all_parts_are_done(interrupt, interrupts):
    begun, may_end, out = threading.Event(), threading.Event(), np.zeros(3)

    def part(number):
        if threading.current_thread() is threading.main_thread():
            begun.wait(60)
            return
        begun.set()
        may_end.wait(60)
        out[number] = 1

    def disturb():
        begun.wait(60)
        for _ in range(interrupts):
            interrupt()
            time.sleep(0.05)
        may_end.set()

    thread = threading.Thread(target=disturb)
    thread.start()
    with pytest.raises(Interruption):
        pool.run(part, [(n,) for n in range(3)])
    assert may_end.is_set()
    written = out.copy()
    thread.join()
    assert written.any()
    np.testing.assert_array_equal(out, written)


@needs_signals
def test_errors_of_signal_handlers_do_not_keep_other_parts_from_being_done(interrupt):
    done = []

    def part(number):
        done.append(number)
        if number == 0:
            interrupt()
            time.sleep(60)

    with pytest.raises(Interruption):
        pool.run(part, [(n,) for n in range(3)])
    assert sorted(done) == [0, 1, 2]


def test_arrays_live_until_the_last_part_is_done():
    begun, may_end = threading.Event(), threading.Event()
    array, by_address = np.zeros(4), np.zeros(5)
    alive = [weakref.ref(array), weakref.ref(by_address)]

    def part(out):
        begun.set()
        may_end.wait(60)
        out += 1

    pool._helpers.call(pool._Work(part, [(array,)], [by_address]), 1)
    del array, by_address
    assert begun.wait(60)
    gc.collect()
    assert all(ref() is not None for ref in alive)
    may_end.set()
    assert is_true_within(60, lambda: all(ref() is None for ref in alive))


def test_nothing_keeps_arrays_when_all_parts_are_done(monkeypatch):
    monkeypatch.setattr(pool._helpers, "_calls", calls := pool.SimpleQueue())  # which no thread looks at
    array = np.zeros(4)
    alive = weakref.ref(array)
    pool.run(lambda n, x: None, [(n, array) for n in range(3)], memory=[array])
    assert calls.qsize() > 0
    del array
    assert alive() is None


@needs_signals
def test_functions_of_other_threads_are_not_interrupted(interrupt):
    finished = []

    def function(value):
        interrupt()
        time.sleep(0.1)
        finished.append(threading.current_thread())
        return value

    with pytest.raises(Interruption):
        pool.undisturbed(function, 3)
    assert len(finished) == 1
    assert finished[0] is not threading.main_thread()
    assert pool.undisturbed(lambda value: value, 3) == 3


def test_errors_of_other_threads_are_raised():
    def function():
        raise OSError("function")

    with pytest.raises(OSError, match="function"):
        pool.undisturbed(function)


def test_without_threads_the_caller_does_all(monkeypatch):
    monkeypatch.setattr(pool._helpers, "start", lambda num: 0)
    assert pool.undisturbed(threading.current_thread) is threading.main_thread()


def run(program, *arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    options = {"capture_output": True, "text": True, "timeout": 3000, "env": environment}
    return subprocess.run([sys.executable, *program, *arguments], **options)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timer that sends signals")
@pytest.mark.parametrize(("library", "count"), [("numpy", "20"), ("torch", "8"), ("jax", "8")])
def test_interrupts_do_not_change_arrays_of_others(library, count):
    result = run([str(PROGRAM)], library, COUNT or count, "0")
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timer that sends signals")
def test_interrupts_of_imports_and_compilers_leave_a_usable_process(tmp_path):
    code = """
import logging
import signal
import numpy as np
from e3any_backends import backend_of, kernels

logging.basicConfig()
x, w, which = np.ones((100, 2, 16)), np.ones((2, 16, 16)), np.asarray([0, 1])
interrupts, results, works = 0, [], False

def ring(*_):
    if works:  # not between two calls
        raise TimeoutError

signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
while not results or interrupts < 3:
    try:
        works = True
        results.append(backend_of(x).linear(x, w, which, None))
        np.linalg.norm(np.ones((1000, 1000)))
        works = False
    except TimeoutError:
        works = False
        interrupts += 1
signal.setitimer(signal.ITIMER_REAL, 0, 0)
assert kernels.used()
assert all((y == 16).all() for y in results)
from e3any_backends.kernels import linear
assert len(linear.product.signatures) == 1
"""
    result = run(["-c", code], NUMBA_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@needs_signals
@pytest.mark.parametrize("count", [2, 3])
def test_signals_that_come_at_once_leave_no_thread_at_work(several_interrupts, count):
    begun, works = threading.Event(), []

    def part(number):
        if threading.current_thread() is threading.main_thread():
            begun.wait(60)
            return
        works.append(number)
        begun.set()
        time.sleep(0.1)  # the caller waits for this part meanwhile
        several_interrupts(count)
        time.sleep(0.2)
        works.pop()

    with pytest.raises(Interruption):
        pool.run(part, [(0,), (1,)])
    assert works == []


@needs_signals
@pytest.mark.parametrize("count", [2, 3])
def test_signals_that_come_at_once_interrupt_no_import(several_interrupts, count):
    works = []

    def function():
        works.append(0)
        several_interrupts(count)
        time.sleep(0.2)
        works.pop()

    with pytest.raises(Interruption):
        pool.undisturbed(function)
    assert works == []
