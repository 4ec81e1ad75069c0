"""Index lists and reductions over neighbourhoods, see :mod:`e3any.ops`."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax.numpy as jnp

from e3any.ops import (
    dense_pairwise_indices,
    dense_to_sparse_indices,
    displacements,
    gather_dst,
    gather_src,
    index_kind,
    indexed_max,
    indexed_min,
    indexed_softmax,
    indexed_sum,
    sparse_pairwise_indices,
    sparse_to_dense_indices,
)
from e3any_flax.boundary import accept_arrays
from e3any_flax.e3x_errors import in_words_of_e3x
from e3any_flax.types import Array as Array
from e3any_flax.types import Dtype as Dtype
from e3any_flax.types import Shape as Shape

__all__ = [
    "dense_pairwise_indices",
    "dense_to_sparse_indices",
    "displacements",
    "gather_dst",
    "gather_src",
    "index_kind",
    "indexed_max",
    "indexed_min",
    "indexed_softmax",
    "indexed_sum",
    "sparse_pairwise_indices",
    "sparse_to_dense_indices",
]

IndexType = Literal["dense", "sparse"]
ReductionMode = Literal["sum", "min", "max"]
_valid_index_types = get_args(IndexType)
_valid_reduction_modes = get_args(ReductionMode)

accept_arrays(globals(), integers=__all__)

_determine_index_type = index_kind


def _gather_dense(inputs: Any, idx: Any) -> Any:
    """Gather values along a dense list; indices >= N give the last value, as in JAX."""
    return _gather_clamped(inputs, "adj_idx", idx, idx.ndim - 2)


def _gather_sparse(inputs: Any, idx: Any) -> Any:
    """Gather values along a sparse list; indices >= N give the last value, as in JAX."""
    return _gather_clamped(inputs, "src_idx", idx, idx.ndim - 1)


def _gather_clamped(inputs: Any, name: str, idx: Any, axis: int) -> Any:
    size = inputs.shape[axis] if 0 <= axis < inputs.ndim else 1
    return gather_src(inputs, **{name: jnp.minimum(idx, size - 1)})


def _indexed_reduce(reduction_mode: ReductionMode, inputs: Any, keepdims: bool | None = None, **lists: Any) -> Any:
    """Return sums, minima or maxima over neighbourhoods."""
    if not jnp.issubdtype(inputs.dtype, jnp.integer) and not jnp.issubdtype(inputs.dtype, jnp.floating):
        with in_words_of_e3x():
            raise TypeError(f"expected inputs of real numbers, got dtype {inputs.dtype}")
    reductions = {"sum": indexed_sum, "min": indexed_min, "max": indexed_max}
    return reductions[reduction_mode](inputs, keepdims, **lists)
