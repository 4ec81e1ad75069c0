"""Positions of the components of features by order m, in frames whose z axis is an axis of symmetry.

There are two classes of irreps. *Tensors* have the parity (-1)^l: a reflection in a plane that contains the z axis
changes the sign of their components of order m < 0, and of no other. *Pseudotensors* have the other parity: it is the
other way round. Pairs (u, v) of components of order m > 0 are chosen such that all of them rotate about z as the
complex numbers u + iv, and that the reflection changes the sign of v:

| class | u | v |
| --- | --- | --- |
| tensors | x_m | x_-m |
| pseudotensors | -x_-m | x_m |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Entry", "by_class", "entries_of_order", "signs", "slots"]


@dataclass(frozen=True)
class Entry:
    """A component of a feature: its class (0 tensors, 1 pseudotensors), degree and order, and its sign in a pair."""

    kind: int
    degree: int
    order: int
    sign: float = 1.0

    def position(self, max_degree: int, num_parities: int, cartesian_order: bool) -> int:
        """Return its position in the components of all parities, one parity after the other."""
        l, m = self.degree, self.order
        if cartesian_order:
            within = 2 * l if m == 0 else 2 * (l - abs(m)) + (m < 0)
        else:
            within = l + m
        parity = (l + self.kind) % 2 if num_parities == 2 else 0
        return parity * (max_degree + 1) ** 2 + l**2 + within


def entries_of_order(order: int, max_degree: int, num_kinds: int) -> list[Entry]:
    """List the components of an order and its negative: tensors then pseudotensors, and all u before all v."""
    irreps = [(kind, l) for kind in range(num_kinds) for l in range(order, max_degree + 1)]
    if order == 0:
        return [Entry(kind, l, 0) for kind, l in irreps]
    u = [Entry(kind, l, -order, -1.0) if kind else Entry(kind, l, order) for kind, l in irreps]
    v = [Entry(kind, l, order if kind else -order) for kind, l in irreps]
    return u + v


def _entries(max_degree: int, num_kinds: int, max_order: int) -> list[Entry]:
    return [entry for m in range(max_order + 1) for entry in entries_of_order(m, max_degree, num_kinds)]


def slots(max_degree: int, num_parities: int, max_order: int, cartesian_order: bool) -> NDArray[np.intp]:
    """Return the position of every entry of the orders 0, ..., max_order in the components of a feature."""
    entries = _entries(max_degree, num_parities, max_order)
    return np.asarray([e.position(max_degree, num_parities, cartesian_order) for e in entries], np.intp)


def signs(max_degree: int, num_parities: int, max_order: int) -> NDArray[np.float64]:
    """Return the sign of every entry, of shape (entries, 1)."""
    return np.asarray([[entry.sign] for entry in _entries(max_degree, num_parities, max_order)])


def by_class(max_degree: int) -> NDArray[np.intp]:
    """Return positions that put the components of both parities into tensors then pseudotensors, and back."""
    position = np.arange(2 * (max_degree + 1) ** 2).reshape(2, -1)
    is_odd = np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1) % 2 == 1
    return np.where(is_odd, position[::-1], position).reshape(-1)
