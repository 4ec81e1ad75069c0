"""sphericart with PyTorch: kernels in C++."""

from __future__ import annotations

from typing import Any

import sphericart.torch

from ..frameworks.torch import TorchProgram, tensors
from ..task import Task


def spherical_harmonics(task: Task) -> TorchProgram:
    """Return harmonics of unit vectors."""
    return _program(sphericart.torch.SphericalHarmonics(task.options["max_degree"]), task)


def solid_harmonics(task: Task) -> TorchProgram:
    """Return harmonic polynomials."""
    return _program(sphericart.torch.SolidHarmonics(task.options["max_degree"]), task)


def _program(module: Any, task: Task) -> TorchProgram:
    return TorchProgram(lambda _, r: module(r), None, tensors(task.arrays))
