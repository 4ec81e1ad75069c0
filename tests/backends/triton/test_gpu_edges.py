"""Message passing by kernels for GPUs against the references in float64, to second derivatives."""

from __future__ import annotations

import pytest
import torch
from e3any_backends import backend_of, kernels
from e3any_backends.torch import gpu, gpu_graphs

from e3any.nn.layers.couplings import coupling_plan
from e3any.nn.layers.irrep_paths import path_form

NODES = 5


def problem(degrees, parities, features, edges=20, dtype=torch.float64, hub=False):
    """Return operands, cotangents of all of them, indices with padding, and the plan."""
    generator = torch.Generator().manual_seed(0)
    (basis, inner, outer), (p, q) = degrees, parities
    plan = coupling_plan((1, basis + 1, p, inner + 1, q, outer + 1), False)
    shapes = [(NODES, p, (inner + 1) ** 2, features), (edges, (basis + 1) ** 2), (edges, basis + 1, features)]
    shapes += [(*plan.kernel_shape, features), (NODES, q, (outer + 1) ** 2, features)]
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes + shapes]
    dst, src = (torch.randint(-1, NODES + 1, (edges,), generator=generator) for _ in range(2))
    dst = dst.clamp(1, 2) if hub else dst
    return tensors[:4], tensors[4], tensors[5:9], (dst, src), plan


def reference(x, angular, radial, kernel, indices, num, plan):
    """Return the same as ``gpu.convolve``, by operations of PyTorch."""
    backend, (dst, src) = backend_of(x), indices
    with kernels.enabled(False):
        sums = backend.edge_products(x.flatten(1, 2), angular, radial, src, dst, num)
        return backend.couple_pair_features(sums.unflatten(2, x.shape[1:3]), kernel, plan)


def reference_paths(x, angular, weights, indices, num, form):
    """Return the same as ``gpu.sum_paths``, by operations of PyTorch."""
    dst, src = indices
    with kernels.enabled(False):
        return backend_of(x).path_sums(x, angular, weights, src, dst, num, form)


def derivatives(function, operands, cotangent, directions, indices, plan, which):
    """Return the value, all gradients, and the gradients of products of directions and some gradients."""
    leaves = [t.detach().requires_grad_() for t in (*operands, cotangent)]
    value = function(*leaves[:-1], indices, NODES, plan)
    gradients = torch.autograd.grad(value, leaves[:-1], leaves[-1], create_graph=True)
    total = sum((directions[n] * gradients[n]).sum() for n in which)
    return [value, *gradients, *torch.autograd.grad(total, leaves)]


def assert_all_close(found, wanted, dtype, condition=1):
    # Sums are in float32 for bfloat16: only results, and what is saved for gradients, are rounded.
    tolerance = 2**-7 if dtype == torch.bfloat16 else 10 * torch.finfo(dtype).eps
    for a, b in zip(found, wanted):
        assert a.dtype == dtype
        assert a.shape == b.shape
        assert (a.double() - b).abs().max() <= condition * tolerance * b.abs().max()


