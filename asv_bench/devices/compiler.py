"""Lowering and compilation of functions of shapes for a device that is not there."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from . import ptx, triton_calls
from .targets import Target

__all__ = ["Executable", "Lowered", "compile_for", "lower_for"]

# What only depends on whether the device is known.
_SHARDING = re.compile(r"(?m)^ *sdy\.mesh .*\n|(?:, )?sdy\.sharding = #sdy\.sharding<@empty_mesh, \[[{}, ]*\]>")
_OPERATION = re.compile(r"= \"?(?:stablehlo|chlo)\.")


@dataclass(frozen=True)
class Lowered:
    """A program in StableHLO, before the compiler of a device sees it."""

    target: Target
    lowered: Any
    text: str

    @property
    def operations(self) -> int:
        """Number of operations, which the time of compilation depends on."""
        return len(_OPERATION.findall(self.text))

    @property
    def fingerprint(self) -> str:
        """Hash: equal programs have equal figures, if the compiler is the same."""
        text = triton_calls.CALL.sub(r"\1", _SHARDING.sub("", self.text).replace(" {}", ""))
        return hashlib.sha256("".join([text, *self.triton_sources]).encode()).hexdigest()[:16]

    @cached_property
    def triton_sources(self) -> list[str]:
        """Triton kernels that the program calls, as PTX."""
        return triton_calls.kernel_sources(self.lowered.compiler_ir()) if "triton_kernel_call" in self.text else []

    def compile(self) -> Executable:
        """Compile the program; that takes the target's packages."""
        if not self.target.architecture:
            return Executable(self.lowered.compile(), ())
        with tempfile.TemporaryDirectory() as folder:
            compiled = self._compile_with_dump(folder)
            # A file for each kernel, and empty ones for programs that have only calls.
            sources = [path.read_text() for path in sorted(Path(folder).glob("*.ptx")) if path.stat().st_size]
        sources += self.triton_sources
        used = (kernel for source in sources for kernel in ptx.kernels(source, self.target.architecture))
        return Executable(compiled, tuple(used))

    def _compile_with_dump(self, folder: str) -> Any:
        options: dict[str, Any] = {"xla_dump_to": folder, "xla_dump_hlo_as_text": False}
        try:
            return self.lowered.compile(compiler_options=options)
        except jax.errors.JaxRuntimeError as error:
            # Tiles of matrix products are tuned on the device. Without one the default tile can be too large.
            if "tile" not in str(error):
                raise
            return self.lowered.compile(compiler_options={**options, "xla_gpu_enable_triton_gemm": False})


@dataclass(frozen=True)
class Executable:
    """A compiled program and the kernels that it has in PTX."""

    compiled: Any
    kernels: tuple[ptx.Kernel, ...]

    @property
    def text(self) -> str:
        """The scheduled module in HLO."""
        return str(self.compiled.as_text())

    @property
    def temporary_bytes(self) -> int:
        """Memory beside arguments and results."""
        return int(self.compiled.memory_analysis().temp_size_in_bytes)

    @property
    def code_bytes(self) -> int:
        """Size of the machine code."""
        generated = int(self.compiled.memory_analysis().generated_code_size_in_bytes)
        return generated or sum(kernel.code for kernel in self.kernels)


def lower_for(target: Target, function: Callable[..., Any], *shapes: Any) -> Lowered:
    """Lower a function of arrays as a process on a machine with the device does; its packages are not needed.

    Parameters
    ----------
    target : Target
        The device.
    function : callable
        The function, which is traced.
    *shapes : trees of jax.ShapeDtypeStruct
        Its arguments.
    """
    sharding = None if target.missing() else SingleDeviceSharding(target.device())
    jitted = jax.jit(function, in_shardings=sharding, out_shardings=sharding)
    lowered = jitted.trace(*shapes).lower(lowering_platforms=(target.platform,))
    return Lowered(target, lowered, lowered.as_text())


def compile_for(target: Target, function: Callable[..., Any], *shapes: Any) -> Executable:
    """Lower and compile a function of arrays; see :func:`lower_for`."""
    return lower_for(target, function, *shapes).compile()
