"""Programs for GPUs of NVIDIA as launches of Triton kernels, by jax-triton, and lists of graphs for these."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from e3any_backends.arrays import Array
from e3any_backends.jax.gpu import capability
from e3any_backends.jax.multilinear import Program, Shape
from e3any_backends.triton.maps import EdgeMap
from e3any_backends.triton.programs import Launch
from e3any_backends.triton.programs import Program as Contractions
from e3any_backends.triton.rows import evaluate_rows as launch_rows
from e3any_backends.triton.source import WIDE

__all__ = ["evaluate_edges", "evaluate_rows", "graph_lists"]

# Digits of numbers of edges that rows are searched by.
_DIGITS = 3
# Products of a kernel of rows; more of them take its compiler too long.
_MAX_PRODUCTS = 8000


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
    dtype = operands[0].dtype
    values = EdgeMap(number).evaluate(_contractions(program), operands, lists, dtype.name, _launch_from_jax)
    return [value.astype(dtype) for value in values]


def evaluate_rows(program: Program, operands: Sequence[Array]) -> list[Array] | None:
    """Evaluate a program of couplings by one kernel; None if it does not support the operands.

    Operands and outputs have the shape (..., components, F). Those of a slot have one row for all, or all rows.
    """
    dtype, members = operands[0].dtype, list(zip(program.slots, (tuple(o.shape) for o in operands), strict=True))
    shared = _shared_slots([*members, *program.outs])
    if dtype.name not in WIDE or shared is None or not _sums_rows(program, shared):
        return None
    if len(program.form.values) * len(program.terms) > _MAX_PRODUCTS:
        return None
    flat = [jnp.reshape(o, (-1, *o.shape[-2:])) for o in operands]
    mask = sum(1 << slot for slot in shared)
    values = launch_rows(program.form, mask, _contractions(program), flat, dtype.name, _launch_from_jax)
    return [jnp.reshape(v.astype(dtype), shape) for v, (_, shape) in zip(values, program.outs, strict=True)]


def _shared_slots(members: Sequence[tuple[int, Shape]]) -> set[int] | None:
    """Return the slots with one row for all rows of others; None if leading axes or numbers of features differ."""
    leads = {shape[:-2] for _, shape in members if math.prod(shape[:-2]) != 1}
    if len(leads) > 1 or len({shape[-1] for _, shape in members}) > 1 or any(0 in shape for _, shape in members):
        return None
    with_rows = {slot for slot, shape in members if math.prod(shape[:-2]) != 1}
    shared = {slot for slot, shape in members if math.prod(shape[:-2]) == 1}
    if not leads:
        return set()
    return None if shared & with_rows else shared


def _sums_rows(program: Program, shared: set[int]) -> bool:
    """Return whether every contraction has the rows of the kernel, which adds up those of shared outputs."""
    has_rows = [bool({program.slots[o] for o in operands} - shared) for _, operands in program.terms]
    return all(has_rows) or not shared


def _contractions(program: Program) -> Contractions:
    return Contractions(program.slots, tuple(slot for slot, _ in program.outs), program.terms)


def _launch_from_jax(launch: Launch) -> Sequence[Array]:
    """Run a kernel."""
    import jax_triton

    shapes = [jax.ShapeDtypeStruct(shape, launch.dtype) for shape in launch.outputs]  # type: ignore[no-untyped-call]
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
        compute_capability=capability(),
    )
    return found