CASES = {
    "a multiple of the block": ((1, 1, 1), (1, 1), 16, torch.float64, (0, 1, 2)),
    "an odd number of features": ((1, 1, 1), (1, 1), 33, torch.float32, (0, 1, 2)),
    "directions of weights": ((1, 1, 1), (1, 1), 4, torch.float64, (0, 1, 2, 3)),
    "directions of edges": ((1, 1, 1), (1, 1), 4, torch.float64, (1, 2)),
    "bfloat16": ((1, 1, 1), (1, 1), 4, torch.bfloat16, (0, 1, 2)),
    "both parities": ((1, 1, 1), (2, 2), 3, torch.float64, (0, 1)),
    "three different degrees": ((1, 0, 2), (1, 2), 3, torch.float64, (0, 1, 2)),
    "degree 2": ((2, 2, 2), (1, 1), 2, torch.float32, (0, 1, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_two_orders_are_those_of_the_reference(name):
    degrees, parities, features, dtype, which = CASES[name]
    operands, cotangent, directions, indices, plan = problem(degrees, parities, features, dtype=dtype)
    found = derivatives(gpu.convolve, operands, cotangent, directions, indices, plan, which)
    wide = [[t.double() for t in group] for group in (operands, [cotangent], directions)]
    wanted = derivatives(reference, wide[0], wide[1][0], wide[2], indices, plan, which)
    assert_all_close(found, wanted, dtype)


@pytest.mark.parametrize(
    ("irreps", "dtype"), [((("0", 5), ("1", 3)), torch.float64), ((("0+", 4), ("1-", 4)), torch.float32)]
)
def test_weights_of_edges_have_derivatives_of_two_orders(irreps, dtype):
    indices, generator = problem((0, 0, 0), (1, 1), 1, 12)[3], torch.Generator().manual_seed(1)
    names = tuple(name for name, _ in irreps)
    form = path_form(irreps, names, names, False)
    shapes = (NODES, form.blocks[-1].x.stop), (12, form.num_harmonics), (12, form.blocks[-1].weights.stop)
    operands, along = ([torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes] for _ in range(2))
    cotangent = torch.randn(NODES, form.num_sums, generator=generator, dtype=torch.float64)
    wanted = derivatives(reference_paths, operands, cotangent, along, indices, form, (0, 1, 2))
    narrow = [t.to(dtype) for t in operands], cotangent.to(dtype), [t.to(dtype) for t in along]
    found = derivatives(gpu.sum_paths, *narrow, indices, form, (0, 1, 2))
    # Rounding the operands changes the numbers as well.
    assert_all_close(found, wanted, dtype, 1 if dtype == torch.float64 else 10)


def test_long_rows_are_split_and_added_in_order():
    operands, cotangent, directions, indices, plan = problem((0, 1, 1), (1, 1), 2, edges=200, hub=True)
    both = [
        derivatives(function, operands, cotangent, directions, indices, plan, (0, 1))
        for function in (gpu.convolve, reference)
    ]
    assert_all_close(*both, torch.float64)


def test_lists_are_made_once_for_a_graph_and_again_for_another():
    (dst, src), sizes = problem((0, 0, 0), (1, 1), 1)[3], (NODES, NODES, True)
    first = gpu_graphs.graph_lists(dst, src, *sizes)
    assert gpu_graphs.graph_lists(dst, src, *sizes) is first
    dst[0] = (dst[0] + 2) % NODES
    assert gpu_graphs.graph_lists(dst, src, *sizes) is not first
    assert len(first) == 8


def test_lists_have_padding_last():
    dst, src = torch.tensor([1, 2, -1, 0, 1, 1]), torch.tensor([0, 1, 1, 9, 1, 0])
    ptr, nodes, others, order = gpu_graphs.graph_lists(dst, src, 3, 2, False)
    assert ptr.tolist() == [0, 0, 3, 4, 6]
    assert nodes.tolist() == [1, 1, 1, 2, 3, 3]
    assert others.tolist()[:4] == [0, 1, 0, 1]
    assert order.tolist() == [0, 4, 5, 1, 2, 3]


def test_compiled_programs_call_the_operators():
    (x, angular, radial, kernel), cotangent, _, indices, plan = problem((1, 0, 1), (1, 1), 2, edges=6)

    def layer(x, angular):
        return gpu.convolve(x, angular, radial, kernel, indices, NODES, plan)

    def gradients(function):
        leaves = [x.detach().requires_grad_(), angular.detach().requires_grad_()]
        value = function(*leaves)
        return value, *torch.autograd.grad(value, leaves, cotangent)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_all_close(gradients(compiled), gradients(layer), torch.float64)


def test_exported_programs_keep_the_operator():
    (x, angular, radial, kernel), _, _, indices, plan = problem((1, 0, 1), (1, 1), 2, edges=6)

    class Layer(torch.nn.Module):
        def forward(self, x, angular):
            return gpu.convolve(x, angular, radial, kernel, indices, NODES, plan)

    program = torch.export.export(Layer(), (x, angular))
    assert "e3any_gpu.contractions" in program.graph_module.code
    assert_all_close([program.module()(x, angular)], [Layer()(x, angular)], torch.float64)
