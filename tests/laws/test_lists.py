"""Laws of operations on lists of neighbours, for lists, dtypes and shapes that are drawn."""

from __future__ import annotations

import numpy as np
from backends_matrix import Library
from e3any_backends import Backend, backend_of
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import cast

from e3any import ops
from e3any.testing import assert_parity, strategies

NUM = 4
# Functions of NumPy, and what an empty neighbourhood gives.
REDUCTIONS = {"indexed_sum": (np.sum, 0.0), "indexed_max": (np.max, -np.inf), "indexed_min": (np.min, np.inf)}
LIBRARIES = st.sampled_from([Library.NUMPY, Library.STRICT, Library.TORCH])
INDEX_DTYPES = st.sampled_from(["int8", "int32", "int64"])
sparse, dense = strategies.sparse_lists(NUM, 7), strategies.dense_lists(NUM, 3)


def edges_of(lists):
    """Return receivers and senders of a list, edge by edge, without padding."""
    if "adj_idx" in lists:
        dst_idx, src_idx = np.repeat(np.arange(NUM), lists["adj_idx"].shape[1]), lists["adj_idx"].ravel()
    else:
        dst_idx, src_idx = lists["dst_idx"], lists["src_idx"]
    return sorted((i, j) for i, j in zip(dst_idx, src_idx) if 0 <= i < NUM and 0 <= j < NUM)


@given(sparse, strategies.numbers(7, 2), st.sampled_from(list(REDUCTIONS)), LIBRARIES, INDEX_DTYPES)
def test_reductions_are_those_of_each_neighbourhood(lists, x, name, library, dtype):
    dst_idx = library.array(lists["dst_idx"], dtype)
    reduce, empty = REDUCTIONS[name]
    y = library.numpy(getattr(ops, name)(library.array(x), dst_idx=dst_idx, num_segments=NUM))
    for node in range(NUM):
        members = x[lists["dst_idx"] == node]
        expected = reduce(members, axis=0) if len(members) else np.full(2, empty)
        np.testing.assert_array_equal(y[node], expected)


@given(sparse, strategies.numbers(7, 2), LIBRARIES)
def test_softmax_sums_to_one_and_pads_nothing(lists, x, library):
    dst_idx = lists["dst_idx"]
    y = ops.indexed_softmax(library.array(x), dst_idx=library.array(dst_idx), num_segments=NUM)
    total = library.numpy(ops.indexed_sum(y, dst_idx=library.array(dst_idx), num_segments=NUM))
    occupied = np.isin(np.arange(NUM), dst_idx)
    assert_parity(total, np.where(occupied[:, None], np.ones((NUM, 2)), 0.0))
    assert (library.numpy(y) >= 0).all()


@given(sparse, strategies.numbers(NUM, 2), LIBRARIES, INDEX_DTYPES)
def test_gathered_values_are_those_of_the_nodes(lists, x, library, dtype):
    for gather, name in ((ops.gather_src, "src_idx"), (ops.gather_dst, "dst_idx")):
        y = library.numpy(gather(library.array(x), **{name: library.array(lists[name], dtype)}))
        expected = [x[i] if 0 <= i < NUM else np.zeros(2) for i in lists[name]]
        np.testing.assert_array_equal(y, np.asarray(expected))


@given(dense, LIBRARIES)
def test_a_dense_list_and_its_sparse_form_have_the_same_edges(lists, library):
    dst_idx, src_idx = ops.dense_to_sparse_indices(library.array(lists["adj_idx"]), pad_idx=NUM)
    again = ops.sparse_to_dense_indices(dst_idx, src_idx, pad_idx=NUM)
    forms = {"dst_idx": library.numpy(dst_idx), "src_idx": library.numpy(src_idx)}, {"adj_idx": library.numpy(again)}
    assert [edges_of(form) for form in forms] == [edges_of(lists)] * 2


@given(sparse, st.integers(NUM, 9), st.integers(7, 12), LIBRARIES)
def test_padded_lists_have_the_same_edges(lists, num_nodes, num_edges, library):
    inside = {key: np.where((i >= 0) & (i < NUM), i, -1) for key, i in lists.items()}
    padded = ops.pad_sparse_indices(**cast(inside, library), num_nodes=num_nodes, num_edges=num_edges)
    dst_idx, src_idx = map(library.numpy, padded)
    assert dst_idx.shape == src_idx.shape == (num_edges,)
    assert edges_of({"dst_idx": dst_idx, "src_idx": src_idx}) == edges_of(lists)


@given(
    st.lists(st.integers(-3, 9), max_size=8),
    st.integers(0, 5),
    st.sampled_from([(), (3,), (2, 0)]),
    st.sampled_from(["float64", "float32", "float16"]),
    st.sampled_from([Library.NUMPY, Library.TORCH]),
    st.data(),
)
def test_native_methods_give_what_their_twins_give(segments, num, rest, dtype, library, data):
    x = library.array(data.draw(strategies.numbers(len(segments), *rest, dtype=dtype)))
    segments = library.array(np.asarray(segments, "int64"))
    native, twin = backend_of(x), Backend(backend_of(x).xp)
    for name in ("segment_sum", "segment_max"):
        assert_parity(getattr(native, name)(x, segments, num), getattr(twin, name)(x, segments, num), dtype)
    assert_parity(native.take(x, segments), twin.take(x, segments), dtype)
