"""The names of PyTorch that its documentation does not list, in one place.

Kernels read the memory of tensors. In some modes of PyTorch it must see every operation instead, or tensors have no
memory, and nothing public tells of these modes. All other files of this package use the names below, and
``tests/backends/test_private_names.py`` checks every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch.autograd import forward_ad

__all__ = [
    "batches_gradients",
    "forward_level",
    "is_transformed",
    "num_dispatch_modes",
    "set_constant",
    "set_fixed_sizes",
    "tracing_state",
]

F = TypeVar("F", bound=Callable[..., object])

# Modes. Every operation asks for all of them, and no name below is a function in Python, whose call takes longer.

#: Return whether a transformation of :mod:`torch.func` is under way: its tensors have no memory of their own.
is_transformed = torch._C._are_functorch_transforms_active
#: Return the level of forward-mode differentiation, -1 outside of it. A kernel would drop tangents.
forward_level: Callable[[], int] = partial(getattr, forward_ad, "_current_level")
#: Return the number of modes that see every operation, such as that of fake tensors, which have shapes but no memory.
num_dispatch_modes = torch._C._len_torch_dispatch_stack
#: Return what :func:`torch.jit.trace` records operations in, or None.
tracing_state = torch._C._get_tracing_state
#: Return whether :func:`torch.autograd.grad` computes a batch of gradients: the tensors hide its axis.
batches_gradients: Callable[[], bool] = partial(
    torch._C._dispatch_tls_is_dispatch_key_included,
    torch._C._dispatch_key_parse("VmapMode"),  # takes 9 µs
)

# Attributes that the compiler reads.


def set_constant(function: F) -> F:
    """Let compilers call a function, and take its result as a constant.

    This is all that ``torch.compiler.assume_constant_result`` does once it has imported the compiler, which takes
    seconds.
    """
    setattr(function, "_dynamo_marked_constant", True)  # noqa: B010
    return function


def set_fixed_sizes(tensor: torch.Tensor) -> None:
    """Keep the sizes of a tensor fixed in programs for dynamic shapes, as ``torch._dynamo.mark_static`` does.

    That function is part of the compiler, whose import takes seconds.
    """
    setattr(tensor, "_dynamo_static_indices", set(range(tensor.ndim)))  # noqa: B010
