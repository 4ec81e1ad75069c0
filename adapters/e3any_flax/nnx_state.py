"""Parameters in modules and states of NNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import nnx

__all__ = ["params_of", "replace_params"]

_KINDS = (nnx.Param, nnx.BatchStat)


def params_of(node: Any) -> dict[str, Any]:
    """Return the NNX variables that are parameters or statistics, in a nested dictionary."""
    state = nnx.state(node) if isinstance(node, nnx.Module) else node
    tree: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(state):
        if isinstance(variable, _KINDS):
            *names, last = map(str, path)
            inner = tree
            for name in names:
                inner = inner.setdefault(name, {})
            inner[last] = variable
    return tree


def replace_params(like: Any, tree: Mapping[str, Any]) -> nnx.State[Any, Any] | None:
    """Return a state with new values of its parameters; or update those of a module and return None."""
    if isinstance(like, nnx.Module):
        nnx.update(like, _with_params(nnx.state(like, _KINDS), tree))
        return None
    return _with_params(like, tree)


def _with_params(state: nnx.State[Any, Any], tree: Mapping[str, Any]) -> nnx.State[Any, Any]:
    """Return a state with new values of its parameters."""

    def leaf(path: tuple[Any, ...], variable: Any) -> Any:
        value: Any = tree
        for name in path:
            value = value[str(name)]
        return variable.replace(value)

    flat = nnx.to_flat_state(state)
    return nnx.from_flat_state([(path, leaf(path, x) if isinstance(x, _KINDS) else x) for path, x in flat])
