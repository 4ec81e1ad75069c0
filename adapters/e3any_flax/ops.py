"""Operations on index lists and safe norms; lists of pairs are JAX arrays."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from e3any import ops as _core
from e3any.ops import *  # noqa: F403
from e3any.public_names import adopt, with_namespace

__all__ = list(_core.__all__)

dense_pairwise_indices: Any = with_namespace(_core.dense_pairwise_indices, jnp)
sparse_pairwise_indices: Any = with_namespace(_core.sparse_pairwise_indices, jnp)

adopt(__name__)
