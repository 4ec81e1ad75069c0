"""How arrays lie in memory: the same numbers with other strides, addresses, byte orders and flags."""

from __future__ import annotations

import numpy as np

from fuzz.guards import guarded

# By library: PyTorch has no negative strides and no byte orders, and JAX copies what it is given.
PLACEMENTS = {
    "numpy": (
        "usual", "at end", "at end", "at begin", "at begin", "reversed", "permuted", "every other", "in between",
        "repeated", "misaligned", "read-only", "byte order",
    ),
    "torch": ("usual", "at end", "at end", "at begin", "at begin", "permuted", "every other", "in between", "repeated"),
    "jax": ("usual",),
}  # fmt: skip


def prepared(array: np.ndarray, placement: str, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of an array as a placement can hold them."""
    if placement == "repeated" and array.ndim and array.size:
        axis = int(rng.integers(array.ndim))
        return np.repeat(array.take([0], axis), array.shape[axis], axis)
    return array


def placed(array: np.ndarray, placement: str, rng: np.random.Generator) -> np.ndarray:
    """Return an array of the same numbers, placed so."""
    if array.ndim == 0:
        return array.copy()
    axis = int(rng.integers(array.ndim))
    if placement == "usual":
        return array.copy()
    if placement == "byte order":
        return array.astype(array.dtype.newbyteorder())
    if placement == "misaligned":
        memory = guarded((array.nbytes + 1,), np.uint8)
        target = np.ndarray(array.shape, array.dtype, memory, 1)
    elif placement == "repeated":
        row = _copied(array.take(range(min(1, array.shape[axis])), axis))
        same = all((array.take([0], axis) == array).ravel()) if array.size else False
        return np.broadcast_to(row, array.shape) if same else array.copy()
    elif placement == "reversed":
        target = np.flip(guarded(array.shape, array.dtype), axis)
    elif placement == "permuted":
        order = rng.permutation(array.ndim)
        target = guarded([array.shape[n] for n in order], array.dtype).transpose(np.argsort(order))
    elif placement in ("every other", "in between"):
        step = 2 if placement == "every other" else 1
        wide = list(array.shape)
        wide[axis] = step * wide[axis] + 1
        memory = guarded(wide, array.dtype)
        memory[...] = np.nan if array.dtype.kind == "f" else True if array.dtype.kind == "b" else 99
        target = memory[(slice(None),) * axis + (slice(1, None, step),)]
        target = target[(slice(None),) * axis + (slice(array.shape[axis]),)]
    else:
        target = guarded(array.shape, array.dtype, at_end=placement != "at begin")
    target[...] = array
    if placement == "read-only":
        target.flags.writeable = False
    return target


def _copied(array: np.ndarray) -> np.ndarray:
    target = guarded(array.shape, array.dtype)
    target[...] = array
    return target
