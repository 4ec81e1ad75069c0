"""Sums over edges in eager PyTorch, held against the standard form."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from e3any_backends import _torch_edges, backend_of, kernels
from e3any_backends.generic import Backend
from torch.autograd import grad

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def no_kernels():
    torch.manual_seed(0)
    with kernels.enabled(False):
        yield


def random(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def edges(num_edges=40, is_sorted=False, has_padding=True, dtype=torch.float64):
    """Return operands for six nodes that send, and index lists for five that receive."""
    src, dst = (torch.randint(-has_padding, n + has_padding, (num_edges,)) for n in (6, 5))
    operands = [random(*shape, dtype=dtype) for shape in ((6, 8, 3), (num_edges, 9), (num_edges, 3, 3))]
    return operands, (src, dst.sort()[0] if is_sorted else dst, 5)


def standard(x, *arguments):
    return Backend.edge_products(backend_of(x), x, *arguments)


def native(x, *arguments, indices_are_sorted=False):
    return backend_of(x).edge_products(x, *arguments, indices_are_sorted=indices_are_sorted)


@pytest.mark.parametrize("has_padding", [False, True])
@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("num_edges", [0, 1, 40])
@pytest.mark.parametrize("block", [1, 24 * 7, 2**17])
def test_sums_and_derivatives_are_those_of_the_standard(monkeypatch, block, num_edges, is_sorted, has_padding):
    monkeypatch.setattr(_torch_edges, "_BLOCK", block)
    operands, index = edges(num_edges, is_sorted, has_padding)
    results = []
    for function in (partial(native, indices_are_sorted=is_sorted), standard):
        torch.manual_seed(1)
        value = function(*operands, *index)
        g = random(*value.shape)
        first = grad(value, operands, g, create_graph=True)
        second = grad([torch.sum(d**2) for d in first], [g, *operands], create_graph=True)
        third = grad([torch.sum(d**2) for d in second], [g, *operands])
        some = [grad(function(*operands, *index), operand, g)[0] for operand in operands]
        results.append([value, *first, *second, *third, *some])
    torch.testing.assert_close(*results)


def test_derivatives_are_those_of_differences():
    operands, index = edges(7)
    assert torch.autograd.gradcheck(lambda *o: native(*o, *index), operands, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *o: native(*o, *index), operands, fast_mode=True)


def test_padding_may_be_anything():
    (x, angular, radial), (src, dst, num) = edges()
    padding = (src < 0) | (src >= 6) | (dst < 0) | (dst >= num)
    wild = [torch.where(padding.reshape(-1, *(1,) * (a.ndim - 1)), np.nan, a) for a in (angular, radial)]
    actual = native(x, *wild, src, dst, num)
    torch.testing.assert_close(actual, native(x, angular, radial, src, dst, num))
    assert torch.isfinite(grad(actual.sum(), x)[0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_indices_of_32_bits_are_served(dtype):
    operands, (src, dst, num) = edges(dtype=dtype)
    actual = native(*operands, src.to(torch.int32), dst.to(torch.int32), num)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, native(*operands, src, dst, num))


def test_transformations_and_compilers_take_other_forms():
    (x, *basis), index = edges()
    loss = lambda x: native(x, *basis, *index).sum()
    (expected,) = grad(loss(x), x)
    torch.testing.assert_close(torch.func.grad(loss)(x), expected)
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (x,))[1], torch.sum(expected * x))
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(x), loss(x))


def test_batches_of_gradients_are_served():
    operands, index = edges()
    value = native(*operands, *index)
    batch = torch.stack([torch.ones_like(value), value.detach()])
    actual = grad(value, operands, batch, is_grads_batched=True, retain_graph=True)
    expected = [grad(value, operands, g, retain_graph=True) for g in batch]
    torch.testing.assert_close(actual, tuple(map(torch.stack, zip(*expected))))


def test_nothing_is_kept_but_operands():
    operands, index = edges(1000)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        native(*operands, *index)
    assert {x.untyped_storage().data_ptr() for x in kept} == {o.untyped_storage().data_ptr() for o in operands}
