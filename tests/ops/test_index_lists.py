"""Index lists that are narrow, point at other nodes, or are empty along one axis."""

from __future__ import annotations

import numpy as np
import pytest

from e3any import ops

reductions = pytest.mark.parametrize("name", ["indexed_sum", "indexed_min", "indexed_max"])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_numbers_of_nodes_of_a_batch_may_exceed_the_dtype_of_the_list(library, rng, dtype):
    x = rng.normal(size=(40, 10, 2))  # 400 nodes
    idx = rng.integers(0, 12, size=(40, 6)).astype(dtype)
    expected = np.stack([np.concatenate([rows, np.zeros((2, 2))])[i] for rows, i in zip(x, idx)])
    actual = ops.gather_src(library.array(x), src_idx=library.array(idx))
    np.testing.assert_array_equal(library.numpy(actual), expected)
    sums = ops.indexed_sum(actual, dst_idx=library.array(idx), num_segments=10)
    counts = np.stack([np.bincount(i, minlength=12)[:10] for i in idx])
    np.testing.assert_allclose(library.numpy(sums), counts[..., None] * x, rtol=1e-14)


def test_dense_lists_may_point_at_more_nodes_than_receive(library, rng):
    senders, adj_idx = rng.normal(size=(5, 2)), np.asarray([[4, 0, 7], [3, -1, 2]])
    values = ops.gather_src(library.array(senders), adj_idx=library.array(adj_idx))
    expected = np.where(((adj_idx >= 0) & (adj_idx < 5))[..., None], senders[adj_idx % 5], 0)
    np.testing.assert_array_equal(library.numpy(values), expected)
    where = np.ones((2, 3), bool)
    sums = ops.indexed_sum(values, adj_idx=library.array(adj_idx), where=library.array(where))
    np.testing.assert_allclose(library.numpy(sums), expected.sum(axis=1), rtol=1e-15)


@pytest.mark.parametrize("keepdims", [False, True])
@reductions
def test_a_single_node_has_no_neighbours(library, name, keepdims):
    adj_idx = ops.dense_pairwise_indices(1)
    assert adj_idx.shape == (1, 0)
    lists = {"adj_idx": library.array(adj_idx), "where": library.array(np.ones((1, 0), bool))}
    x = library.array(np.zeros((1, 0, 3), np.float32))
    result = getattr(ops, name)(x, keepdims, **lists)
    extremes = np.finfo(np.float32)
    expected = {"indexed_sum": 0, "indexed_min": extremes.max, "indexed_max": extremes.min}[name]
    assert library.numpy(result).dtype == np.float32
    shape = (1, 1, 3) if keepdims else (1, 3)
    np.testing.assert_array_equal(library.numpy(result), np.full(shape, expected))
    assert tuple(ops.indexed_softmax(x, **lists).shape) == (1, 0, 3)
    assert tuple(ops.gather_src(library.array(np.ones((1, 3))), adj_idx=lists["adj_idx"]).shape) == (1, 0, 3)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_smallest_integers_are_right_up_to_the_ends_of_their_range(library, dtype):
    ends = np.iinfo(dtype)
    x = np.asarray([[0, 5], [ends.max, ends.min], [ends.max, ends.max], [1, 2]], dtype)
    where = np.asarray([[True, True], [True, True], [True, True], [False, False]])
    lists = {"adj_idx": library.array(np.zeros((4, 2), np.int64)), "where": library.array(where)}
    smallest = library.numpy(ops.indexed_min(library.array(x), **lists))
    assert smallest.dtype == dtype
    np.testing.assert_array_equal(smallest, [0, ends.min, ends.max, ends.max])


def test_pairwise_indices_are_of_the_dtype_for_indices():
    assert ops.dense_pairwise_indices(3).dtype == np.int64
    assert [i.dtype for i in ops.sparse_pairwise_indices(3)] == [np.int64] * 2


@pytest.mark.parametrize("num", [2.0, True, "3"])
def test_other_than_integer_numbers_of_nodes_raise(num):
    with pytest.raises(ValueError, match="expected num to be an integer >= 1, got"):
        ops.sparse_pairwise_indices(num)


@reductions
def test_masks_that_are_not_of_bools_raise(library, name):
    idx = library.array(np.zeros((2, 3), np.int64))
    with pytest.raises(TypeError, match="expected where to be a bool array, got dtype"):
        getattr(ops, name)(library.array(np.ones((2, 3))), adj_idx=idx, where=idx)


def test_lists_with_too_few_axes_raise(library):
    vector, number = library.array(np.zeros(3, np.int64)), library.array(np.asarray(0))
    x = library.array(np.ones(3))
    with pytest.raises(ValueError, match=r"expected adj_idx to have at least 2 axes, got shape \(3,\)"):
        ops.gather_src(x, adj_idx=vector)
    with pytest.raises(ValueError, match=r"expected src_idx to have at least 1 axes, got shape \(\)"):
        ops.gather_src(x, src_idx=number)
