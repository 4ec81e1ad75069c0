"""PyTorch modules under torch.func and automatic differentiation."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch_cases import every_layer, floating

from e3any.testing import assert_parity

# PyTorch itself still uses what it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def as_function(case):
    """Return a function of tensors, and the tensors: parameters and inputs of floating-point numbers."""
    module, (inputs, options) = case.module(), case.arguments()
    names = [name for name, _ in module.named_parameters()]
    flat, structure = tree_flatten(inputs)

    def function(*tensors):
        values = iter(tensors[len(names) :])
        given = tree_unflatten([next(values) if x.is_floating_point() else x for x in flat], structure)
        return functional_call(module, dict(zip(names, tensors[: len(names)])), given, options)

    tensors = [*module.parameters(), *(x for x in flat if x.is_floating_point())]
    return function, tuple(x.detach() for x in tensors)


@every_layer
def test_derivatives_are_those_of_differences(case):
    function, tensors = as_function(case)
    sizes = [x.numel() for x in tensors]
    everything = torch.cat([x.flatten() for x in tensors]).requires_grad_()

    def of_everything(x):
        parts = torch.split(x, sizes)
        return function(*(part.reshape(tensor.shape) for part, tensor in zip(parts, tensors)))

    check = {"inputs": everything, "fast_mode": True}
    assert torch.autograd.gradcheck(of_everything, **check, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(of_everything, **check)


@every_layer
def test_jacobians_of_both_modes_agree(case):
    function, tensors = as_function(case)
    everything = tuple(range(len(tensors)))
    assert_parity(jacfwd(function, everything)(*tensors), jacrev(function, everything)(*tensors))


@every_layer
def test_second_derivatives_of_all_modes_agree(case):
    function, tensors = as_function(case)

    def loss(*tensors):
        return function(*tensors).sin().sum()

    everything = tuple(range(len(tensors)))
    slope = grad(loss, everything)
    tangents = tuple(torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(x) for x in tensors)

    def along_tangents(*tensors):
        return sum(map(torch.vdot, map(torch.flatten, slope(*tensors)), map(torch.flatten, tangents)))

    forward = jvp(slope, tensors, tangents)[1]
    assert_parity(forward, grad(along_tangents, everything)(*tensors))
    if sum(x.numel() for x in tensors) < 300:
        rows = hessian(loss, everything)(*tensors)
        products = tuple(sum(map(torch.tensordot, row, tangents, [t.ndim for t in tangents])) for row in rows)
        assert_parity(products, forward)


@every_layer
def test_maps_over_batches_are_loops(case):
    function, tensors = as_function(case)
    batch = tuple(torch.stack([x, -x, 2 * x]) for x in tensors)
    assert_parity(vmap(function)(*batch), torch.stack([function(*x) for x in zip(*batch)]))


@every_layer
def test_index_lists_and_inputs_can_be_mapped_over(case):
    module, both = case.module(), (case.arguments(), case.arguments())
    inputs, options = tree_map(lambda *x: torch.stack(x), *both)
    inputs = floating(lambda x: x * torch.arange(1, 3).reshape(2, *(1,) * (x.ndim - 1)), inputs)
    expected = [module(*tree_map(lambda x, i=i: x[i], inputs), **both[i][1]) for i in range(2)]
    assert_parity(vmap(lambda i, o: module(*i, **o))(inputs, options), torch.stack(expected))
