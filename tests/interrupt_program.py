"""Interrupt shared kernels at random times, and see whether arrays of others change.

Run by itself with a library, a number of interrupts and a seed: ``python tests/interrupt_program.py torch 300 0``.
A signal comes from the timer of the process, or as Ctrl-C does, from another thread, up to three in a row. Directly
afterwards arrays as large as the result are made, which would get its memory if that had been freed under a kernel.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

import numpy as np
from e3any_backends import backend_of, kernels

from e3any.nn.layers.couplings import coupling_plan

ROWS, FEATURES, GUARDS = 3000, 64, 3
SHAPE = ROWS, 1, 9, FEATURES


class Alarm(Exception):
    """What the handler of the timer raises."""


def ring(*_):
    raise Alarm


def program(library):
    """Return a function that computes a coupling, with derivatives where the library has some."""
    rng = np.random.default_rng(0)
    plan = coupling_plan((1, 3, 1, 3, 1, 3), False)
    shapes = SHAPE, SHAPE, (1, 3, 1, 3, 1, 3, FEATURES)
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]

    def function(x, y, w):
        return backend_of(x).couple_features(x, y, w, plan)

    if library == "numpy":
        return lambda: [function(*arrays)]
    if library == "torch":
        import torch

        torch.set_num_threads(4)
        leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]

        def derivatives():
            value = function(*leaves)
            return [value.detach().numpy(), *(g.numpy() for g in torch.autograd.grad((value * value).sum(), leaves))]

        return derivatives
    import jax

    step = jax.jit(jax.value_and_grad(lambda *a: (function(*a) ** 2).sum(), (0, 1, 2)))
    operands = [jax.numpy.asarray(a) for a in arrays]
    return lambda: [np.asarray(a) for a in jax.tree.leaves(step(*operands))]


def send(times):
    """Send an interrupt at each of some times, in seconds from each other."""
    for pause in times:
        time.sleep(pause)
        os.kill(os.getpid(), signal.SIGINT)


def interrupted(function, duration, rng):
    """Call a function until it is interrupted, and perhaps once more soon after; return how often it was."""
    times = [rng.uniform(0, duration), *(rng.uniform(0, 0.2) * duration for _ in range(rng.randrange(3)))]
    thread, came = threading.Thread(target=send, args=(times,)), 0
    try:
        if rng.random() < 0.5:
            signal.setitimer(signal.ITIMER_REAL, times[0])
        else:
            thread.start()
        while True:
            function()
    except (KeyboardInterrupt, Alarm):
        came += 1
    # The error is gone, and with it what its frames have kept.
    while True:
        try:
            guards = [np.full(SHAPE, 7, "float32") for _ in range(GUARDS)]
            if thread.ident:
                thread.join()
            time.sleep(duration / 2)
            break
        except (KeyboardInterrupt, Alarm):  # also what was sent in the call before, if the machine is busy
            came += 1
    assert all((g == 7).all() for g in guards), "an array of others was changed"
    return came


def main(library, count, seed):
    """Interrupt a program so many times."""
    signal.signal(signal.SIGALRM, ring)
    # Processes in the background are started with it ignored, and would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng, function = random.Random(seed), program(library)
    with kernels.threads(4):
        expected = function()
        start = time.perf_counter()
        function()
        duration = time.perf_counter() - start
        came = 0
        while came < count:
            came += interrupted(function, duration, rng)
        for a, b in zip(function(), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    print(f"{library}: {came} interrupts, {duration * 1e3:.0f} ms a call")


if __name__ == "__main__":
    os.sched_getaffinity = lambda _: set(range(4))
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
