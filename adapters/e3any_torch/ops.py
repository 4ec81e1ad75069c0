"""Operations on index lists and safe norms; lists of pairs are tensors."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as _xp

from e3any import ops as _core
from e3any.ops import *  # noqa: F403
from e3any.public_names import adopt, with_namespace

__all__ = list(_core.__all__)

dense_pairwise_indices: Any = with_namespace(_core.dense_pairwise_indices, _xp)
sparse_pairwise_indices: Any = with_namespace(_core.sparse_pairwise_indices, _xp)

adopt(__name__)
