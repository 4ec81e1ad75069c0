"""Programs of NumPy, which have values only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from e3any_numpy import to_numpy

from e3any import nn

from ..program import Program, Unavailable
from ..task import Task


class NumpyProgram(Program):
    """A function of NumPy arrays."""

    def _call(self, mode: str) -> Callable[[], Any]:
        if mode != "forward":
            raise Unavailable(f"NumPy has no derivatives, so no mode {mode!r}")
        return partial(self.apply, self.params, *self.inputs)


def program(task: Task, kernels: bool = True) -> NumpyProgram:
    """Return a task done by e3any."""
    if not isinstance(task.compute, nn.Layer):
        return NumpyProgram(
            task.bind(lambda _, *inputs, **options: task.compute(*inputs, **options)), None, task.arrays, kernels
        )
    function = to_numpy(task.compute)
    params = function.init(np.random.default_rng(0), *task.inputs, **task.lists)
    return NumpyProgram(task.bind(function), params, task.arrays, kernels)
