"""Tables: arrays that NumPy computes once, and that are constants for compilers and tracers.

A table is named by a function and its arguments, which are Python constants. For example,
``lookup(component_degrees, 2)`` is the array 0, 1, 1, 1, 2, 2, 2, 2, 2. A compiler can pass on such a name, where it
would trace the function, or refuse a NumPy array.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from itertools import count
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakValueDictionary

__all__ = ["Tables", "attribute", "handle", "host_table", "lookup", "tables_of"]

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=4096)
def _computed(function: Callable[..., object], arguments: tuple[Hashable, ...]) -> object:
    return function(*arguments)


_owned: dict[tuple[Callable[..., object], tuple[Hashable, ...]], Tables] = {}


def lookup(function: Callable[..., T], *arguments: Hashable) -> T:
    """Return ``function(*arguments)``, computed once and read-only.

    The backends of libraries with a compiler tell it to call this function instead of tracing it.

    Parameters
    ----------
    function : callable
        A function that has no other arguments and no side effects.
    *arguments
        Numbers, strings, and tuples of these.

    Returns
    -------
    T
        The result.
    """
    key = function, arguments
    if key in _owned:
        return cast(T, _owned[key])
    result = _computed(function, arguments)
    if isinstance(result, Tables):
        # Compiled programs know tables by their number alone, so these must never be computed a second time.
        _owned[key] = result
    return cast(T, result)


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
    """An object with NumPy arrays among its attributes; two are equal only if they are the same object.

    Objects that :func:`lookup` returns live as long as the process, since compiled programs refer to their numbers.

    Attributes
    ----------
    number : int
        The name of the object for compilers, which pass on numbers, but no objects.
    """

    number: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", next(_numbers))
        _known[self.number] = self

    def __setstate__(self, state: dict[str, object]) -> None:
        # A copy, or an object that another process has pickled, gets a new number: its own can be taken here.
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
