"""Monte Carlo arithmetic: every operation of PyTorch has a random error of a known relative size.

A derivative can be zero for all inputs, as a sum of terms that cancel. A program then returns what their roundings
leave, whose size neither the result nor its change with the inputs shows. Errors of all operations show it: D. S.
Parker, Monte Carlo arithmetic, UCLA CSD-970002 (1997).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

__all__ = ["UNIT", "Roundings"]

#: The distance of 1 from the next number: relative errors are at most half of it.
UNIT = 2.0**-20
# Random numbers are drawn once: operations take those from a random position on.
_NUM = 2**16
# Operations whose results are numbers that exist already, or constants.
_EXACT = ("arange", "cat", "clone", "_to_copy", "copy", "embedding", "empty", "fill", "full", "full_like", "gather")
_EXACT += ("index", "index_select", "lift_fresh", "neg", "new_zeros", "ones", "ones_like", "select_backward")
_EXACT += ("slice_backward", "stack", "where", "zeros", "zeros_like")


class Roundings(TorchDispatchMode):
    """Inside this context, floating-point operations of PyTorch round as if numbers were :data:`UNIT` apart."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self._rng = rng
        self._errors = torch.from_numpy(1 + UNIT * rng.uniform(-0.5, 0.5, _NUM))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_view = any(r.alias_info is not None for r in func._schema.returns)
        return result if is_view or func.overloadpacket.__name__ in _EXACT else tree_map(self._rounded, result)

    def _rounded(self, x: Any) -> Any:
        if not (isinstance(x, torch.Tensor) and x.is_floating_point()):
            return x
        num = math.prod(x.shape)
        start = int(self._rng.integers(_NUM))
        errors = self._errors.repeat((start + num) // _NUM + 1) if start + num > _NUM else self._errors
        return x * errors[start : start + num].reshape(x.shape).to(x.dtype)
