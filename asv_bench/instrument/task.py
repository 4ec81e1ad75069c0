"""A task: a layer or function of e3any, and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Task:
    """A computation on given inputs, which every competitor does in its own way.

    Parameters
    ----------
    compute : e3any.nn.Layer or callable
        A description of a layer, or a function of arrays.
    inputs : tuple of arrays
        NumPy arrays, or pairs of them (a factored basis).
    lists : dict of arrays
        Index lists, given by name.
    options : dict
        Arguments by name that are not arrays.
    """

    compute: Any
    inputs: tuple[Any, ...]
    lists: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Inputs, then index lists."""
        return *self.inputs, *self.lists.values()

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``apply(params, *arrays)`` of ``function(params, *inputs, **lists, **options)``."""
        names, count = tuple(self.lists), len(self.inputs)

        def apply(params: Any, *arrays: Any) -> Any:
            lists = dict(zip(names, arrays[count:], strict=True))
            return function(params, *arrays[:count], **lists, **self.options)

        return apply
