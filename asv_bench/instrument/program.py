"""A program: a function in a framework, and the calls without arguments that modes make of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e3any_backends import kernels

#: "forward": the value. "backward": the value and all first derivatives of the sum of squares of the output.
#: "second": all derivatives of the sum of squares of its gradient with respect to the first input. For models of
#: energies: "forces": energies and their gradient with respect to the first input. "training": a step of Adam on both.
MODES = ("forward", "backward", "second", "forces", "training")


class Unavailable(NotImplementedError):
    """Raised where a competitor is not installed, or cannot do a task; asv reports n/a."""


@dataclass(frozen=True)
class Program(ABC):
    """A function ``apply(params, *inputs)`` in a framework, with its arguments."""

    apply: Callable[..., Any]
    params: Any
    inputs: tuple[Any, ...]
    kernels: bool = True  # whether e3any can use its kernels for the CPU

    def call(self, mode: str) -> Callable[[], Any]:
        """Return a call that does the work once, and returns when it is done; its first call compiles."""
        call = self._call(mode)

        def without_kernels() -> Any:
            with kernels.enabled(False):
                return call()

        return call if self.kernels else without_kernels

    @abstractmethod
    def _call(self, mode: str) -> Callable[[], Any]:
        """Return a call in the framework."""
