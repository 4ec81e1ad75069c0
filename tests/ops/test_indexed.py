"""Gathering from, and reductions over, neighbourhoods."""

from __future__ import annotations

import functools

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from backends_matrix import Library

from e3any import ops

N, M, E = 4, 3, 7
BATCHES = [(), (2, 3)]
batches = pytest.mark.parametrize("batch", BATCHES)
rests = pytest.mark.parametrize("rest", [(), (4, 2)])
reductions = pytest.mark.parametrize("name", ["indexed_sum", "indexed_min", "indexed_max"])
kinds = pytest.mark.parametrize("kind", ["dense", "sparse"])
PADDING = np.asarray([-1, N, N + 5, -N])


def make(rng, kind, batch=(), rest=()):
    """Return node values, edge values and an index list with empty neighbourhoods."""
    nodes = rng.normal(size=(*batch, N, *rest))
    if kind == "dense":
        where = rng.uniform(size=(*batch, N, M)) > 0.3
        where[..., 1, :] = False
        lists = {"adj_idx": rng.integers(0, N, size=(*batch, N, M)), "where": where}
        return nodes, rng.normal(size=(*batch, N, M, *rest)), lists
    # Nobody receives at node 1.
    dst_idx = np.asarray([0, 2, 3])[rng.integers(0, 3, size=(*batch, E))]
    lists = {"dst_idx": dst_idx, "src_idx": rng.integers(0, N, size=(*batch, E))}
    return nodes, rng.normal(size=(*batch, E, *rest)), lists


def of(library, lists):
    return {k: library.array(v) if isinstance(v, np.ndarray) else v for k, v in lists.items()}


def in_jax(lists):
    return {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in lists.items()}


@functools.cache
def compiled(function, *options):
    return jax.jit(lambda x, arrays: function(x, *options, **arrays, num_segments=N))


def by_e3x(name, x, lists, *options):
    """Call a function of e3x; one compilation serves all libraries."""
    arrays = {k: v for k, v in lists.items() if k != "num_segments"}
    return compiled(getattr(e3x.ops, name), *options)(x, arrays)


def by_us(library, name, x, lists, *options):
    """Call our function, compiled where the library is JAX."""
    arrays = of(library, {k: v for k, v in lists.items() if k != "num_segments"})
    function = getattr(ops, name)
    if library is Library.JAX:
        return compiled(function, *options)(library.array(x), arrays)
    return function(library.array(x), *options, **arrays, num_segments=N)


def given(kind, lists):
    """Add what reductions need."""
    return lists if kind == "dense" else {**lists, "num_segments": N}


def only(lists, *names):
    return {k: v for k, v in lists.items() if k in names}


@kinds
@batches
@rests
def test_gathered_values_equal_those_of_e3x(library, rng, kind, batch, rest):
    nodes, _, lists = make(rng, kind, batch, rest)
    for name, keys in (("gather_src", ("adj_idx", "src_idx")), ("gather_dst", ("adj_idx", "dst_idx"))):
        chosen = only(lists, *keys)
        actual = by_us(library, name, nodes, chosen)
        assert library.owns(actual)
        expected = by_e3x(name, nodes, chosen)
        np.testing.assert_array_equal(library.numpy(actual), expected)


@reductions
@kinds
@batches
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_equal_those_of_e3x(library, rng, name, kind, batch, keepdims):
    _, edges, lists = make(rng, kind, batch, (2,))
    lists = given(kind, lists)
    actual = by_us(library, name, edges, lists, keepdims)
    assert library.owns(actual)
    expected = by_e3x(name, edges, lists, keepdims)
    np.testing.assert_allclose(library.numpy(actual), expected, rtol=0, atol=1e-14)


