"""Registration of primitives, and CPU kernels as custom calls of XLA.

A custom call fits into every compiled program, but XLA cannot split it over devices, and the machine must have e3any
when the program runs. So exported programs, and those for several devices, are compiled from the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive

from e3any_backends import kernels
from e3any_backends.arrays import Array
from e3any_backends.jax import gpu
from e3any_backends.jax.precision import own_precision
from e3any_backends.jax.private import Lowering, set_batching, set_derivatives, set_lowering

__all__ = ["Rule", "call", "define"]

Rule = Callable[..., Any]
Shape = tuple[int, ...]

# The largest number of shares of a kernel's work; when it runs, there are no more than XLA has threads.
_MOST_PARTS = 256


def define(
    primitive: Primitive,
    operation: str,
    *,
    jvp: Rule,
    transpose: Rule,
    batch: Rule,
    reference: Rule,
    by_kernel: Rule,
    reference_on_cpu: Rule | None = None,
    reference_on_gpu: Rule | None = None,
    by_gpu_kernel: Rule | None = None,
) -> None:
    """Give a primitive, whose one parameter is a ``program``, its rules.

    Parameters
    ----------
    primitive : Primitive
        The primitive.
    operation : str
        Name of the operation in the log, which tells why no kernel is used.
    jvp, transpose, batch : callable
        The rules of JAX for derivatives and for :func:`jax.vmap`.
    reference : callable
        A function of the operands and the program that returns a list of results.
    by_kernel : callable
        The same by a kernel, for CPUs; None stands for operands that the kernel does not support.
    reference_on_cpu, reference_on_gpu : callable, optional
        The references that are compiled for CPUs and for GPUs, if they are other ones. The platform is that of the
        program, and not what the process runs on: a program can be compiled for a GPU on a machine without one.
    by_gpu_kernel : callable, optional
        The same as ``by_kernel`` for GPUs of NVIDIA.
    """
    rules = jvp, transpose, batch, by_kernel, reference, reference_on_cpu or reference, reference_on_gpu or reference
    jvp, transpose, batch, by_kernel, reference, reference_on_cpu, reference_on_gpu = map(_with_own_settings, rules)

    @lru_cache(maxsize=512)
    def compiled(program: Any, *_: Any) -> Any:
        return jax.jit(partial(primitive.bind, program=program))

    @primitive.def_impl
    def evaluate(*operands: Array, program: Any) -> Any:
        with jax.disable_jit(False):  # else it would call itself
            return compiled(program, kernels.used(), kernels.most_threads())(*operands)

    set_derivatives(primitive, jvp, transpose)
    set_batching(primitive, batch)
    set_lowering(primitive, lambda _: reference)
    on_cpu = _chosen(operation, by_kernel, reference_on_cpu, _obstacle)
    set_lowering(primitive, on_cpu, platform="cpu")
    for platform in ("cuda", "rocm"):
        set_lowering(primitive, lambda _: reference_on_gpu, platform=platform)
    if by_gpu_kernel is not None:
        on_gpu = _chosen(operation, _with_own_settings(by_gpu_kernel), reference_on_gpu, gpu.obstacle)
        set_lowering(primitive, on_gpu, platform="cuda")


def _with_own_settings(rule: Rule) -> Rule:
    """Return a rule that ignores the user's settings of promotion: they are about the user's own arrays."""

    @wraps(rule)
    def run(*arguments: Any, **options: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), own_precision(arguments):
            return rule(*arguments, **options)

    return run


def _chosen(
    operation: str, by_kernel: Rule, reference: Rule, obstacle: Callable[[Lowering], str]
) -> Callable[[Lowering], Rule]:
    """Return a function that chooses between a kernel, which may still not support the operands, and the reference.

    ``obstacle`` says why kernels do not support a program, empty if they do.
    """

    def by_kernel_if_supported(*operands: Array, program: Any) -> Any:
        results = None
        with suppress(kernels.KernelError):
            results = by_kernel(*operands, program=program)
        if results is None:
            kernels.log_fallback(operation, f"operands of shape {', '.join(str(o.shape) for o in operands)}")
            results = reference(*operands, program=program)
        return results

    def choose(lowering: Lowering) -> Rule:
        reason = obstacle(lowering)
        if reason:
            kernels.log_fallback(operation, reason)
        return reference if reason else by_kernel_if_supported

    return choose


def _obstacle(lowering: Lowering) -> str:
    """Return why kernels do not support a program, empty if they do."""
    if not kernels.used():
        return "kernels are switched off or do not work here"
    if lowering.is_exported:
        return "exported programs run without e3any"
    if lowering.num_devices != 1:
        return "the program is for several devices"
    return "sizes are symbols" if lowering.has_symbolic_sizes else ""


def call(
    name: str,
    dtype: str,
    shapes: Sequence[Shape],
    *operands: Array,
    program: Any = None,
    shared: int = 0,
    **amount: int,
) -> list[Array] | None:
    """Call a kernel.

    Parameters
    ----------
    name : str
        A key of :data:`e3any_backends.kernels.xla.operations.OPERATIONS`.
    dtype : str
        Dtype of results and of floating-point operands.
    shapes : sequence of tuple of int
        Shapes of the results.
    *operands : array
        JAX arrays, and NumPy arrays, which become constants of the program.
    program : Program, EdgeProgram or PathProgram, optional
        Machine code of the operation, if it has its own for these operands.
    shared : int
        Size, in words of eight bytes, of the scratch memory that all shares of the work use.
    **amount : int
        Arguments of :func:`e3any_backends.kernels.parallel.pool.num_shares`, which say how much work it is.

    Returns
    -------
    list of jax.Array or None
        The results; None if jaxlib refuses the kernel, or JAX converted operands to another dtype.
    """
    from e3any_backends.kernels.parallel import pool
    from e3any_backends.kernels.xla.call_frame import attributes

    arrays = [jnp.asarray(o) for o in operands]
    # Kernels read memory as the dtype that they were compiled for, whatever it holds.
    if any(jnp.issubdtype(a.dtype, jnp.floating) and a.dtype != dtype for a in arrays):
        kernels.log_fallback(name, f"an operand is not of {dtype}")
        return None
    target = _target(name, dtype, program)
    if target is None:
        return None
    results = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    num_shares = pool.num_shares(count=lambda: _MOST_PARTS, **amount)
    numbers = attributes(num_shares=num_shares, partial_size=amount.get("partial_size", 0), scratch_words=shared)
    return list(jax.ffi.ffi_call(target, results)(*arrays, **numbers))


@cache
def _target(name: str, dtype: str, program: Any) -> str | None:
    """Compile and register a kernel; return its name in XLA, or None if XLA refuses it."""
    target: str = f"e3any_{name}_{dtype}" if program is None else program.name
    try:
        jax.devices("cpu")  # without a client XLA would register the kernel later, where a refusal is no exception
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(_handler(name, dtype, program)), platform="cpu")
    except RuntimeError as error:
        kernels.log_fallback(name, f"jaxlib refuses the kernel: {error}")
        return None
    return target


def _handler(name: str, dtype: str, program: Any) -> Any:
    """Return a kernel for XLA, which is kept alive: XLA has its address."""
    from e3any_backends.kernels.xla.handlers import handler

    return handler(name, dtype, program)
