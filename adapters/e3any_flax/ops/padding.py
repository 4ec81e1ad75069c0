"""Padding of graphs to few sizes, see :mod:`e3any.ops`."""

from __future__ import annotations

from e3any.ops import bucket_size, pad_dense_indices, pad_graphs, pad_rows, pad_sparse_indices
from e3any_flax.boundary import accept_arrays

__all__ = ["bucket_size", "pad_dense_indices", "pad_graphs", "pad_rows", "pad_sparse_indices"]

accept_arrays(globals(), integers=__all__)
