"""Signals whose handler raises, as Ctrl-C and time-outs do, while threads of kernels run."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from e3any import nn, so3
from fuzz.guards import guarded
from fuzz.programs import Arrays, Program, Sizes, Spec, of_layer

# Calls of a case that are interrupted, and arrays of others for every result.
TIMES, _OTHERS = 10, 6
_PATTERN = 7.25


class Interrupted(Exception):
    """What the handler raises."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise an error some time later, unless that is too late."""
    armed = [True]

    def handle(number: int, frame: Any) -> None:
        if armed[0]:
            armed[0] = False
            raise Interrupted

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        yield
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def program(sizes: Sizes) -> Program:
    """Draw a call that takes some milliseconds, whose work threads share."""
    rows, features = sizes.one_of((300, 1000)), sizes.one_of((16, 32))
    kind = sizes.one_of(("tensor", "dense", "messages", "harmonics"))
    if kind == "harmonics":
        return Program(kind, lambda a: so3.spherical_harmonics(a["r"], 6), {"r": Spec("vectors", (40 * rows, 3))})
    x = Spec("features", (rows, 2, 9, features))
    if kind == "tensor":
        tensor = nn.Tensor()
        return of_layer(tensor, {"x": x, "y": x}, lambda p, a: tensor(p, a["x"], a["y"]))
    if kind == "dense":
        dense = nn.Dense(32)
        return of_layer(dense, {"x": x}, lambda p, a: dense(p, a["x"]))
    specs = {
        "x": x,
        "radial": Spec("features", (8 * rows, 1, 8)),
        "angular": Spec("features", (8 * rows, 9)),
        "dst": Spec("index", (8 * rows,), rows),
        "src": Spec("index", (8 * rows,), rows),
    }
    layer = nn.MessagePass()

    def call(p: Any, a: Arrays) -> Any:
        return layer(p, a["x"], nn.FactoredBasis(a["radial"], a["angular"]), dst_idx=a["dst"], src_idx=a["src"])

    return of_layer(layer, specs, call)


def differences(call: Callable[[], dict[str, np.ndarray]], rng: np.random.Generator) -> list[str]:
    """Interrupt a call at random times; return in words what was changed or became wrong."""
    right = {n: r.copy() for n, r in call().items()}
    begin = time.perf_counter()
    call()
    seconds, found = time.perf_counter() - begin, []
    for _ in range(TIMES):
        try:
            with _alarm(float(rng.uniform(0, 1.1)) * seconds):
                call()
        except Interrupted:
            pass
        gc.collect()
        # Memory that a thread still writes to, if it was freed, is that of these arrays now, or of nobody.
        others = [make(r.shape, r.dtype) for r in right.values() for make in (*[np.empty] * _OTHERS, guarded)]
        for other in others:
            other.fill(_PATTERN)
        time.sleep(min(2 * seconds, 0.1))
        if any((other != _PATTERN).any() for other in others):
            found.append("an array of another was written to after the call")
        for name, result in call().items():
            if not np.array_equal(result, right[name], equal_nan=True):
                found.append(f"{name}: the next call gives other numbers")
    return found
