"""Kernels as custom calls of XLA on CPUs.

A custom call fits into every compiled program, but the machine must have e3any when the program runs: exported
programs are made without. XLA cannot split a custom call over devices. Where there is no kernel, the plain form is
compiled, which is the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import mlir

from e3any_backends import kernels
from e3any_backends.generic import Array

__all__ = ["call", "lowering"]

Rule = Callable[..., Any]


def lowering(operation: str, by_kernel: Rule, plain: Rule) -> Rule:
    """Return the lowering of a primitive with several results for CPUs.

    Parameters
    ----------
    operation : str
        What to call it where the reason is logged why no kernel is used.
    by_kernel, plain : callable
        Functions of the operands and the parameters of the primitive. The first may return None.
    """

    def evaluate(*operands: Array, **parameters: Any) -> Any:
        results = by_kernel(*operands, **parameters)
        if results is None:
            kernels.say(operation, f"operands of shape {', '.join(str(o.shape) for o in operands)}")
            results = plain(*operands, **parameters)
        return results

    def lower(context: Any, *operands: Any, **parameters: Any) -> Any:
        obstacle = _obstacle(context)
        if obstacle:
            kernels.say(operation, obstacle)
        rule = mlir.lower_fun(plain if obstacle else evaluate, multiple_results=True)
        return rule(context, *operands, **parameters)

    return lower


def _obstacle(context: Any) -> str:
    """Return why a kernel can't serve a program."""
    module = context.module_context
    if not kernels.used():
        return "kernels are switched off or numba is not installed"
    if module.lowering_parameters.for_export:
        return "exported programs run without e3any"
    if getattr(module.axis_context, "num_devices", 0) != 1:
        return "the program is for several devices"
    if any(not isinstance(n, int) for aval in context.avals_in for n in aval.shape):
        return "sizes are symbols"
    return ""


def call(name: str, dtype: str, shapes: Sequence[tuple[int, ...]], *operands: Array) -> list[Array] | None:
    """Call a kernel.

    Parameters
    ----------
    name : str
        A key of :data:`e3any_backends.kernels.xla.OPERATIONS`.
    dtype : str
        The dtype of results and of operands that are not integers.
    shapes : sequence of tuple of int
        Shapes of the results.
    *operands : array
        Arrays of JAX, and tables as arrays of NumPy, which become constants of the program.

    Returns
    -------
    list of jax.Array or None
        The results; None if jaxlib refuses the kernel.
    """
    target = _target(name, dtype)
    if target is None:
        return None
    results = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    return list(jax.ffi.ffi_call(target, results)(*map(jnp.asarray, operands)))


@cache
def _target(name: str, dtype: str) -> str | None:
    """Compile a kernel and register it; return the name that XLA knows it by, or None if XLA refuses it."""
    target = f"e3any_{name}_{dtype}"
    try:
        jax.devices("cpu")  # without a client XLA would register the kernel, and refuse it, later
        jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(_handler(name, dtype).ctypes), platform="cpu")
    except RuntimeError as error:
        kernels.say(name, f"jaxlib refuses the kernel: {error}")
        return None
    return target


@cache
def _handler(name: str, dtype: str) -> Any:
    """Compile a kernel. The cache keeps it: XLA has its address."""
    from e3any_backends.kernels.xla import handler

    return handler(name, jnp.dtype(dtype).type)
