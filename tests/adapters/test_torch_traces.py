"""Traces of PyTorch whose sizes are symbols or tensors: right at other sizes, or refused with what to use instead."""

from __future__ import annotations

import e3any_torch as e3t
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from e3any import Layout

# PyTorch itself warns of what it deprecates, and of ifs in traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

LAYOUT = Layout(max_degree=1, features=16)


def of_rows(rows):
    """Features of nodes, and a list of edges that is a ring."""
    generator = torch.Generator().manual_seed(0)
    nodes = torch.arange(rows)
    return torch.randn(rows, 1, 4, 16, generator=generator), nodes, nodes.roll(1)


def sums(x, dst_idx, src_idx):
    return e3t.ops.indexed_sum(e3t.ops.gather_src(x, src_idx=src_idx), dst_idx=dst_idx, num_segments=x.shape[0])


@pytest.fixture(params=["Dense", "Tensor", "MessagePass", "sums"])
def function(request):
    torch.manual_seed(0)
    if request.param == "Dense":
        dense = e3t.nn.Dense(LAYOUT, 8)
        return lambda x, *_: dense(x)
    if request.param == "Tensor":
        tensor = e3t.nn.Tensor(LAYOUT, LAYOUT)
        return lambda x, *_: tensor(x, x)
    if request.param == "MessagePass":
        layer = e3t.nn.MessagePass(LAYOUT, LAYOUT)
        return lambda x, dst_idx, src_idx: layer(x, x[dst_idx], dst_idx=dst_idx, src_idx=src_idx)
    return sums


def test_symbolic_sizes_of_make_fx_are_those_of_other_arrays_too(function):
    with torch.no_grad():
        traced = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*of_rows(5))
        for rows in (5, 9):
            torch.testing.assert_close(traced(*of_rows(rows)), function(*of_rows(rows)), rtol=1e-5, atol=1e-6)


def test_jit_trace_is_refused_where_it_would_keep_the_sizes_of_one_call(function):
    message = "expected .*, got tensor.*torch.jit.trace.* use torch.compile or torch.export.export"
    with pytest.raises(ValueError, match=message):
        torch.jit.trace(function, of_rows(5), check_trace=False)


def test_jit_trace_of_what_needs_no_sizes_holds_for_others():
    def harmonics(r):
        return e3t.so3.spherical_harmonics(r, 2)

    traced = torch.jit.trace(harmonics, (torch.ones(5, 3),), check_trace=False)
    torch.testing.assert_close(traced(torch.eye(3)), harmonics(torch.eye(3)))


def test_numbers_of_nodes_that_are_symbols_are_refused_where_a_trace_keeps_their_value():
    message = "expected num to be an integer, got .*, a symbol of a trace .* torch.export.export"
    with pytest.raises(ValueError, match=message):
        make_fx(lambda x: e3t.ops.sparse_pairwise_indices(x.shape[0]), tracing_mode="symbolic")(torch.ones(5))


def test_tensors_outside_of_traces_are_numbers_of_segments():
    x, dst_idx, src_idx = of_rows(5)
    found = e3t.ops.indexed_sum(x[src_idx], dst_idx=dst_idx, num_segments=dst_idx.max() + 1)
    torch.testing.assert_close(found, sums(x, dst_idx, src_idx))