@kinds
@batches
@rests
@pytest.mark.parametrize("masked", [False, True])
def test_softmax_equals_that_of_e3x_where_that_is_defined(library, rng, kind, batch, rest, masked):
    _, edges, lists = make(rng, kind, batch, rest)
    lists = given(kind, lists)
    if masked:
        lists["multiplicative_mask"] = rng.uniform(size=edges.shape)
    actual = library.numpy(by_us(library, "indexed_softmax", edges, lists))
    expected = np.asarray(by_e3x("indexed_softmax", edges, lists))
    if kind == "dense":
        where = lists["where"].reshape(*lists["where"].shape, *(1,) * len(rest))
        np.testing.assert_array_equal(actual[np.broadcast_to(~where, actual.shape)], 0)
        actual, expected = (x[np.broadcast_to(where, x.shape)] for x in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("name", ["indexed_sum", "indexed_min", "indexed_max", "indexed_softmax"])
def test_gradients_equal_those_of_e3x(rng, name, kind):
    _, edges, lists = make(rng, kind, (2,), (2,))
    lists = in_jax(given(kind, lists))
    # Empty neighbourhoods have no softmax in e3x, and infinite extremes: leave their nodes out.
    if kind == "dense":
        lists["where"] = lists["where"].at[..., 0].set(True)
    shape = getattr(ops, name)(jnp.asarray(edges), **lists).shape
    weights = rng.normal(size=shape)
    if kind == "dense" and name == "indexed_softmax":
        weights = weights * np.asarray(lists["where"])[..., None]
    elif kind == "sparse" and name in ("indexed_min", "indexed_max"):
        weights[:, 1] = 0

    def loss(module):
        return lambda x: jnp.sum(jnp.where(weights != 0, weights * getattr(module, name)(x, **lists), 0))

    actual, expected = (jax.jit(jax.grad(loss(module)))(jnp.asarray(edges)) for module in (ops, e3x.ops))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14)


@kinds
def test_gradients_of_gathered_values_equal_those_of_e3x(rng, kind):
    nodes, _, lists = make(rng, kind, (2,), (2,))
    chosen = in_jax(only(lists, "adj_idx", "src_idx"))
    weights = rng.normal(size=ops.gather_src(jnp.asarray(nodes), **chosen).shape)

    def loss(module):
        return lambda x: jnp.sum(weights * module.gather_src(x, **chosen) ** 2)

    actual, expected = (jax.jit(jax.grad(loss(module)))(jnp.asarray(nodes)) for module in (ops, e3x.ops))
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)


@kinds
@pytest.mark.parametrize("name", ["indexed_sum", "indexed_max", "indexed_softmax"])
def test_gradients_in_torch_are_those_in_jax(rng, kind, name):
    _, edges, lists = make(rng, kind, (2,), (2,))
    lists = given(kind, lists)
    function = getattr(ops, name)
    tensors = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in lists.items()}
    x = torch.from_numpy(edges).requires_grad_()
    y = function(x, **tensors)
    weights = rng.normal(size=tuple(y.shape))
    finite = (y > -1e300).detach()
    torch.sum(torch.where(finite, y * torch.from_numpy(weights), torch.zeros_like(y))).backward()
    expected = jax.grad(lambda x: jnp.sum(jnp.where(finite.numpy(), function(x, **in_jax(lists)) * weights, 0)))(
        jnp.asarray(edges)
    )
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=0, atol=1e-14)


@batches
def test_padding_is_gathered_as_zero(library, rng, batch):
    nodes = rng.normal(size=(*batch, N, 2))
    idx = np.broadcast_to(np.concatenate([PADDING, [0, N - 1]]), (*batch, 6)).copy()
    x = library.array(nodes)
    for name in ("src_idx", "dst_idx"):
        gather = ops.gather_src if name == "src_idx" else ops.gather_dst
        y = library.numpy(gather(x, **{name: library.array(idx)}))
        np.testing.assert_array_equal(y[..., :4, :], 0)
        np.testing.assert_array_equal(y[..., 4:, :], nodes[..., [0, N - 1], :])
    adj_idx = np.broadcast_to(idx[..., None, :], (*batch, N, 6)).copy()
    y = library.numpy(ops.gather_src(x, adj_idx=library.array(adj_idx)))
    np.testing.assert_array_equal(y[..., :4, :], 0)
    np.testing.assert_array_equal(y[..., 4, :], np.broadcast_to(nodes[..., :1, :], nodes.shape))


@batches
@reductions
@pytest.mark.parametrize("keepdims", [False, True])
def test_padding_is_left_out_of_reductions(library, rng, batch, name, keepdims):
    _, edges, lists = make(rng, "sparse", batch, (2,))
    function, dst_idx = getattr(ops, name), lists["dst_idx"]
    padded = np.concatenate([np.broadcast_to(PADDING, (*batch, 4)), dst_idx], axis=-1)
    extremes = np.broadcast_to(np.asarray([1e9, -1e9, 1e9, -1e9])[:, None], (*batch, 4, 2))
    y = function(
        library.array(np.concatenate([extremes, edges], axis=-2)),
        keepdims,
        dst_idx=library.array(padded),
        num_segments=N,
    )
    expected = function(edges, keepdims, dst_idx=dst_idx, num_segments=N)
    if keepdims:
        np.testing.assert_array_equal(library.numpy(y)[..., :4, :], 0)
        y = y[..., 4:, :]
    np.testing.assert_allclose(library.numpy(y), expected, rtol=0, atol=1e-14)


