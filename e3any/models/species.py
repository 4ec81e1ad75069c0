"""Rows of tables for atomic numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from e3any_backends import Array, backend_of
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.checks import check_counts

__all__ = ["ELEMENTS", "checked_elements", "species_of"]

#: The elements from hydrogen to plutonium, which data of materials have.
ELEMENTS = tuple(range(1, 95))


def checked_elements(elements: Any) -> tuple[int, ...]:
    """Return atomic numbers as a tuple; raise an error unless they are different positive integers."""
    check_counts(elements, "elements")
    numbers = tuple(int(number) for number in elements)
    if not numbers or min(numbers) < 1 or len(set(numbers)) != len(numbers):
        raise ValueError(f"expected elements as different atomic numbers, got {numbers}")
    return numbers


def species_of(numbers: Array, elements: Sequence[int]) -> Array:
    """Return the position of every atomic number among the elements; -1, which no table has, for others and padding."""
    backend = backend_of(numbers)
    table = backend.index(_following(tuple(elements)), like=numbers)
    rows = backend.take(table, backend.xp.reshape(numbers, (-1,)))
    # Numbers beyond the table have the row zero, which is what other numbers have.
    return backend.xp.reshape(rows, numbers.shape) - 1


@host_table
def _following(elements: tuple[int, ...]) -> NDArray[np.int64]:
    """Return position + 1 by atomic number, zero for others."""
    table = np.zeros(max(elements) + 1, np.int64)
    table[list(elements)] = np.arange(1, len(elements) + 1)
    return table
