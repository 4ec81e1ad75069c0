"""Names of the core's functions that adapters wrap and export.

Pickle stores a function as its module and name. :func:`functools.wraps` gives a wrapper the module and the name of the
wrapped function, so that the wrapped function would be unpickled in its place. The wrapper therefore gets the name of
the module that exports it.
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
        The namespace.

    Returns
    -------
    callable
        The function.
    """

    # No functools.partial: it would be pickled with its arguments, and modules can't be pickled.
    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **{"xp": xp, **options})

    wrapped.__signature__ = signature(functools.partial(function, xp=xp))  # type: ignore[attr-defined]
    return wrapped


def adopt(module: str) -> None:
    """Give the wrappers that a module exports the module's name, and the names under which it exports them.

    Functions that another module already exports under their own name are left as they are.

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
    """Return the core function that a public function of an adapter wraps; return anything else unchanged."""
    module = getattr(function, "__module__", None) or ""
    if not (isfunction(function) and module.startswith("e3any_")):
        return function
    is_public = getattr(sys.modules.get(module), function.__name__, None) is function
    return unwrap(function) if is_public else function
