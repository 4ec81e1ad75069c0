"""Padding to buckets: what it adds, that layers pass over it, and that it saves compilations."""

from __future__ import annotations

from itertools import pairwise

import e3any_numpy
import jax
import numpy as np
import pytest
import torch

from e3any import nn, ops
from e3any.testing import assert_parity, count_traces

NODES = 10


@pytest.mark.parametrize(("growth", "multiple"), [(2, 8), (2**0.25, 8), (1.01, 1), (3, 5)])
def test_buckets_hold_what_they_are_for_and_grow_geometrically(growth, multiple):
    sizes = [ops.bucket_size(n, growth=growth, multiple=multiple) for n in range(500)]
    assert all(size >= n for n, size in enumerate(sizes))
    buckets = sorted(set(sizes))
    assert all(size % multiple == 0 for size in buckets)
    assert all(large <= max(small * growth + multiple, small + multiple) for small, large in pairwise(buckets))
    assert all(large >= small * growth for small, large in pairwise(buckets))
    assert [ops.bucket_size(size, growth=growth, multiple=multiple) for size in buckets] == buckets


@pytest.mark.parametrize("options", [{"num": -1}, {"num": 1, "growth": 1.0}, {"num": 1, "multiple": 0}])
def test_sizes_of_buckets_are_checked(options):
    with pytest.raises(ValueError, match=r"expected (num|growth|multiple)\b.*, got"):
        ops.bucket_size(**options)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rows_are_appended(library, rng, axis):
    x = rng.normal(size=(3, 4, 2))
    padded = library.numpy(ops.pad_rows(library.array(x), 6, axis=axis, value=7))
    shape = list(x.shape)
    shape[axis] = 6
    assert padded.shape == tuple(shape)
    np.testing.assert_array_equal(padded[:3, :4, :2], x)
    assert padded.sum() == pytest.approx(x.sum() + 7 * (padded.size - x.size))


def test_too_many_rows_are_an_error():
    with pytest.raises(ValueError, match=r"expected at most 2 rows along axis 0, got shape \(3,\)"):
        ops.pad_rows(np.zeros(3), 2)


def test_sparse_lists_point_at_no_node(library, rng):
    dst, src, values = np.asarray([[0, 1, 1]]), np.asarray([[1, 0, 2]]), rng.normal(size=(1, 3, 2))
    padded = ops.pad_sparse_indices(*map(library.array, (dst, src, values)), num_nodes=5, multiple=4)
    assert all(library.owns(x) for x in padded)
    np.testing.assert_array_equal(library.numpy(padded[0]), [[0, 1, 1, 5]])
    np.testing.assert_array_equal(library.numpy(padded[1]), [[1, 0, 2, 5]])
    np.testing.assert_array_equal(library.numpy(padded[2]), np.concatenate([values, np.zeros((1, 1, 2))], 1))


def test_dense_lists_point_at_no_node(library):
    adj, where = np.asarray([[1, 2], [0, 2]]), np.asarray([[True, True], [True, False]])
    padded, mask = ops.pad_dense_indices(library.array(adj), library.array(where), num_nodes=3, width=4)
    np.testing.assert_array_equal(library.numpy(padded), [[1, 2, 3, 3], [0, 2, 3, 3], [3, 3, 3, 3]])
    np.testing.assert_array_equal(library.numpy(mask)[:2, :2], where)
    assert library.numpy(mask).sum() == where.sum()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_lists_of_small_integers_grow_where_padding_needs_it(library, dtype):
    index = library.array(np.asarray([0, 1], dtype))
    dst, src = ops.pad_sparse_indices(index, index, num_nodes=300, num_edges=3)
    (adj,) = ops.pad_dense_indices(index[:, None], num_nodes=300, width=2)
    assert library.numpy(dst).tolist() == library.numpy(src).tolist() == [0, 1, 300]
    assert library.numpy(adj)[:2].tolist() == [[0, 300], [1, 300]]
    assert ops.pad_sparse_indices(index, index, num_nodes=100)[0].dtype == index.dtype
    graph = {"dst_idx": index, "src_idx": index, "x": library.array(np.ones((2, 1)))}
    assert library.numpy(ops.pad_graphs([graph] * 2, nodes=["x"], num_nodes=300)["src_idx"])[1, -1] == 300
    with pytest.raises(ValueError, match=f"expected a value that {dtype} holds, got 300: cast the array before"):
        ops.pad_rows(index, 4, value=300)


def test_values_of_edges_are_checked():
    with pytest.raises(ValueError, match=r"expected values whose shape begins with \(2,\), got \(3, 1\)"):
        ops.pad_sparse_indices(np.zeros(2, int), np.zeros(2, int), np.zeros((3, 1)), num_nodes=2)


def graph(rng, nodes, edges):
    """Return a random graph whose list of edges ascends."""
    dst, src = np.sort(rng.integers(0, nodes, edges)), rng.integers(0, nodes, edges)
    return {
        "dst_idx": dst,
        "src_idx": src,
        "x": rng.normal(size=(nodes, 1, 4, 3)),
        "radial": rng.normal(size=(edges, 1, 2)),
        "angular": rng.normal(size=(edges, 4)),
    }


