"""Types for annotations of functions that write LLVM IR.

An extension of numba (https://numba.readthedocs.io/en/stable/extending/low-level.html) consists of two functions. The
outer one gets the types of the arguments and returns a :data:`Typed`. The inner one, an :data:`Emit`, writes the
instructions of a call. Only type checkers import this module: names move between versions of numba.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite.ir import IRBuilder, Value
from numba.core import types
from numba.core.cpu import CPUContext
from numba.core.types.containers import UniTuple
from numba.core.types.misc import StringLiteral
from numba.core.typing import Context, Signature

__all__ = ["CPUContext", "Context", "FloatArray", "Intrinsic", "Name", "Signature", "Typed", "UniTuple"]
__all__ += ["Values"]

#: The type of arrays of floating-point numbers.
FloatArray: TypeAlias = "types.Array[types.Float]"
#: The type of a constant string.
Name: TypeAlias = StringLiteral
#: The arguments of a call in LLVM IR.
Values: TypeAlias = Sequence[Value]
#: Writes the instructions of a call with a given signature, and returns its result.
Emit: TypeAlias = Callable[[CPUContext, IRBuilder, Signature, Values], Value]
#: The signature of a function, and what writes calls of it.
Typed: TypeAlias = tuple[Signature, Emit]
#: Makes an outer function the function that kernels call.
Intrinsic: TypeAlias = Callable[[Callable[..., Typed]], Callable[..., Any]]
