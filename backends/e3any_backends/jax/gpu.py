"""Message passing on GPUs as one primitive: launches of Triton kernels by jax-triton, or a reference.

The primitive evaluates lists of contractions, see :mod:`e3any_backends.jax.multilinear`, so that every program of
derivatives has as few launches as :mod:`e3any_backends.triton` knows. Whether kernels are used is decided when a
program is lowered, for the platform that it is lowered for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from e3any_backends import kernels
from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import CouplingPlan
from e3any_backends.forms.tables import attribute, handle
from e3any_backends.jax.contractions import contract
from e3any_backends.jax.multilinear import MultilinearPrimitive, Program
from e3any_backends.jax.private import Lowering, set_lowering
from e3any_backends.triton.maps import EdgeMap
from e3any_backends.triton.programs import Launch
from e3any_backends.triton.programs import Program as Contractions

__all__ = ["convolve", "gpu_is_target"]

_NUM_LISTS = 8


def convolve(
    x: Array, angular: Array, radial: Array, kernel: Array, indices: tuple[Array, Array], num: int, plan: CouplingPlan
) -> Array:
    """Sum products of a basis and neighbours' features over edges, and couple them, without the sums in memory.

    Parameters
    ----------
    x : array of shape (N, P, (L+1)**2, F)
        Features of the senders.
    angular : array of shape (E, (Lb+1)**2)
        Harmonics.
    radial : array of shape (E, Lb+1, F)
        Radial functions.
    kernel : array of shape (1, Lb+1, P, L+1, P', L'+1, F)
        Weights of all couplings, forbidden ones included.
    indices : tuple of integer arrays of shape (E,)
        Receivers and senders; numbers out of range are padding.
    num : int
        Number of receivers.
    plan : CouplingPlan
        The table.

    Returns
    -------
    jax.Array of shape (num, P', (L'+1)**2, F)
        The sums.
    """
    (dst, src), (*_, features) = indices, x.shape
    operands = [jnp.reshape(x, (x.shape[0], -1, features)), angular, radial, jnp.reshape(kernel, (-1, features))]
    lists = [*_rows(dst, src, num, x.shape[0]), *_rows(src, dst, x.shape[0], num)]
    out = num, plan.kernel_shape[4] * plan.kernel_shape[5] ** 2, features
    program = Program(handle(plan, "merged"), (0, 1, 2, 3), ((4, out),), ((0, (0, 1, 2, 3)),))
    (value,) = _primitive.bind(*lists, *operands, program=program)
    return jnp.reshape(value, (num, *plan.kernel_shape[4:5], -1, features))


def _rows(of: Array, other: Array, num: int, num_other: int) -> tuple[Array, ...]:
    """Return ``ptr``, ``nodes``, ``others`` and ``order`` of :mod:`e3any_backends.triton.graphs`."""
    is_valid = (of >= 0) & (of < num) & (other >= 0) & (other < num_other)
    keys = jnp.where(is_valid, of, num).astype(jnp.int32)
    numbers = jnp.arange(keys.shape[0], dtype=jnp.int32)
    nodes, order = jax.lax.sort((keys, numbers), num_keys=1, is_stable=True)
    ptr = jnp.searchsorted(nodes, jnp.arange(num + 2, dtype=jnp.int32), method="sort").astype(jnp.int32)
    return ptr, nodes, other[order].astype(jnp.int32), order


# -- by kernels ---------------------------------------------------------------------------------------------


def _by_kernels(*operands: Array, program: Program) -> list[Array]:
    lists, factors = operands[:_NUM_LISTS], operands[_NUM_LISTS:]
    contractions = Contractions(program.slots, tuple(slot for slot, _ in program.outs), program.terms)
    dtype = factors[0].dtype
    values = EdgeMap(program.form).evaluate(contractions, factors, lists, dtype.name, _run)
    return [value.astype(dtype) for value in values]


def _run(launch: Launch) -> Sequence[Array]:
    """Run a kernel."""
    import jax_triton

    shapes = [jax.ShapeDtypeStruct(shape, launch.dtype) for shape in launch.outputs]
    inputs, aliases = launch.inputs, {}
    if launch.updated is not None:
        shapes, aliases = [jax.ShapeDtypeStruct(launch.updated.shape, launch.dtype)], {len(inputs): 0}
        inputs = (*inputs, launch.updated)
    if not all(launch.grid):
        return [jnp.zeros(shape.shape, shape.dtype) for shape in shapes]
    found: Sequence[Array] = jax_triton.triton_call(
        *inputs,
        kernel=launch.kernel.function,
        out_shape=shapes,
        grid=launch.grid,
        num_warps=launch.num_warps,
        enable_fp_fusion=True,
        input_output_aliases=aliases,
        compute_capability=_capability(),
    )
    return found


def _capability() -> int | None:
    """Return what kernels are compiled for: as the environment says, such as 90 for an H200, or None for the device."""
    value = os.environ.get("E3ANY_CUDA_CAPABILITY")
    return int(value) if value else None


def gpu_is_target() -> bool:
    """Return whether programs are meant for a GPU, by the environment or by the devices that there are."""
    return (_capability() is not None or jax.default_backend() == "gpu") and not _missing()


@cache
def _missing() -> str:
    """Return why kernels cannot be compiled, empty if they can."""
    try:
        import jax_triton  # noqa: F401
    except ImportError as error:  # it refuses a JAX without support for GPUs
        return f"jax-triton cannot be imported: {error}"
    return ""


def _choose(lowering: Lowering) -> Any:
    """Return the function that a program for a GPU is lowered as."""
    obstacle = _missing()
    if lowering.is_exported:
        obstacle = "exported programs run without e3any"
    elif lowering.num_devices != 1:
        obstacle = "the program is for several devices"
    elif lowering.has_symbolic_sizes:
        obstacle = "sizes are symbols"
    elif _capability() is None and not any(device.platform == "gpu" for device in jax.devices()):
        obstacle = "there is no GPU here, and E3ANY_CUDA_CAPABILITY is not set"
    if obstacle:
        kernels.log_fallback("convolution", obstacle)
    return _reference if obstacle else _by_kernels


# -- without kernels ----------------------------------------------------------------------------------------


def _reference(*operands: Array, program: Program) -> list[Array]:
    """Evaluate a program contraction by contraction."""
    (_, nodes, others, order), factors = operands[:4], operands[_NUM_LISTS:]
    totals: dict[int, Array] = {}
    for out, members in program.terms:
        slot, shape = program.outs[out]
        found = {program.slots[o]: factors[o] for o in members}
        values = [found.get(s, jnp.zeros(shape, factors[0].dtype)) for s in range(4)]
        sums = partial(_sums, nodes=nodes, others=others, order=order, num=program.outs[out][1][0], form=program.form)
        if slot == 4:
            value = sums(*values)
        else:
            sums = partial(sums, num=found[4].shape[0])
            value = jax.vjp(sums, *values)[1](found[4])[slot]
        totals[out] = totals[out] + value if out in totals else value
    return [totals[out] for out in range(len(program.outs))]


def _sums(
    x: Array, angular: Array, radial: Array, w: Array, *, nodes: Array, others: Array, order: Array, num: int, form: int
) -> Array:
    """Return the value of the form, by the primitives for sums over edges and for couplings."""
    from e3any_backends.jax.edges import sum_edges

    pairs = sum_edges(x, angular[order], radial[order], others, nodes, num, True)
    flat = jnp.reshape(pairs, (1, num, -1, pairs.shape[-1]))
    return contract((flat, w[None, None]), attribute(form, "pair_form"), 1)


def _batch(operands: Sequence[Array], axes: Sequence[Any], *, program: Program) -> tuple[list[Array], list[int]]:
    """Evaluate a batch by the reference."""
    values = jax.vmap(partial(_reference, program=program), in_axes=tuple(axes))(*operands)
    return values, [0] * len(values)


def _without_kernel(*operands: Array, program: Program) -> None:
    """Return that there is no kernel for CPUs; those of the reference's primitives are used."""


_primitive = MultilinearPrimitive(
    "e3any_convolution",
    "convolution",
    batch=_batch,
    reference=_reference,
    by_kernel=_without_kernel,
    num_indices=_NUM_LISTS,
)
set_lowering(_primitive, _choose, platform="cuda")
