"""Registers and spills of kernels in PTX, from the assembler that Triton has in its wheel."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

__all__ = ["Kernel", "assembler", "kernels", "read_log"]

_ENTRY = re.compile(r"Compiling entry function '(\S+)'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")


class Kernel(NamedTuple):
    """A kernel and what it takes on the device; ``code`` is the size of its cubin."""

    name: str
    registers: int
    spilled: int
    stack: int
    code: int


@lru_cache
def assembler() -> Path | None:
    """Return Triton's ptxas, if it is installed."""
    package = find_spec("triton")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "backends" / "nvidia" / "bin" / "ptxas"
    return path if path.exists() else None


def kernels(ptx: str, architecture: str) -> Iterator[Kernel]:
    """Assemble kernels and yield what each takes; ``architecture`` is that of ptxas, like "sm_90a"."""
    ptxas = assembler()
    if ptxas is None:
        raise FileNotFoundError("expected the package 'triton', which has ptxas, got none")
    # XLA writes a newer version than Triton's assembler reads, without using what is new in it.
    text = re.sub(r"(?m)^\.version 9\.\d", ".version 8.8", ptx)
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        source.write_text(text)
        command = [str(ptxas), "-v", f"-arch={architecture}", str(source), "-o", str(cubin)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"expected PTX for {architecture}, got an error of ptxas: {done.stderr[:300]}")
        size = cubin.stat().st_size
    yield from read_log(done.stderr, size)


def read_log(log: str, size: int) -> Iterator[Kernel]:
    """Yield the kernels of ptxas's log; a file has one kernel, or its size is that of all."""
    name, stack, spilled = "", 0, 0
    for line in log.splitlines():
        if entry := _ENTRY.search(line):
            name = entry[1]
        elif frame := _FRAME.search(line):
            stack, spilled = int(frame[1]), int(frame[2]) + int(frame[3])
        elif used := _USED.search(line):
            yield Kernel(name, int(used[1]), spilled, stack, size)
