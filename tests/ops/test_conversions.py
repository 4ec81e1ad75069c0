"""Dense lists of neighbours from sparse ones and back."""

from __future__ import annotations

import e3x
import jax.numpy as jnp
import numpy as np
import pytest

from e3any import ops

DENSE = np.asarray([[1, 2, 4], [0, 4, 3], [4, 4, 4], [2, 0, 1]])


def random_dense(rng, *shape, padding=True):
    return rng.integers(0, shape[-2] + padding, size=shape)


@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 2), (2, 2, 3, 4)])
@pytest.mark.parametrize("pad_idx", [None, "nodes", 2])
def test_sparse_lists_are_those_of_e3x(library, rng, shape, pad_idx):
    adj = random_dense(rng, *shape)
    pad = shape[-2] if pad_idx == "nodes" else pad_idx
    expected = e3x.ops.dense_to_sparse_indices(jnp.asarray(adj), pad_idx=pad)
    actual = ops.dense_to_sparse_indices(library.array(adj), pad)
    for ours, theirs in zip(actual, expected):
        assert library.owns(ours)
        np.testing.assert_array_equal(library.numpy(ours), theirs)


@pytest.mark.parametrize("shape", [(12,), (2, 9), (2, 2, 7)])
@pytest.mark.parametrize("pad_idx", [None, 4, 6])
def test_dense_lists_are_those_of_e3x(library, rng, shape, pad_idx):
    dst, src = rng.integers(0, 5, size=shape), rng.integers(0, 5, size=shape)
    expected = e3x.ops.sparse_to_dense_indices(jnp.asarray(dst), jnp.asarray(src), pad_idx=pad_idx)
    actual = ops.sparse_to_dense_indices(library.array(dst), library.array(src), pad_idx)
    np.testing.assert_array_equal(library.numpy(actual), expected)


def test_round_trip_keeps_the_edges(library):
    dst, src = ops.dense_to_sparse_indices(library.array(DENSE), 4)
    np.testing.assert_array_equal(library.numpy(dst), [0, 0, 1, 1, 3, 3, 3])
    np.testing.assert_array_equal(library.numpy(src), [1, 2, 0, 3, 2, 0, 1])
    back = library.numpy(ops.sparse_to_dense_indices(dst, src, 4))
    np.testing.assert_array_equal(back, [[1, 2, 4], [0, 3, 4], [4, 4, 4], [2, 0, 1]])


def test_negative_numbers_are_padding(library):
    dst, src = ops.dense_to_sparse_indices(library.array(np.asarray([[1, -1], [-2, 0]])))
    np.testing.assert_array_equal(library.numpy(dst), [0, 1])
    np.testing.assert_array_equal(library.numpy(src), [1, 0])
    dense = ops.sparse_to_dense_indices(library.array(np.asarray([-1, 1])), library.array(np.asarray([0, 0])))
    np.testing.assert_array_equal(library.numpy(dense), [[2], [0]])


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (2, 0, 0)])
def test_empty_dense_lists_have_no_edges(library, shape):
    expected = e3x.ops.dense_to_sparse_indices(jnp.zeros(shape, int))[0].shape
    for index in ops.dense_to_sparse_indices(library.array(np.zeros(shape, int))):
        assert tuple(index.shape) == expected


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_empty_sparse_lists_have_no_nodes(library, shape):
    none = library.array(np.zeros(shape, int))
    assert tuple(ops.sparse_to_dense_indices(none, none).shape) == (*shape[:-1], 0, 0)


def test_only_padding_gives_no_edges(library):
    dst, src = ops.dense_to_sparse_indices(library.array(np.full((3, 2), 3)), 3)
    assert tuple(dst.shape) == tuple(src.shape) == (0,)
    index = library.array(np.full((4,), 3))
    assert tuple(ops.sparse_to_dense_indices(index, index, 3).shape) == (3, 0)


def test_bad_lists_are_refused(library):
    index = library.array(np.zeros((3,), int))
    with pytest.raises(ValueError, match="expected adj_idx to have at least 2 axes"):
        ops.dense_to_sparse_indices(index)
    with pytest.raises(ValueError, match="expected dst_idx and src_idx of one shape"):
        ops.sparse_to_dense_indices(index, index[:2])
    with pytest.raises(TypeError, match="expected adj_idx to be an integer array"):
        ops.dense_to_sparse_indices(library.array(np.zeros((3, 2))))


def test_lists_of_small_integers_grow_where_results_need_it(library):
    adj = np.asarray([[1, 127], *[[0, 2]] * 199])
    small, wide = (ops.dense_to_sparse_indices(library.array(adj.astype(t))) for t in ("int8", "int64"))
    for ours, expected in zip(small, wide):
        np.testing.assert_array_equal(library.numpy(ours), library.numpy(expected))
    index = library.array(np.asarray([0, 1, 1], np.int8))
    dense = library.numpy(ops.sparse_to_dense_indices(index, index, 200))
    np.testing.assert_array_equal(dense[:3], [[0, 200], [1, 1], [200, 200]])
