"""Process CPU times of calls, measured in turn, so that a disturbance of the machine affects all of them.

Short calls are repeated, and a sample is their mean: the time of a single call would mostly be that of filling the
caches of the processor after the call before.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

_LEAST_SAMPLES = 3
# Least time of a sample, and of the calls before it that are not measured.
_SAMPLE_MILLISECONDS, _WARM_MILLISECONDS = 10.0, 100.0


def use_one_core() -> None:
    """Keep this process on one core, if the system supports that."""
    # XLA starts a thread for every core, whatever its options are.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def measure(calls: dict[str, Callable[[], Any]], samples: int, seconds: float) -> dict[str, float]:
    """Return medians of process CPU time in milliseconds.

    The order rotates from sample to sample, so that no call always runs after the same one. Calls before each sample
    are not measured, because other calls have changed the caches and the heap. The first calls, which compile, are not
    measured either.

    Parameters
    ----------
    calls : dict of callables
        The calls to measure, by name.
    samples : int
        Number of samples of each.
    seconds : float
        Time after which no more samples are taken, if there are at least three.
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    for call in calls.values():
        call()
    numbers = {name: _number(calls[name]) for name in names}
    start = time.perf_counter()
    for i in range(samples):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            _warm_up(calls[name])
            times[name].append(process_milliseconds(calls[name], numbers[name]))
        if i + 1 >= _LEAST_SAMPLES and time.perf_counter() - start > seconds:
            break
    return {name: statistics.median(values) for name, values in times.items()}


def _warm_up(call: Callable[[], Any]) -> None:
    """Repeat a call until caches and heap are in the state that it leaves."""
    start = time.process_time()
    while 1000 * (time.process_time() - start) < _WARM_MILLISECONDS:
        call()


def _number(call: Callable[[], Any]) -> int:
    """Return how often to repeat a call in a sample."""
    _warm_up(call)
    number = 1
    while True:
        mean = process_milliseconds(call, number)
        if mean * number >= _SAMPLE_MILLISECONDS:
            return number
        number = max(number + 1, math.ceil(_SAMPLE_MILLISECONDS / max(mean, 1e-3)))


def process_milliseconds(call: Callable[[], Any], number: int = 1) -> float:
    """Return the mean process CPU time of a number of calls."""
    start = time.process_time()
    for _ in range(number):
        call()
    return 1000 * (time.process_time() - start) / number