def test_padding_is_zero_in_the_softmax_and_changes_nothing_else(library, rng):
    _, edges, lists = make(rng, "sparse", (2,), (2,))
    padded = np.concatenate([np.broadcast_to(PADDING, (2, 4)), lists["dst_idx"]], axis=-1)
    values = np.concatenate([np.full((2, 4, 2), 1e9), edges], axis=1)
    y = library.numpy(ops.indexed_softmax(library.array(values), dst_idx=library.array(padded), num_segments=N))
    np.testing.assert_array_equal(y[:, :4], 0)
    expected = ops.indexed_softmax(edges, dst_idx=lists["dst_idx"], num_segments=N)
    np.testing.assert_allclose(y[:, 4:], expected, rtol=1e-14)


@kinds
def test_softmax_is_zero_and_smooth_where_everything_is_masked(library, rng, kind):
    _, edges, lists = make(rng, kind, (), (2,))
    lists = given(kind, lists)
    zeros = library.array(np.zeros(edges.shape))
    y = ops.indexed_softmax(library.array(edges), zeros, **of(library, lists))
    np.testing.assert_array_equal(library.numpy(y), 0)
    if kind == "dense":
        lists["where"] = np.zeros_like(lists["where"])
    else:
        lists["dst_idx"] = np.full_like(lists["dst_idx"], N)
    y = ops.indexed_softmax(library.array(edges), **of(library, lists))
    np.testing.assert_array_equal(library.numpy(y), 0)
    if library is Library.JAX:
        loss = lambda x: jnp.sum(ops.indexed_softmax(x, **in_jax(lists)))
        gradient = jax.jit(jax.grad(loss))(jnp.asarray(edges))
        np.testing.assert_array_equal(gradient, 0)


@kinds
def test_softmax_sums_to_one_and_does_not_overflow(library, rng, kind):
    _, edges, lists = make(rng, kind, (2,), (2,))
    lists = of(library, given(kind, lists))
    y = ops.indexed_softmax(library.array(1e4 * edges), **lists)
    total = library.numpy(ops.indexed_sum(y, **lists))
    ones = library.array(np.ones(edges.shape))
    count = library.numpy(ops.indexed_sum(ones, **lists))
    np.testing.assert_allclose(total, count > 0, rtol=0, atol=1e-14)


@batches
def test_empty_lists_give_sums_of_zero(library, batch):
    dst_idx = library.array(np.zeros((*batch, 0), np.int64))
    edges = library.array(np.zeros((*batch, 0, 2)))
    sums = ops.indexed_sum(edges, dst_idx=dst_idx, num_segments=N)
    np.testing.assert_array_equal(library.numpy(sums), np.zeros((*batch, N, 2)))
    largest = ops.indexed_max(edges, dst_idx=dst_idx, num_segments=N)
    np.testing.assert_array_equal(library.numpy(largest), np.full((*batch, N, 2), -np.inf))
    smallest = ops.indexed_min(edges, dst_idx=dst_idx, num_segments=N)
    np.testing.assert_array_equal(library.numpy(smallest), np.full((*batch, N, 2), np.inf))
    assert tuple(ops.indexed_softmax(edges, dst_idx=dst_idx, num_segments=N).shape) == (*batch, 0, 2)
    nodes = library.array(np.zeros((*batch, N, 2)))
    assert tuple(ops.gather_src(nodes, src_idx=dst_idx).shape) == (*batch, 0, 2)


def test_no_nodes_and_no_batches_give_empty_arrays(library):
    idx = library.array(np.asarray([0, -1]))
    y = ops.gather_src(library.array(np.zeros((0, 2))), src_idx=idx)
    np.testing.assert_array_equal(library.numpy(y), np.zeros((2, 2)))
    y = ops.indexed_sum(library.array(np.ones((2, 3))), dst_idx=idx, num_segments=0)
    assert tuple(y.shape) == (0, 3)
    idx = library.array(np.zeros((0, 5), np.int64))
    y = ops.indexed_sum(library.array(np.ones((0, 5, 3))), dst_idx=idx, num_segments=N)
    assert tuple(y.shape) == (0, N, 3)


@kinds
def test_dtype_is_kept(library, rng, kind):
    nodes, edges, lists = make(rng, kind)
    lists = of(library, given(kind, lists))
    x, y = library.array(edges, "float32"), library.array(nodes, "float32")
    for name in ("indexed_sum", "indexed_min", "indexed_max", "indexed_softmax"):
        assert getattr(ops, name)(x, **lists).dtype == x.dtype
    assert ops.gather_src(y, **only(lists, "adj_idx", "src_idx")).dtype == x.dtype
    assert ops.gather_dst(y, **only(lists, "adj_idx", "dst_idx")).dtype == x.dtype


