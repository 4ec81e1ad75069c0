"""Sums of products over edges in PyTorch without kernels, block by block."""

from __future__ import annotations

import pytest
import torch
from e3any_backends import backend_of, kernels
from e3any_backends.generic import Backend
from e3any_backends.torch import backend as backend_module

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
