"""Generated Triton source: its lines, and the function that Triton makes of it."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

__all__ = ["Features", "Kernel", "Lines"]

#: The dtypes in which kernels compute, by those of the operands; results have the former.
WIDE = {"bfloat16": "float32", "float16": "float32", "float32": "float32", "float64": "float64"}


@dataclass(frozen=True)
class Features:
    """How the features of a row are split between programs and threads.

    Parameters
    ----------
    num : int
        Number of features, a constant of the kernel: as an argument it costs 20 to 45 registers for addresses.
    block : int
        Features of one program, a power of two.
    dtype : str
        The dtype in which the kernel computes.
    """

    num: int
    block: int
    dtype: str

    @classmethod
    def of(cls, num: int, dtype: str, most: int = 128) -> Features:
        """Return blocks of at most ``most`` features for operands of a dtype."""
        block = 1
        while block < min(num, most):
            block *= 2
        return cls(num, block, WIDE[dtype])

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.num // self.block)

    @property
    def mask(self) -> str:
        """The mask of loads and stores; nothing is masked if blocks divide the features."""
        return "" if self.num % self.block == 0 else ", mask=mask"

    def load(self, address: str) -> str:
        """Return the code that reads features of a row whose first one has a given address."""
        other = ", other=0.0" if self.mask else ""
        return f"tl.load({address} + f{self.mask}{other}).to(tl.{self.dtype})"

    def store(self, address: str, value: str) -> str:
        """Return the code that writes features of a row."""
        return f"tl.store({address} + f, {value}{self.mask})"

    @property
    def zeros(self) -> str:
        """The code of zeros for all features."""
        return f"tl.zeros(({self.block},), tl.{self.dtype})"

    def head(self, axis: int) -> list[str]:
        """Return the code that finds the features of a program."""
        lines = [f"f = tl.program_id({axis}) * {self.block} + tl.arange(0, {self.block})"]
        return lines + [f"mask = f < {self.num}"] * bool(self.mask)


class Lines:
    """The lines of a function of Triton."""

    def __init__(self, name: str, arguments: Sequence[str]) -> None:
        self.name, self.arguments = name, tuple(arguments)
        # Numbers of nodes differ between calls, and a kernel for each of their kinds would be compiled.
        numbers = [argument for argument in arguments if argument.startswith("num_")]
        self._lines = ["import triton", "import triton.language as tl", "", ""]
        self._lines.append(f"@triton.jit(do_not_specialize={numbers})")
        self._lines.append(f"def {name}({', '.join(arguments)}):")
        self._depth = 1

    def add(self, *lines: str) -> None:
        """Add lines."""
        self._lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Add a line that ends in a colon, and indent what is added within the context."""
        self.add(head)
        self._depth += 1
        yield
        self._depth -= 1

    def kernel(self) -> Kernel:
        """Return the function as a kernel."""
        return Kernel(self.name, self.arguments, "\n".join(self._lines) + "\n")


@dataclass(frozen=True)
class Kernel:
    """The source of a kernel.

    Parameters
    ----------
    name : str
        Name of the function.
    arguments : tuple of str
        Names of its arguments: arrays that are read, numbers, arrays that are written.
    source : str
        A module of Python.
    """

    name: str
    arguments: tuple[str, ...]
    source: str

    @cached_property
    def function(self) -> Any:
        """The function of Triton."""
        return _load(self.name, self.source)


@lru_cache(maxsize=1)
def _folder() -> Path:
    """Return the folder of the sources of this process, which Triton reads again and debuggers show."""
    folder = tempfile.TemporaryDirectory(prefix="e3any-triton-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@lru_cache(maxsize=512)
def _load(name: str, source: str) -> Any:
    path = _folder() / f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"expected a module of Python, got {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)
