"""Couplings of rows by kernels for GPUs against the references in float64, to second derivatives."""

from __future__ import annotations

import pytest
import torch
from e3any_backends import backend_of, kernels
from e3any_backends.torch import gpu
from e3any_backends.triton import rows

from e3any.nn.layers.couplings import coupling_plan


def reference(x, y, kernel, plan):
    with kernels.enabled(False):
        return backend_of(x).couple_features(x, y, kernel, plan)


def derivatives(function, operands, directions, plan):
    """Return the value, its gradients, and the gradients of products of directions and gradients."""
    leaves = [t.detach().requires_grad_() for t in operands]
    value = function(*leaves[:3], plan)
    gradients = torch.autograd.grad(value, leaves[:3], leaves[3], create_graph=True)
    total = sum((d * g).sum() for d, g in zip(directions, gradients))
    return [value, *gradients, *torch.autograd.grad(total, leaves)]


CASES = {
    "one parity": ((1, 1, 1, 1, 1, 1), (3, 3), 16, torch.float64, 150),
    "an odd number of features": ((1, 1, 2, 1, 2, 2), (2, 2), 5, torch.float32, 150),
    "one row for all": ((1, 1, 1, 1, 1, 1), (3, 1), 4, torch.float64, 150),
    "several chunks": ((2, 1, 2, 1, 2, 1), (2, 2), 3, torch.float64, 30),
    "bfloat16": ((1, 1, 1, 1, 1, 0), (2, 2), 4, torch.bfloat16, 150),
    "no rows": ((1, 1, 1, 1, 1, 1), (0, 0), 4, torch.float64, 150),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_two_orders_are_those_of_the_reference(name, monkeypatch):
    sizes, (num_x, num_y), features, dtype, limit = CASES[name]
    monkeypatch.setitem(rows._LIMITS, "float64", limit)
    rows.row_contractions.cache_clear()
    generator = torch.Generator().manual_seed(0)
    p1, l1, p2, l2, p3, l3 = sizes
    plan = coupling_plan((p1, l1 + 1, p2, l2 + 1, p3, l3 + 1), False)
    shapes = [(num_x, p1, (l1 + 1) ** 2, features), (num_y, p2, (l2 + 1) ** 2, features)]
    shapes += [(*plan.kernel_shape, features), (num_x, p3, (l3 + 1) ** 2, features)]
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes + shapes]
    found = derivatives(gpu.couple_features, tensors[:4], tensors[4:], plan)
    wanted = derivatives(reference, [t.double() for t in tensors[:4]], [t.double() for t in tensors[4:]], plan)
    tolerance = 2**-7 if dtype == torch.bfloat16 else 10 * torch.finfo(dtype).eps
    for a, b in zip(found, wanted):
        assert a.dtype == dtype
        assert a.shape == b.shape
        assert (a.double() - b).abs().sum() <= tolerance * b.abs().sum()
