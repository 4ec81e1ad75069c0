"""The layout of features in libraries that name irreps, ordered by parity, then by degree."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from e3any import Layout


class Irrep(NamedTuple):
    """A degree and a parity, with its index on the parity axis of e3any."""

    degree: int
    parity: int
    slot: int

    def __str__(self) -> str:
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"

    def couples_to(self, other: Irrep, product: Irrep) -> bool:
        """Tell whether the product of two irreps contains a third."""
        degrees = abs(self.degree - other.degree) <= product.degree <= self.degree + other.degree
        return degrees and self.parity * other.parity == product.parity


def irreps(max_degree: int, parities: int) -> list[Irrep]:
    """Return the irreps of features: tensors, then pseudotensors."""
    return [Irrep(l, (-1) ** (l + slot), slot) for slot in range(parities) for l in range(max_degree + 1)]


def irreps_of(x: Any) -> list[Irrep]:
    """Return the irreps of an array (..., P, (L+1)**2, F)."""
    layout = Layout.of(x)
    return irreps(layout.max_degree, x.shape[-3])


def couplings(first: list[Irrep], second: list[Irrep], product: list[Irrep]) -> list[tuple[int, int, int]]:
    """Return the positions of all triples that couple, ordered by the third."""
    return [
        (i, j, k)
        for k, c in enumerate(product)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if a.couples_to(b, c)
    ]


def stacked(x: Any) -> Any:
    """Return the components of all irreps along one axis, (..., K, F)."""
    return np.concatenate([_component(x, a) for a in irreps_of(x)], axis=-2)


def flat(x: Any) -> Any:
    """Return all irreps along one axis, each with its features before its components, (..., K*F)."""
    parts = [np.swapaxes(_component(x, a), -1, -2) for a in irreps_of(x)]
    return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in parts], axis=-1)


def _component(x: Any, a: Irrep) -> Any:
    return x[..., a.slot, a.degree**2 : (a.degree + 1) ** 2, :]
