"""Laws of layers that sum over neighbours, for graphs, padding and parameters that are drawn."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library
from drawn_cases import Graph, basis_of, graphs
from e3any_backends import kernels
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import cast, jit, torch_gradient, tree_map

from e3any import nn
from e3any.testing import assert_equivariant, assert_parity, strategies

VALUES = st.sampled_from([np.nan, np.inf, 1e30])
KINDS = ["features", "vectors"]


def is_inside(idx: np.ndarray, num: int) -> np.ndarray:
    return (idx >= 0) & (idx < num)


def real_edges(graph: Graph) -> np.ndarray:
    """Return the mask of edges that are no padding."""
    return functools.reduce(np.logical_and, (is_inside(idx, len(graph.x)) for idx in graph.lists.values()))


@given(graphs(), strategies.rotations())
def test_layers_are_equivariant(graph, rotation):
    assert_equivariant(graph.output, graph.x, graph.r, kinds=KINDS, rotation=rotation)


@given(graphs(), strategies.rotations())
def test_gradients_of_layers_are_equivariant(graph, rotation):
    on_torch = graph.but(params=cast(graph.params, Library.TORCH), lists=cast(graph.lists, Library.TORCH))
    x, r = cast((graph.x, graph.r), Library.TORCH)
    # Where two nodes coincide there is no direction, and a gradient but for degree 1 that vanishes as the vector does.
    away = torch.linalg.vector_norm(r, dim=-1) > 0
    by_features = torch_gradient(on_torch.output)
    assert_equivariant(by_features, x, r, kinds=KINDS, rotation=rotation)
    by_vectors = torch_gradient(lambda r, x: on_torch.output(x, r))
    forces = lambda x, r: torch.where(away[..., None], by_vectors(r, x), 0.0)
    assert_equivariant(forces, x, r, kinds=KINDS, output="vectors", rotation=rotation)


@given(graphs(), st.data())
def test_names_of_nodes_do_not_matter(graph, data):
    num = len(graph.x)
    order = np.asarray(data.draw(st.permutations(range(num))))
    name = np.argsort(order)
    lists = {key: np.where(is_inside(i, num), name[np.clip(i, 0, num - 1)], i) for key, i in graph.lists.items()}
    renamed = graph.but(x=graph.x[order], lists=lists)
    if "adj_idx" in lists:
        renamed = renamed.but(r=graph.r[order], lists={"adj_idx": lists["adj_idx"][order]})
    assert_parity(renamed.output(), graph.output()[order])


@given(graphs(), st.data())
def test_order_of_edges_does_not_matter(graph, data):
    axis = graph.r.ndim - 2
    order = np.asarray(data.draw(st.permutations(range(graph.r.shape[axis]))))
    lists = {key: np.take(idx, order, axis=axis) for key, idx in graph.lists.items()}
    assert_parity(graph.but(r=np.take(graph.r, order, axis=axis), lists=lists).output(), graph.output())


@given(graphs(), st.integers(0, 3), st.data())
def test_padding_does_not_matter(graph, more, data):
    """Edges that are padding, whatever their vectors, and nodes that no edge reaches change nothing."""
    axis, num = graph.r.ndim - 2, len(graph.x)
    missing = ~real_edges(graph)
    r = np.where(missing[..., None], data.draw(strategies.vectors(*missing.shape)), graph.r)
    shape = (*r.shape[:axis], more)
    r = np.concatenate([r, data.draw(strategies.vectors(*shape))], axis=axis)
    lists = {key: np.concatenate([i, np.full(shape, -1)], axis=axis) for key, i in graph.lists.items()}
    assert_parity(graph.but(r=r, lists=lists).output(), graph.output())
    if "dst_idx" in lists:
        # What was out of range must stay so where there are more nodes.
        lists = {key: np.where(is_inside(idx, num), idx, -1) for key, idx in lists.items()}
        x = np.concatenate([graph.x, np.ones_like(graph.x[:1])])
        assert_parity(graph.but(x=x, r=r, lists=lists).output()[:num], graph.output())


@given(graphs(), VALUES)
def test_nodes_do_not_depend_on_those_that_send_nothing_to_them(graph, value):
    lists = graph.lists
    senders = lists["adj_idx"][0] if "adj_idx" in lists else lists["src_idx"][lists["dst_idx"] == 0]
    others = ~np.isin(np.arange(len(graph.x)), senders)  # the first node sends to itself
    x = graph.x.copy()
    x[others] = value
    with np.errstate(all="ignore"):
        assert_parity(graph.output(x)[:1], graph.output()[:1])


@given(graphs(kind="sparse"), VALUES)
def test_graphs_of_a_batch_do_not_depend_on_each_other(graph, value):
    for other in (graph.x[::-1], np.full_like(graph.x, value)):
        x, r = np.stack([graph.x, other]), np.stack([graph.r, graph.r[::-1]])
        lists = {key: np.stack([idx, idx[::-1]]) for key, idx in graph.lists.items()}
        with np.errstate(all="ignore"):
            batch = graph.but(x=x, r=r, lists=lists).output()
        assert_parity(batch[0], graph.output())


@given(graphs(kind="dense"))
def test_dense_and_sparse_lists_give_the_same(graph):
    adj_idx = graph.lists["adj_idx"]
    dst_idx = np.repeat(np.arange(len(graph.x)), adj_idx.shape[1])
    sparse = {"dst_idx": dst_idx, "src_idx": adj_idx.ravel()}
    assert_parity(graph.but(r=graph.r.reshape(-1, 3), lists=sparse).output(), graph.output())


@given(graphs())
def test_both_forms_of_a_basis_give_the_same(graph):
    assert_parity(graph.but(factored=not graph.factored).output(), graph.output())


@given(graphs(st.builds(nn.MessagePass, st.none() | st.integers(0, 2))), st.integers(-8, 8))
def test_messages_are_linear_in_features(graph, factor):
    other = np.cos(np.arange(graph.x.size)).reshape(graph.x.shape)
    sum_of_images = graph.output() + factor / 4 * graph.output(other)
    assert_parity(graph.output(graph.x + factor / 4 * other), sum_of_images)


@given(graphs(), st.sampled_from(["float64", "float32"]))
def test_libraries_agree_and_keep_dtypes(graph, dtype):
    def on(library):
        params, x, r = (cast(a, library, dtype) for a in (graph.params, graph.x, graph.r))
        return graph.but(params=params, x=x, r=r, lists=cast(graph.lists, library)).output()

    for library in (Library.STRICT, Library.TORCH):
        assert_parity(on(library), on(Library.NUMPY), dtype)


@given(graphs(), st.sampled_from(["float64", "float32"]))
def test_kernels_give_what_plain_forms_give(graph, dtype):
    tensors = tree_map(lambda a: torch.from_numpy(a.astype(dtype)).requires_grad_(), (graph.params, graph.x, graph.r))
    params, x, r = tensors
    case = graph.but(params=params, lists=cast(graph.lists, Library.TORCH))
    results = []
    for enabled in (True, False):
        with kernels.enabled(enabled):
            y = case.output(x, r)
            results.append([y.detach(), *torch.autograd.grad(y.sin().sum(), [x, r])])
    assert_parity(*results, dtype)


# JAX compiles for each shape: all graphs have the same.
LAYERS = {"sparse": nn.MessagePass(2, use_basis_bias=True), "dense": nn.SelfAttention(1, num_heads=2)}


@pytest.mark.parametrize("kind", LAYERS)
def test_jax_gives_the_numbers_of_torch(kind):
    layer = LAYERS[kind]

    def energy(x, r, params, lists, xp):
        return xp.sum(xp.sin(layer(params, x, basis_of(r, 1, True), **lists)))

    of_jax = jit(jax.grad(lambda *inputs: energy(*inputs, jnp), argnums=(0, 1)))

    @given(graphs(st.just(layer), kind, fixed=True))
    def check(graph):
        inputs = (graph.x, graph.r, graph.params, graph.lists)
        x, r, params, lists = cast(inputs, Library.TORCH)
        x.requires_grad_(), r.requires_grad_()
        expected = torch.autograd.grad(energy(x, r, params, lists, torch), [x, r])
        assert_parity(of_jax(*cast(inputs, Library.JAX)), expected)

    check()
