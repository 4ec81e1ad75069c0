"""Registers, spills and instructions of kernels, compiled for a GPU without one.

Triton brings the compiler and assembler of NVIDIA. ``cuobjdump`` shows registers, and the local memory that a thread
needs because its registers are full: *spills*.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from e3any_backends.triton.graphs import LISTS
from e3any_backends.triton.source import WIDE, Kernel

__all__ = ["Resources", "compile_for"]

_POINTERS = {"float32": "*fp32", "float64": "*fp64", "bfloat16": "*bf16", "float16": "*fp16"}
_OUTPUTS = re.compile(r"out|sums|parts|dw|dq|dY|dg|d\d+")


class Resources(NamedTuple):
    """Resources of one thread of a kernel.

    Parameters
    ----------
    registers : int
        Registers of 32 bits. A thread has at most 255.
    stack : int
        Bytes of local memory.
    spills : int
        Instructions that move registers to or from local memory.
    instructions : int
        All instructions.
    """

    registers: int
    stack: int
    spills: int
    instructions: int


def compile_for(kernel: Kernel, dtype: str, num_warps: int, architecture: int = 90) -> Resources:
    """Compile a kernel for operands of a dtype and a GPU of NVIDIA, such as 90 for sm_90 (H100, H200); count.

    ptxas can give up, which shows in the stack and in spills, and not in the number of registers.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: _type_of(name, dtype) for name in kernel.arguments}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arguments) if signature[name] != "i32"}
    source = ASTSource(fn=kernel.function, signature=signature, constexprs={}, attrs=aligned)
    options = {"num_warps": num_warps, "enable_fp_fusion": True}
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([tool, flag, file.name], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    return _count(usage, code)


def _type_of(name: str, dtype: str) -> str:
    if name.startswith("num_"):
        return "i32"
    if name in LISTS:
        return "*i32"
    return _POINTERS[WIDE[dtype] if _OUTPUTS.fullmatch(name) else dtype]


def _count(usage: str, code: str) -> Resources:
    """Read the tables of ``cuobjdump``."""
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise ValueError(f"expected registers and stack, got {usage!r}")
    operations = re.findall(r"/\*[0-9a-f]{4,5}\*/ +(?:@!?U?P\d+ )?([A-Z0-9]+)", code)
    spills = sum(operation in ("LDL", "STL") for operation in operations)
    return Resources(int(found[1]), int(found[2]), spills, len(operations))
