"""The figures of a case, from its program compiled for a target or counted in eager PyTorch."""

from __future__ import annotations

import math
import sys
from typing import Any

import jax
import numpy as np
from instrument import competitors, tasks
from instrument.cases import Key

from . import eager
from .compiler import Executable, Lowered, lower_for
from .history import Figures
from .targets import Target

__all__ = ["compiled_figures", "eager_figures", "lowered_figures", "lowered_program"]


def lowered_program(target: Target, competitor: str, key: Key) -> Lowered:
    """Return the program of a competitor."""
    program = competitors.program(competitor, key.operation, *key.sizes)
    function, shapes = program.shapes(key.mode)  # type: ignore[attr-defined]
    return lower_for(target, function, *shapes)


def lowered_figures(lowered: Lowered) -> Figures:
    """Return what is known before a program is compiled.

    "minimum" is the size of arguments and results: the traffic of one kernel that reads and writes each once.
    """
    arrays = jax.tree.leaves((lowered.lowered.in_avals, lowered.lowered.out_info))
    minimum = sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in arrays)
    return {"program": lowered.fingerprint, "operations": lowered.operations, "minimum": minimum}


def compiled_figures(lowered: Lowered) -> Figures:
    """Compile a program and return its figures; "failed" is 1 if the compiler gives up, for example out of memory."""
    known = lowered_figures(lowered)
    try:
        executable = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        print(f"    failed: {str(error)[:200]}", file=sys.stderr, flush=True)
        return {**known, "failed": 1}
    return {**known, **_counted(lowered.target, executable)}


def _counted(target: Target, executable: Executable) -> Figures:
    figures: Figures = {
        **target.count(executable.text),
        "temporary": executable.temporary_bytes,
        "code": executable.code_bytes,
    }
    if target.architecture:
        figures["registers"] = max((kernel.registers for kernel in executable.kernels), default=0)
        figures["spilled"] = sum(kernel.spilled for kernel in executable.kernels)
    return figures


def eager_figures(key: Key) -> dict[str, Figures]:
    """Return the figures of all passes of an operation in eager PyTorch."""
    task: Any = getattr(tasks, key.operation)(*key.sizes)
    return eager.count(task)
