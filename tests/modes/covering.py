"""Few rows of a table of factors that hold every pair of values."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any, TypeAlias

__all__ = ["covering", "rows_to_test"]

Row: TypeAlias = dict[str, Any]
Factors: TypeAlias = Mapping[str, Sequence[Any]]
Allowed: TypeAlias = Callable[[Row], bool]
Group: TypeAlias = tuple[str, ...]
Combination: TypeAlias = tuple[tuple[str, Any], ...]

# How many rows are tried for the next one, and how many before a combination is taken for one that no row has.
_CANDIDATES, _PATIENCE = 20, 200


def covering(
    factors: Factors, allowed: Allowed = lambda row: True, strength: int = 2, once: Collection[str] = ()
) -> list[Row]:
    """Return rows that hold every combination of values of so many factors, the same in every call.

    Parameters
    ----------
    factors : mapping
        The values of every factor.
    allowed : callable
        Whether a row may be taken. Combinations that only other rows have are left out.
    strength : int
        Number of factors: 2 for all pairs.
    once : collection of str
        Factors whose values need not be combined with those of others: each is held by one row at least.

    Returns
    -------
    list of dict
        Rows, with a value for every factor.

    Examples
    --------
    >>> len(covering({"a": (0, 1), "b": (0, 1), "c": (0, 1)}))
    4
    """
    rng = random.Random(0)
    combined = [name for name in factors if name not in once]
    groups = [*combinations(combined, strength), *((name,) for name in once)]
    missing = {held: None for group in groups for held in _values(factors, group)}
    rows: list[Row] = []
    while missing:
        first = next(iter(missing))
        candidates = _candidates(factors, allowed, dict(first), missing, rng)
        if not candidates:
            del missing[first]
            continue
        best = max(candidates, key=lambda row: sum(1 for held in _held(row, groups) if held in missing))
        for held in _held(best, groups):
            missing.pop(held, None)
        rows.append(best)
    return rows


def rows_to_test(factors: Factors, allowed: Allowed, affordable: Allowed, once: Collection[str] = ()) -> list[Row]:
    """Return rows to test: all pairs, or what the environment variable E3ANY_MODES asks for.

    Parameters
    ----------
    factors, allowed, once
        See :func:`covering`.
    affordable : callable
        Which of the rows that are allowed every run of the tests can afford. With E3ANY_MODES=triples, and with
        ``product``, which gives all rows, there are others too.
    """
    wanted = os.environ.get("E3ANY_MODES", "pairs")
    if wanted == "product":
        return [row for row in _product(factors) if allowed(row)]
    if wanted == "triples":
        return covering(factors, allowed, 3)
    if wanted != "pairs":
        raise ValueError(f"expected E3ANY_MODES to be 'pairs', 'triples' or 'product', got {wanted!r}")
    return covering(factors, lambda row: allowed(row) and affordable(row), 2, once)


def _product(factors: Factors) -> Iterator[Row]:
    return (dict(zip(factors, values, strict=True)) for values in product(*factors.values()))


def _values(factors: Factors, group: Group) -> Iterator[Combination]:
    """Return all combinations of values of some factors."""
    return (tuple(zip(group, values, strict=True)) for values in product(*(factors[name] for name in group)))


def _held(row: Row, groups: Sequence[Group]) -> Iterator[Combination]:
    """Return the combinations of values that a row holds."""
    return (tuple((name, row[name]) for name in group) for group in groups)


def _candidates(factors: Factors, allowed: Allowed, given: Row, missing: Any, rng: random.Random) -> list[Row]:
    """Draw rows with some given values."""
    rows: list[Row] = []
    for trial in range(_PATIENCE):
        if len(rows) == _CANDIDATES or (trial == _PATIENCE // 2 and rows):
            break
        row = {name: given.get(name, rng.choice(values)) for name, values in factors.items()}
        if allowed(row):
            rows.append(row)
    return rows
