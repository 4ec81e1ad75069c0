"""Operations on arrays: gathering, reductions over neighbourhoods, safe norms."""

from e3any.ops.derivatives import evaluate_derivatives
from e3any.ops.displacements import displacements
from e3any.ops.index_lists import (
    dense_pairwise_indices,
    dense_to_sparse_indices,
    gather_dst,
    gather_src,
    index_kind,
    sparse_pairwise_indices,
    sparse_to_dense_indices,
)
from e3any.ops.indexed import indexed_max, indexed_min, indexed_softmax, indexed_sum
from e3any.ops.padding import bucket_size, pad_dense_indices, pad_graphs, pad_rows, pad_sparse_indices
from e3any.ops.safe import inverse_softplus, norm, normalize, normalize_and_return_norm

__all__ = [
    "bucket_size",
    "dense_pairwise_indices",
    "dense_to_sparse_indices",
    "displacements",
    "evaluate_derivatives",
    "gather_dst",
    "gather_src",
    "index_kind",
    "indexed_max",
    "indexed_min",
    "indexed_softmax",
    "indexed_sum",
    "inverse_softplus",
    "norm",
    "normalize",
    "normalize_and_return_norm",
    "pad_dense_indices",
    "pad_graphs",
    "pad_rows",
    "pad_sparse_indices",
    "sparse_pairwise_indices",
    "sparse_to_dense_indices",
]
