"""Chemical elements by atomic number or symbol, and the elements that a model knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

__all__ = ["Element", "as_numbers", "check_numbers", "check_rows", "names", "of_embeddings"]

#: An atomic number or a symbol.
Element: TypeAlias = int | str

_LAST = 118


def as_numbers(elements: Iterable[Element]) -> tuple[int, ...]:
    """Return elements, given by symbols or atomic numbers, as ascending atomic numbers."""
    if isinstance(elements, (str, bytes)) or not isinstance(elements, Iterable):
        raise TypeError(f"expected elements to be a sequence of symbols or atomic numbers, got {elements!r}")
    return tuple(sorted({_number(element) for element in elements}))


def _number(element: Element) -> int:
    if isinstance(element, str):
        # The symbol X of ASE, for any atom, has the number zero.
        if not atomic_numbers.get(element):
            raise ValueError(f"expected symbols of elements, got {element!r}")
        return int(atomic_numbers[element])
    if isinstance(element, bool) or not isinstance(element, (int, np.integer)):
        raise TypeError(f"expected elements as symbols or atomic numbers, got {element!r}")
    if not 1 <= element <= _LAST:
        raise ValueError(f"expected atomic numbers from 1 to {_LAST}, got {element}")
    return int(element)


def names(numbers: Sequence[int]) -> str:
    """Return elements as a text, such as ``C (6), Au (79)``, or ``H (1) to Ne (10)``."""
    if len(numbers) > 4 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{names(numbers[:1])} to {names(numbers[-1:])}"
    return ", ".join(f"{chemical_symbols[z]} ({z})" for z in numbers)


def check_numbers(numbers: NDArray[Any], elements: Sequence[int] | None = None) -> None:
    """Raise a ValueError unless all numbers are those of elements, and the model knows them."""
    present = np.unique(numbers).tolist()
    if wrong := [z for z in present if not 1 <= z <= _LAST]:
        raise ValueError(f"expected atomic numbers from 1 to {_LAST}, got {wrong[0]}: structures have no padding yet")
    if elements is not None and (unknown := [z for z in present if z not in elements]):
        raise ValueError(f"expected elements that the model knows, {names(elements)}, got {names(unknown)}")


def check_rows(elements: Sequence[int], known: Sequence[int] | None) -> None:
    """Raise a ValueError if tables of embeddings have no rows for some elements, see :func:`of_embeddings`."""
    # A model that numbers its elements itself has as many rows as elements, or one more for padding.
    if known is None or len(elements) in (len(known), len(known) + 1):
        return
    if beyond := sorted(set(elements) - set(known)):
        raise ValueError(
            f"expected elements that the table of embeddings has rows for, {names(known)}, or as many as it has rows, "
            f"got {names(beyond)} too"
        )


def of_embeddings(tree: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the elements with a row in the smallest table of embeddings among parameters; None without a table."""
    rows = list(_rows(tree))
    return tuple(range(1, min(*rows, _LAST + 1))) if rows else None


def _rows(tree: Mapping[str, Any]) -> Iterator[int]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _rows(value)
        elif str(name).rpartition(".")[2] == "embedding" and len(np.shape(value)) > 1:
            yield int(np.shape(value)[0])
