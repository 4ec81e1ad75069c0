"""Operations on index lists and safe norms; lists of pairs are JAX arrays."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp

from e3any import ops as _core
from e3any.ops import *  # noqa: F403

__all__ = list(_core.__all__)

dense_pairwise_indices: Any = partial(_core.dense_pairwise_indices, xp=jnp)
sparse_pairwise_indices: Any = partial(_core.sparse_pairwise_indices, xp=jnp)
