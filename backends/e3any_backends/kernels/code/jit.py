"""Compilers of kernels: decorators for functions, which numba compiles, and modules of LLVM IR.

=====================  ===================================  ==========================  =====================
decorator              called by                            compiled                    kept on disk
=====================  ===================================  ==========================  =====================
:func:`jit`            Python, kernels                      at the first call           yes
:func:`c_function`     C                                    at once                     yes
:func:`part`           kernels; makes no arrays             into its callers, by LLVM   with its callers
:func:`inner`          kernels                              at the first call           with its callers
:func:`inlined`        kernels                              into its callers, by numba  with its callers
=====================  ===================================  ==========================  =====================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

import numba
from numba.core import types
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from e3any_backends import kernels
from e3any_backends.kernels.code.disk import Disk
from e3any_backends.kernels.parallel.pool import undisturbed

if TYPE_CHECKING:
    from llvmlite import ir
    from numba.core.codegen import JITCodeLibrary
    from numba.core.registry import CPUDispatcher

    from e3any_backends.kernels.code.annotations import Context, CPUContext, Signature, Typed, Values

__all__ = [
    "FAST_MATH",
    "address_as_pointer",
    "c_function",
    "compiled_module",
    "guarded",
    "inlined",
    "inner",
    "jit",
    "part",
]

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Sums may be reordered, products and sums fused, and signs of zeros lost. Left out of
#: https://llvm.org/docs/LangRef.html#fast-math-flags are those for which infinities and NaN are undefined (``nnan``,
#: ``ninf``), and quotients are products with a reciprocal (``arcp``).
FAST_MATH = ("contract", "reassoc", "nsz")
_OPTIONS: dict[str, object] = {"fastmath": set(FAST_MATH), "error_model": "numpy"}
_KERNEL: dict[str, object] = {**_OPTIONS, "nogil": True, "no_cfunc_wrapper": True}
# Parts make no arrays, so numba need not count references to arrays in their loops (``_nrt``): with these counts,
# harmonics take a tenth longer.
_PART: dict[str, object] = {**_KERNEL, "no_cpython_wrapper": True, "forceinline": True, "_nrt": False}


def guarded(function: Callable[[*Ts], T]) -> Callable[[*Ts], T]:
    """Decorate a function that compiles kernels: no signal interrupts it, and errors switch kernels off.

    Raises
    ------
    KernelError
        If it fails, or has failed before.
    """

    def attempt(*arguments: *Ts) -> T:
        if not kernels.available():
            raise kernels.KernelError("kernels are switched off")
        try:
            return function(*arguments)
        except kernels.KernelError:
            raise
        except Exception as error:
            raise kernels.give_up(error) from error

    @wraps(function)
    def call(*arguments: *Ts) -> T:
        # A thread that holds numba's lock compiles itself: a helper would wait for the lock forever.
        return attempt(*arguments) if global_compiler_lock.is_locked() else undisturbed(attempt, *arguments)

    return call


def jit(function: F) -> F:
    """Compile a function at its first call, and keep the machine code on disk if possible.

    numba takes seconds to compile assignments to slices (``out[:] = x``) and functions that make arrays (``x + y``).
    Loops over arrays that the caller has made are compiled faster.
    """
    compiled: CPUDispatcher = numba.njit(**_KERNEL)(function)
    compiled._cache = Disk(function)
    # numba calls this method for arguments of new types.
    compiled._compile_for_args = guarded(compiled._compile_for_args)
    return cast(F, compiled)


def part(function: F) -> F:
    """Compile a function that only kernels call into each of them. It cannot make arrays."""
    compiled: F = numba.njit(**_PART)(function)
    return compiled


def inner(function: F) -> F:
    """Compile a function that only kernels call, and that can make arrays."""
    compiled: F = numba.njit(**_KERNEL, no_cpython_wrapper=True)(function)
    return compiled


def inlined(function: F) -> F:
    """Copy the body of a function into its callers before they are compiled, which saves a compilation."""
    compiled: F = numba.njit(**_KERNEL, inline="always")(function)
    return compiled


def c_function(function: Callable[..., int]) -> CFunc:
    """Compile a C function of integers now, and keep the machine code on disk as :func:`jit` does."""
    signature = types.intp(*[types.intp] * function.__code__.co_argcount)
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options=dict(_OPTIONS))
    setattr(compiled, "_cache", Disk(function))  # noqa: B010
    compiled.compile()
    return compiled


# Machine code lives as long as its library, hence for the rest of the process.
_libraries: dict[str, JITCodeLibrary] = {}


def compiled_module(module: ir.Module, name: str) -> int:
    """Compile a module of LLVM IR, unless it is compiled; return the address of the function ``name``.

    Parameters
    ----------
    module : llvmlite.ir.Module
        The module.
    name : str
        The name of the function, and of the module among all that the process compiles.
    """
    with global_compiler_lock:  # the compiler has one name space for all threads
        if name not in _libraries:
            # numba's own compiler, for the same processor and with the same passes as kernels of numba.
            library = cpu_target.target_context.codegen().create_library(name)
            like = library.create_ir_module(name)
            module.triple, module.data_layout = like.triple, like.data_layout
            library.add_ir_module(module)
            library.finalize()
            _libraries[name] = library
        address: int = _libraries[name].get_pointer_to_function(name)
    return address


def _address_as_pointer(typing_context: Context, address: types.Integer) -> Typed:
    def emit(context: CPUContext, builder: ir.IRBuilder, signature: Signature, arguments: Values) -> ir.Value:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), emit


#: Return an address as a pointer, in kernels.
address_as_pointer: Callable[[int], object] = intrinsic(_address_as_pointer)
