"""Sums of products over edges in PyTorch without kernels, block by block."""

from __future__ import annotations

import pytest
import torch
from e3any_backends import backend_of, kernels
from e3any_backends.generic import Backend
from e3any_backends.torch import backend as backend_module
from e3any_backends.torch import edges as device_module
from torch.utils._python_dispatch import TorchDispatchMode

from e3any.testing import assert_parity

NODES, EDGES = 4, 11


@pytest.fixture(autouse=True)
def _blocks(monkeypatch):
    """Have blocks of two edges and no kernels."""
    monkeypatch.setattr(backend_module, "_BLOCK_BYTES", 2 * 8 * 3 * 2)
    with kernels.enabled(False):
        yield


@pytest.fixture
def factors():
    generator = torch.Generator().manual_seed(0)
    shapes = (NODES, 3, 2), (EDGES, 4), (EDGES, 2, 2)
    return [torch.randn(*s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


@pytest.fixture
def lists():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(-1, NODES + 1, (EDGES,), generator=generator) for _ in range(2)]


def native(*arrays):
    return backend_of(arrays[0]).edge_products(*arrays, NODES)


def reference(*arrays):
    return Backend.edge_products(backend_of(arrays[0]), *arrays, NODES)


def on_device(*arrays):
    """Sum as on a device that is not a CPU; tensors on the CPU do."""
    return device_module.edge_products_at_once(backend_of(arrays[0]), *arrays, NODES)


class CountOperations(TorchDispatchMode):
    """Count operations, which are launches on a GPU; views are none."""

    views = frozenset({"slice", "select", "unsqueeze", "view", "expand", "detach", "alias"})

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += function.overloadpacket.__name__ not in self.views
        return function(*args, **(kwargs or {}))


def derivatives(function, factors, lists):
    """Return values, gradients, and gradients of a sum of squares of gradients."""
    value = function(*factors, *lists)
    grads = torch.autograd.grad(value.sin().sum(), factors, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in grads), factors)
    return [value, *grads, *second]


def test_derivatives_of_two_orders_are_those_of_the_reference(factors, lists, monkeypatch):
    counted = []
    checkpoint = backend_module.checkpoint
    monkeypatch.setattr(backend_module, "checkpoint", lambda *a, **k: counted.append(0) or checkpoint(*a, **k))
    assert_parity(derivatives(native, factors, lists), derivatives(reference, factors, lists))
    assert len(counted) == 6


def test_blocks_need_no_gradients(factors, lists):
    expected = reference(*factors, *lists).detach()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_parity(native(*factors, *lists), expected)


def test_transformations_take_all_edges_at_once(factors, lists):
    def loss(function):
        return lambda x: (function(x, *factors[1:], *lists) ** 2).sum()

    x = factors[0].detach()
    ours, theirs = (torch.func.jacrev(torch.func.grad(loss(function)))(x) for function in (native, reference))
    assert_parity(ours, theirs)


@pytest.mark.parametrize("block_bytes", [8 * 4 * 3 * 2 * 3, 2**31])
def test_devices_have_the_numbers_of_the_reference(factors, lists, monkeypatch, block_bytes):
    monkeypatch.setattr(device_module, "_BLOCK_BYTES", block_bytes)
    assert_parity(derivatives(on_device, factors, lists), derivatives(reference, factors, lists))


def test_a_basis_of_padding_may_be_infinite_on_devices(factors, lists):
    x, angular, radial = factors
    outside = sum((i < 0) | (i >= NODES) for i in lists).bool()
    assert outside.any()
    spoiled = angular.detach().masked_fill(outside[:, None], float("nan")).requires_grad_()
    infinite = radial.detach().masked_fill(outside[:, None, None], float("inf")).requires_grad_()
    actual = derivatives(on_device, [x, spoiled, infinite], lists)
    assert_parity(actual, derivatives(on_device, factors, lists))


def test_devices_take_few_operations(factors, lists):
    with CountOperations() as counted:
        on_device(*factors, *lists)
    assert counted.number <= 14
