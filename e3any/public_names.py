"""Functions that modules of adapters offer under the names of functions of the core.

A function is pickled as its module and name. So a function that wraps another one must bear the name of the module that
offers it, where :func:`functools.wraps` has left that of the other one.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from inspect import isfunction, signature, unwrap
from typing import Any

__all__ = ["adopt", "core_function", "with_namespace"]


def with_namespace(function: Callable[..., Any], xp: Any) -> Callable[..., Any]:
    """Return a function whose option ``xp`` is an array API namespace by default.

    Parameters
    ----------
    function : callable
        The function.
    xp : namespace
        The namespace. It is no attribute of the result, as that of :class:`functools.partial`, since modules are not
        pickled.

    Returns
    -------
    callable
        The function.
    """

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **{"xp": xp, **options})

    wrapped.__signature__ = signature(functools.partial(function, xp=xp))  # type: ignore[attr-defined]
    return wrapped


def adopt(module: str) -> None:
    """Give the public functions of a module that are found nowhere else its name, and their own.

    Parameters
    ----------
    module : str
        Name of the module, which has ``__all__``.
    """
    here = sys.modules[module]
    for name in here.__all__:
        value = getattr(here, name)
        if isfunction(value) and getattr(sys.modules.get(value.__module__), value.__name__, None) is not value:
            value.__module__, value.__name__, value.__qualname__ = module, name, name


def core_function(function: Any) -> Any:
    """Return the function that a public one of an adapter wraps; everything else as it is."""
    module = getattr(function, "__module__", None) or ""
    if not (isfunction(function) and module.startswith("e3any_")):
        return function
    is_public = getattr(sys.modules.get(module), function.__name__, None) is function
    return unwrap(function) if is_public else function
