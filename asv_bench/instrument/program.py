"""A program: a function in a framework, turned into a call without arguments by a mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e3any_backends import kernels

#: "forward": the value. "backward": the value and all first derivatives of the sum of squares of the output.
#: "second": all derivatives of the sum of squares of its gradient by the first input. For models of energies:
#: "forces": energies and their gradient by the first input. "training": a step of Adam on both.
MODES = ("forward", "backward", "second", "forces", "training")


class Unavailable(NotImplementedError):
    """Raised where a competitor is not installed, or cannot do a task; asv reports n/a."""


@dataclass(frozen=True)
class Program(ABC):
    """A function ``apply(params, *inputs)`` in a framework, with what it is applied to."""

    apply: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]
    kernels: bool = True  # whether e3any may take its kernels for the CPU

    def call(self, mode: str) -> Callable[[], Any]:
        """Return a call that does the work once, and returns when it is done; its first call compiles."""
        call = self._call(mode)

        def plain() -> Any:
            with kernels.enabled(False):
                return call()

        return call if self.kernels else plain

    @abstractmethod
    def _call(self, mode: str) -> Callable[[], Any]:
        """Return a call of the framework's."""
