"""Launches of Triton kernels in JAX, by jax-triton, and lists of graphs for these.

Whether kernels are used is decided when a program is lowered, for the platform that it is lowered for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

import jax
import jax.numpy as jnp

from e3any_backends.arrays import Array
from e3any_backends.jax.multilinear import Program
from e3any_backends.jax.private import Lowering
from e3any_backends.triton.maps import EdgeMap
from e3any_backends.triton.programs import Launch
from e3any_backends.triton.programs import Program as Contractions

__all__ = ["evaluate_edges", "graph_lists", "is_installed", "obstacle"]

# Digits of numbers of edges that rows are searched by.
_DIGITS = 3


@cache
def is_installed() -> bool:
    """Return whether there is jax-triton, without importing it."""
    return find_spec("jax_triton") is not None


def obstacle(lowering: Lowering) -> str:
    """Return why a program for a GPU of NVIDIA has no kernels, empty if it has."""
    if reason := _missing():
        return reason
    if lowering.is_exported:
        return "exported programs run without e3any"
    if lowering.num_devices != 1:
        return "the program is for several devices"
    if lowering.has_symbolic_sizes:
        return "sizes are symbols"
    return "" if _capability() or _has_gpu() else "there is no GPU here, and E3ANY_CUDA_CAPABILITY is not set"


@cache
def _missing() -> str:
    """Return why kernels cannot be compiled, empty if they can."""
    try:
        import jax_triton  # noqa: F401
    except ImportError as error:  # it refuses a JAX without support for GPUs
        return f"jax-triton cannot be imported: {error}"
    return ""


def _capability() -> int | None:
    """Return what kernels are compiled for: as the environment says, such as 90 for an H200, or None for the device."""
    value = os.environ.get("E3ANY_CUDA_CAPABILITY")
    return int(value) if value else None


def _has_gpu() -> bool:
    """Return whether there is a GPU, which need not be the default device."""
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False


def graph_lists(dst: Array, src: Array, num_dst: int, num_src: int) -> list[Array]:
    """Return the lists of edges sorted by receiver and of edges sorted by sender, see :mod:`..triton.graphs`.

    All layers and derivatives of a program make the same lists; XLA computes equal ones once.
    """
    return [*_rows(dst, src, num_dst, num_src), *_rows(src, dst, num_src, num_dst)]


def _rows(of: Array, other: Array, num: int, num_other: int) -> tuple[Array, ...]:
    """Return ``ptr``, ``nodes``, ``others`` and ``order``."""
    is_valid = (of >= 0) & (of < num) & (other >= 0) & (other < num_other)
    keys = jnp.where(is_valid, of, num).astype(jnp.int32)
    numbers = jnp.arange(keys.shape[0], dtype=jnp.int32)
    nodes, others, order = jax.lax.sort((keys, other.astype(jnp.int32), numbers), num_keys=1, is_stable=True)
    return _starts(nodes, num), nodes, others, order


def _starts(nodes: Array, num: int) -> Array:
    """Return where the rows of nodes start: how many positions have a smaller number, for 0 to ``num + 1``.

    The result is found digit by digit, by comparing with all digits at once: three kernels. A binary search would be a
    loop of launches, and that of JAX by sorting takes the compiler longer than the rest.
    """
    size, wanted = nodes.shape[0], jnp.arange(num + 2, dtype=jnp.int32)[:, None]
    bits = -(-size.bit_length() // _DIGITS)
    digits, found = jnp.arange(1, 1 << bits, dtype=jnp.int32), jnp.zeros_like(wanted)
    for place in reversed(range(_DIGITS)):
        # So many positions have smaller numbers if the last of them has.
        further = found + (digits << bits * place)
        number = nodes.at[jnp.minimum(further, size) - 1].get(mode="promise_in_bounds", wrap_negative_indices=False)
        smaller = (further <= size) & (number < wanted)
        found += jnp.sum(smaller, axis=1, keepdims=True, dtype=jnp.int32) << bits * place
    return found[:, 0]


def evaluate_edges(number: int, program: Program, operands: Sequence[Array], lists: Sequence[Array]) -> list[Array]:
    """Evaluate a program of message passing, whose table has a number, by kernels."""
    contractions = Contractions(program.slots, tuple(slot for slot, _ in program.outs), program.terms)
    dtype = operands[0].dtype
    values = EdgeMap(number).evaluate(contractions, operands, lists, dtype.name, _run)
    return [value.astype(dtype) for value in values]


def _run(launch: Launch) -> Sequence[Array]:
    """Run a kernel."""
    import jax_triton

    shapes = [jax.ShapeDtypeStruct(shape, launch.dtype) for shape in launch.outputs]
    if not all(launch.grid):
        return [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]
    found: Sequence[Array] = jax_triton.triton_call(
        *launch.inputs,
        kernel=launch.kernel.function,
        out_shape=shapes,
        grid=launch.grid,
        num_warps=launch.num_warps,
        enable_fp_fusion=True,
        input_output_aliases={len(launch.inputs) - 1: 0} if launch.is_update else {},
        compute_capability=_capability(),
    )
    return found