def test_graphs_are_padded_and_stacked(library, rng):
    graphs = [graph(rng, 3, 7), graph(rng, 5, 2)]
    arrays = [{name: library.array(x) for name, x in g.items()} for g in graphs]
    batch = ops.pad_graphs(arrays, nodes=["x"], edges=["radial", "angular"])
    assert all(library.owns(x) for x in batch.values())
    assert tuple(batch["x"].shape) == (2, 8, 1, 4, 3)
    assert tuple(batch["angular"].shape) == (2, 8, 4)
    np.testing.assert_array_equal(library.numpy(batch["node_mask"]), np.arange(8) < np.asarray([[3], [5]]))
    np.testing.assert_array_equal(library.numpy(batch["src_idx"])[1], [*graphs[1]["src_idx"], *[8] * 6])


def test_a_batch_of_padded_graphs_gives_the_numbers_of_every_graph(rng):
    graphs = [graph(rng, 3, 7), graph(rng, 5, 2), graph(rng, 1, 0)]
    function = e3any_numpy.to_numpy(nn.MessagePass())

    def arguments(g):
        basis = nn.FactoredBasis(g["radial"], g["angular"])
        return (g["x"], basis), {name: g[name] for name in ("dst_idx", "src_idx")}

    inputs, lists = arguments(ops.pad_graphs(graphs, nodes=["x"], edges=["radial", "angular"]))
    params = function.init(rng, *inputs, **lists)
    together = function(params, *inputs, **lists)
    for number, g in enumerate(graphs):
        inputs, lists = arguments(g)
        alone = function(params, *inputs, **lists)
        np.testing.assert_allclose(together[number, : len(alone)], alone, atol=1e-12)
        assert not together[number, len(alone) :].any()


def test_graphs_are_checked(rng):
    with pytest.raises(ValueError, match="expected at least one graph and one array of nodes, got 0 and 1"):
        ops.pad_graphs([], nodes=["x"])
    with pytest.raises(ValueError, match=r"expected values of nodes whose shape begins with \(2,\), got \(5, 4\)"):
        ops.pad_graphs([graph(rng, 2, 3) | {"y": np.zeros((5, 4))}], nodes=["x", "y"])


def message_pass_loss(params, x, radial, angular, dst_idx, src_idx):
    """Return the sum of squares of the output of a layer."""
    basis = nn.FactoredBasis(radial, angular)
    lists = {"dst_idx": dst_idx, "src_idx": src_idx, "indices_are_sorted": True}
    return (e3any_numpy.to_numpy(nn.MessagePass())(params, x, basis, **lists) ** 2).sum()


@pytest.fixture
def params(rng):
    g = graph(rng, NODES, 8)
    basis = nn.FactoredBasis(g["radial"], g["angular"])
    lists = {"dst_idx": g["dst_idx"], "src_idx": g["src_idx"]}
    return e3any_numpy.to_numpy(nn.MessagePass()).init(rng, g["x"], basis, **lists)


def test_one_compilation_serves_a_bucket_and_changes_nothing(rng, params):
    counted = count_traces(message_pass_loss)
    compiled = jax.jit(jax.value_and_grad(counted, argnums=(0, 1, 2, 3)))
    counts = range(50, 60)
    assert {ops.bucket_size(n) for n in counts} == {64}
    for num in counts:
        g = graph(rng, NODES, num)
        lists = ops.pad_sparse_indices(g["dst_idx"], g["src_idx"], g["radial"], g["angular"], num_nodes=NODES)
        dst, src, radial, angular = lists
        value, (d_params, d_x, d_radial, d_angular) = compiled(params, g["x"], radial, angular, dst, src)
        assert not np.asarray(d_radial[num:]).any()
        assert not np.asarray(d_angular[num:]).any()
    assert counted.count == 1
    unpadded = compiled(params, g["x"], g["radial"], g["angular"], g["dst_idx"], g["src_idx"])
    assert_parity((value, (d_params, d_x, d_radial[:num], d_angular[:num])), unpadded)
    assert counted.count == 2


def test_padding_changes_nothing_in_torch(rng, params):
    g = graph(rng, NODES, 43)
    lists = ops.pad_sparse_indices(g["dst_idx"], g["src_idx"], g["radial"], g["angular"], num_nodes=NODES)
    dst, src, radial, angular = lists

    def value_and_gradients(dst, src, *arrays):
        leaves = [torch.from_numpy(x).requires_grad_() for x in arrays]
        trees = jax.tree.map(lambda x: torch.from_numpy(np.array(x)).requires_grad_(), params)
        value = message_pass_loss(trees, *leaves, torch.from_numpy(dst), torch.from_numpy(src))
        return value, torch.autograd.grad(value, [*jax.tree.leaves(trees), *leaves])

    value, (*grads, d_radial, d_angular) = value_and_gradients(dst, src, g["x"], radial, angular)
    assert_parity(
        (value, (*grads, d_radial[:43], d_angular[:43])),
        value_and_gradients(g["dst_idx"], g["src_idx"], g["x"], g["radial"], g["angular"]),
    )


def test_compilers_of_torch_are_counted():
    counted = count_traces(lambda graph, inputs: graph.forward)
    compiled = torch.compile(lambda x: x * 2, backend=counted, dynamic=False)
    for size in (3, 3, 4):
        compiled(torch.ones(size))
    assert counted.count == 2
