"""Tables: what NumPy computes once, and what is constant for everything that traces a computation.

A table is named by the function that computes it and its arguments, which are Python constants. Compilers can hand on
such a name without looking into the function or into arrays of NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from itertools import count
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Tables", "attribute", "handle", "host_table", "lookup", "tables_of"]

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=4096)
def _computed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)


_owned: dict[tuple[Any, ...], Tables] = {}


def lookup(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)``, computed once and not to be written to.

    The backends of libraries with a compiler tell it to call this function instead of tracing it.

    Parameters
    ----------
    function : callable
        A function that has no other arguments and no side effects.
    *arguments
        Numbers, strings, and tuples of these.

    Returns
    -------
    Any
        What the function returns.
    """
    key = function, arguments
    if key in _owned:
        return _owned[key]  # type: ignore[return-value]
    result: T = _computed(function, arguments)
    if isinstance(result, Tables):
        # Compiled programs know tables by their number alone, so these must never be computed a second time.
        _owned[key] = result
    return result


def host_table(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of positional arguments so that it is evaluated by :func:`lookup`."""

    @wraps(function)
    def table(*arguments: P.args, **_: P.kwargs) -> T:
        return lookup(function, *arguments)

    return table


_numbers = count()
_known: WeakValueDictionary[int, Tables] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Tables:
    """An object with arrays of NumPy among its attributes; two are equal only if they are the same object.

    What :func:`lookup` returns lives as long as the process, since compiled programs refer to it by its number.

    Attributes
    ----------
    number : int
        What compilers call the object by: they hand on numbers, but no objects.
    """

    number: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", next(_numbers))
        _known[self.number] = self

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy, or what another process has pickled, is another object: its number may be that of something else.
        vars(self).update(state)
        Tables.__post_init__(self)


def tables_of(number: int) -> Any:
    """Return the object of a number."""
    return _known[number]


def attribute(number: int, name: str) -> Any:
    """Return an attribute of the object of a number."""
    return getattr(_known[number], name)


def handle(tables: Tables, name: str) -> int:
    """Return the number of an attribute, such as ``"product_form"``, that is an object with tables itself."""
    return lookup(_number_of, tables.number, name)


def _number_of(number: int, name: str) -> int:
    found: Tables = attribute(number, name)
    return found.number