@reductions
@kinds
def test_integers_are_reduced(library, rng, name, kind):
    _, edges, lists = make(rng, kind, (2,), (2,))
    edges = np.round(10 * edges).astype(np.int32)
    if kind == "sparse":  # an empty neighbourhood has no largest integer
        lists["dst_idx"] = np.broadcast_to(np.arange(E) % N, (2, E)).copy()
    else:
        lists["where"][..., 0] = True
    lists = given(kind, lists)
    actual = by_us(library, name, edges, lists)
    assert actual.dtype == library.array(edges).dtype
    expected = by_e3x(name, edges, lists)
    np.testing.assert_array_equal(library.numpy(actual), expected)


def test_empty_neighbourhoods_of_integers_give_the_ends_of_their_range(library):
    edges = library.array(np.asarray([3, 4]), "int32")
    lists = {"dst_idx": library.array(np.asarray([0, 0])), "num_segments": 2}
    info = np.iinfo(np.int32)
    np.testing.assert_array_equal(library.numpy(ops.indexed_max(edges, **lists)), [4, info.min])
    np.testing.assert_array_equal(library.numpy(ops.indexed_min(edges, **lists)), [3, info.max])
    np.testing.assert_array_equal(library.numpy(ops.indexed_sum(edges, **lists)), [7, 0])


@batches
@pytest.mark.parametrize("integer", ["int8", "uint8"])
def test_lists_may_be_narrow(library, rng, batch, integer):
    """400 nodes are more than integers of 8 bits count."""
    nodes, edges = rng.normal(size=(*batch, 400, 2)), rng.normal(size=(*batch, E, 2))
    idx = rng.integers(0, 100, size=(*batch, E))

    def results(integer):
        given, x = library.array(idx, integer), library.array(edges)
        yield ops.gather_src(library.array(nodes), src_idx=given)
        for function in (ops.indexed_sum, ops.indexed_max, ops.indexed_softmax):
            yield function(x, dst_idx=given, num_segments=400)

    for narrow, wide in zip(results(integer), results("int64"), strict=True):
        np.testing.assert_array_equal(library.numpy(narrow), library.numpy(wide))


def test_a_promise_of_sorted_indices_changes_nothing(library, rng):
    x = library.array(rng.normal(size=(5, 2)))
    idx = library.array(np.asarray([0, 0, 2, 3, 3]))
    sorted_sum = ops.indexed_sum(x, dst_idx=idx, num_segments=N, indices_are_sorted=True)
    expected = ops.indexed_sum(x, dst_idx=idx, num_segments=N)
    np.testing.assert_array_equal(library.numpy(sorted_sum), library.numpy(expected))
    batch = library.array(np.asarray([[0, 0, 2, 3, 3]] * 2))
    x = library.array(rng.normal(size=(2, 5, 2)))
    sorted_sum = ops.indexed_sum(x, dst_idx=batch, num_segments=N, indices_are_sorted=True)
    expected = ops.indexed_sum(x, dst_idx=batch, num_segments=N)
    np.testing.assert_array_equal(library.numpy(sorted_sum), library.numpy(expected))


@pytest.mark.parametrize("num", [1, 2, 5])
@pytest.mark.parametrize("mask_self", [True, False])
def test_pairwise_indices_equal_those_of_e3x(library, num, mask_self):
    dense = ops.dense_pairwise_indices(num, mask_self, xp=library.xp)
    assert library.owns(dense)
    np.testing.assert_array_equal(library.numpy(dense), e3x.ops.dense_pairwise_indices(num, mask_self))
    sparse = ops.sparse_pairwise_indices(num, mask_self, xp=library.xp)
    expected = e3x.ops.sparse_pairwise_indices(num, mask_self)
    for actual, other in zip(sparse, expected):
        np.testing.assert_array_equal(library.numpy(actual), other)


@pytest.mark.parametrize("num", [0, -1])
def test_pairs_of_no_nodes_raise(num):
    for function in (ops.dense_pairwise_indices, ops.sparse_pairwise_indices):
        with pytest.raises(ValueError, match=rf"expected num to be an integer >= 1, got {num}"):
            function(num)


