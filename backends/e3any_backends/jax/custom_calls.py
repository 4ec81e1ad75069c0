"""Primitives, and kernels as custom calls of XLA on CPUs.

A custom call fits into every compiled program, but the machine must have e3any when the program runs: exported
programs are made without. XLA cannot split a custom call over devices. Where there is no kernel, the plain form is
compiled, which is the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from e3any_backends import kernels
from e3any_backends.arrays import Array

__all__ = ["call", "define"]

Rule = Callable[..., Any]
Shape = tuple[int, ...]

# How many parts there may be of a kernel's work; when it runs, there are no more than XLA has threads.
_MOST_PARTS = 256


def define(
    primitive: Primitive,
    operation: str,
    *,
    jvp: Rule,
    transpose: Rule,
    batch: Rule,
    plain: Rule,
    by_kernel: Rule,
    plain_on_cpu: Rule | None = None,
) -> None:
    """Give a primitive, whose one parameter is a ``program``, its rules.

    Parameters
    ----------
    primitive : Primitive
        The primitive.
    operation : str
        What to call it where the reason is logged why no kernel is used.
    jvp, transpose, batch : callable
        What JAX asks for to differentiate and to vectorise.
    plain : callable
        A function of the operands and the program, which returns a list of results.
    by_kernel : callable
        The same on CPUs, by a kernel. It may return None.
    plain_on_cpu : callable, optional
        The plain form that is compiled for CPUs, if it is another one.
    """
    jvp, transpose, batch, plain, by_kernel = map(_by_own_settings, (jvp, transpose, batch, plain, by_kernel))
    plain_on_cpu = plain if plain_on_cpu is None else _by_own_settings(plain_on_cpu)

    @lru_cache(maxsize=512)
    def compiled(program: Any, *_: Any) -> Any:
        return jax.jit(partial(primitive.bind, program=program))

    @primitive.def_impl
    def evaluate(*operands: Array, program: Any) -> Any:
        with jax.disable_jit(False):  # else it would call itself
            return compiled(program, kernels.used(), kernels.most_threads())(*operands)

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(plain, multiple_results=True))
    mlir.register_lowering(primitive, _lowering(operation, by_kernel, plain_on_cpu), platform="cpu")


def _by_own_settings(rule: Rule) -> Rule:
    """Return a rule for which the user's settings of promotion do not hold: they are about the user's own arrays."""

    @wraps(rule)
    def run(*arguments: Any, **options: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return rule(*arguments, **options)

    return run


def _lowering(operation: str, by_kernel: Rule, plain: Rule) -> Rule:
    """Return the lowering for CPUs."""

    def evaluate(*operands: Array, program: Any) -> Any:
        results = None
        with suppress(kernels.KernelError):
            results = by_kernel(*operands, program=program)
        if results is None:
            kernels.log_fallback(operation, f"operands of shape {', '.join(str(o.shape) for o in operands)}")
            results = plain(*operands, program=program)
        return results

    def lower(context: Any, *operands: Any, program: Any) -> Any:
        obstacle = _obstacle(context)
        if obstacle:
            kernels.log_fallback(operation, obstacle)
        rule = mlir.lower_fun(plain if obstacle else evaluate, multiple_results=True)
        return rule(context, *operands, program=program)

    return lower


def _obstacle(context: Any) -> str:
    """Return why a kernel can't serve a program."""
    module = context.module_context
    if not kernels.used():
        return "kernels are switched off or do not work here"
    if module.lowering_parameters.for_export:
        return "exported programs run without e3any"
    if getattr(module.axis_context, "num_devices", 0) != 1:
        return "the program is for several devices"
    if any(not isinstance(n, int) for aval in context.avals_in for n in aval.shape):
        return "sizes are symbols"
    return ""


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
        The dtype of results and of operands that are not integers.
    shapes : sequence of tuple of int
        Shapes of the results.
    *operands : array
        Arrays of JAX, and tables as arrays of NumPy, which become constants of the program.
    program : Program or EdgeProgram, optional
        Code for an operation that takes it.
    shared : int
        How many words of eight bytes the parts of the work share.
    **amount : int
        How much work it is, as :func:`e3any_backends.kernels.parallel.pool.num_shares` takes it.

    Returns
    -------
    list of jax.Array or None
        The results; None if jaxlib refuses the kernel.
    """
    from e3any_backends.kernels.parallel.pool import num_shares

    target = _target(name, dtype, program)
    if target is None:
        return None
    results = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    numbers = {"parts": num_shares(count=lambda: _MOST_PARTS, **amount), "shared": shared}
    attributes = {name: np.int64(n) for name, n in {**numbers, "copied": amount.get("copied", 0)}.items()}
    return list(jax.ffi.ffi_call(target, results)(*map(jnp.asarray, operands), **attributes))


@cache
def _target(name: str, dtype: str, program: Any) -> str | None:
    """Compile a kernel and register it; return the name that XLA knows it by, or None if XLA refuses it."""
    target: str = f"e3any_{name}_{dtype}" if program is None else program.name
    try:
        jax.devices("cpu")  # without a client XLA would register the kernel, and refuse it, later
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(_handler(name, dtype, program)), platform="cpu")
    except RuntimeError as error:
        kernels.log_fallback(name, f"jaxlib refuses the kernel: {error}")
        return None
    return target


@cache
def _handler(name: str, dtype: str, program: Any) -> Any:
    """Return a kernel for XLA. The cache keeps it: XLA has its address."""
    from e3any_backends.kernels.code.unrolled import handler

    own, code = (f"e3any_{name}_{dtype}", 0) if program is None else (program.name, program.code)
    return handler(f"{own}_handler", code, _compiled(name, dtype).address)


@cache
def _compiled(name: str, dtype: str) -> Any:
    from e3any_backends.kernels.xla.operations import handler

    return handler(name, jnp.dtype(dtype).type)
