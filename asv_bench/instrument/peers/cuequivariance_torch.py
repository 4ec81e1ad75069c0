"""cuequivariance with PyTorch, by its method for CPUs."""

from __future__ import annotations

from typing import Any

import cuequivariance_torch as cuet
import torch

from ..frameworks.torch import TorchProgram, tensors
from ..irreps import irreps, irreps_of, stacked
from ..task import Task
from . import polynomials


def spherical_harmonics(task: Task) -> TorchProgram:
    """Return harmonics of unit vectors."""
    module = cuet.SegmentedPolynomial(polynomials.harmonics(task.options["max_degree"]), method="naive")
    return TorchProgram(lambda _, r: module([torch.nn.functional.normalize(r)])[0], None, tensors(task.arrays))


def tensor(task: Task) -> TorchProgram:
    """Return the product of equal features with a weight for every path and feature."""
    x, y = task.inputs
    polynomial = polynomials.product(irreps_of(x), irreps_of(y), irreps_of(x), x.shape[-1], filters=False)
    module = cuet.SegmentedPolynomial(polynomial, method="naive")
    arrays = tensors(tuple(stacked(a).reshape(len(a), -1) for a in (x, y)))
    return TorchProgram(lambda w, x, y: module([w, x, y])[0], torch.randn(1, polynomial.inputs[0].size), arrays)


def message_pass(task: Task) -> TorchProgram:
    """Return messages along edges, with weights of paths that are linear in the radial functions."""
    x, basis = task.inputs
    filters = irreps(basis.max_degree, 1)
    polynomial = polynomials.product(irreps_of(x), filters, irreps_of(x), x.shape[-1], filters=True)
    module = cuet.SegmentedPolynomial(polynomial, method="naive")
    weights = torch.randn(basis.radial.shape[-1], polynomial.inputs[0].size)

    def apply(weights: Any, x: Any, radial: Any, angular: Any, dst: Any, src: Any) -> Any:
        return module([radial @ weights, x, angular], {1: src}, {0: x[:, :1]}, {0: dst})[0]

    arrays = stacked(x).reshape(len(x), -1), basis.radial[:, 0], basis.angular, *task.lists.values()
    return TorchProgram(apply, weights, tensors(arrays))