class TestBadInput:
    @pytest.fixture
    def idx(self, library):
        return library.array(np.zeros((N, M), np.int64))

    @pytest.fixture
    def x(self, library):
        return library.array(np.zeros((N, M)))

    @pytest.mark.parametrize("name", ["gather_src", "gather_dst", "indexed_sum", "indexed_min"])
    def test_neither_or_both_lists(self, x, idx, name):
        function = getattr(ops, name)
        with pytest.raises(RuntimeError, match=r"got neither"):
            function(x)
        sparse = "src_idx" if name == "gather_src" else "dst_idx"
        with pytest.raises(RuntimeError, match=r"got both"):
            function(x, adj_idx=idx, **{sparse: idx})

    def test_index_kind(self, library, idx):
        assert ops.index_kind(adj_idx=idx) == "dense"
        assert ops.index_kind(dst_idx=idx) == ops.index_kind(src_idx=idx, dst_idx=idx) == "sparse"
        with pytest.raises(RuntimeError, match="got neither"):
            ops.index_kind()
        with pytest.raises(ValueError, match=r"one shape, got \(4, 3\) and \(2,\)"):
            ops.index_kind(dst_idx=idx, src_idx=library.array(np.zeros(2, np.int64)))

    @pytest.mark.parametrize("dtype", ["float64", "bool"])
    def test_indices_are_no_integers(self, library, x, dtype):
        with pytest.raises(TypeError, match="expected src_idx to be an integer array, got dtype"):
            ops.gather_src(x, src_idx=library.array(np.zeros(2), dtype))
        with pytest.raises(TypeError, match="expected adj_idx to be an integer array, got dtype"):
            ops.indexed_sum(x, adj_idx=library.array(np.zeros((N, M)), dtype), where=x > 0)

    @pytest.mark.parametrize("name", ["indexed_sum", "indexed_max", "indexed_min", "indexed_softmax"])
    def test_where_or_num_segments_is_missing(self, x, idx, name):
        with pytest.raises(TypeError, match="expected where with a dense index list, got None"):
            getattr(ops, name)(x, adj_idx=idx)
        with pytest.raises(TypeError, match="expected num_segments with a sparse index list, got None"):
            getattr(ops, name)(x, dst_idx=idx)

    @pytest.mark.parametrize("name", ["indexed_sum", "indexed_max", "indexed_min", "indexed_softmax"])
    def test_inputs_do_not_fit(self, library, x, idx, name):
        function = getattr(ops, name)
        for shape in ((), (N,), (N, M + 1), (1, M)):
            values = library.array(np.zeros(shape))
            with pytest.raises(ValueError, match=r"expected inputs whose shape begins with \(4, 3\), as adj_idx"):
                function(values, adj_idx=idx, where=x > 0)
            with pytest.raises(ValueError, match=r"expected inputs whose shape begins with \(4, 3\), as dst_idx"):
                function(values, dst_idx=idx, num_segments=N)
        with pytest.raises(ValueError, match=r"expected where of shape \(4, 3\), as adj_idx, got \(3,\)"):
            function(x, adj_idx=idx, where=x[0, ...] > 0)

    def test_gathered_values_do_not_fit(self, library, x, idx):
        for shape in ((), (N + 1, 2)):
            with pytest.raises(ValueError, match="expected inputs whose shape begins with"):
                ops.gather_dst(library.array(np.zeros(shape)), adj_idx=idx)
            with pytest.raises(ValueError, match="expected inputs of shape"):
                ops.gather_src(library.array(np.zeros(shape)), src_idx=idx)

    def test_dense_list_of_one_axis(self, library):
        vector, x = library.array(np.zeros(2, np.int64)), library.array(np.zeros(2))
        for gather in (ops.gather_src, ops.gather_dst):
            with pytest.raises(ValueError, match=r"expected adj_idx to have at least 2 axes, got shape \(2,\)"):
                gather(x, adj_idx=vector)

    def test_where_is_no_bool_array(self, x, idx):
        with pytest.raises(TypeError, match="expected where to be a bool array, got dtype"):
            ops.indexed_sum(x, adj_idx=idx, where=idx)

    def test_inputs_are_no_numbers(self, x, idx):
        with pytest.raises(TypeError, match="expected inputs of real numbers, got dtype"):
            ops.indexed_sum(x > 0, dst_idx=idx, num_segments=N)

    def test_softmax_of_integers_or_of_another_mask(self, library, x, idx):
        with pytest.raises(ValueError, match="expected inputs of floating-point numbers, got dtype"):
            ops.indexed_softmax(idx, dst_idx=idx, num_segments=N)
        mask = library.array(np.zeros(M))
        with pytest.raises(ValueError, match=r"expected multiplicative_mask of shape \(4, 3\), got \(3,\)"):
            ops.indexed_softmax(x, mask, dst_idx=idx, num_segments=N)
