r"""The table of sums over edges whose couplings have weights of every edge and path.

.. math:: z_{in} = \sum_{e \to i} \sum_{(k,m,n,p,c)} c \, q_{ep} \, x_{s(e)k} \, Y_{em}

Features of several irreps, each with a number F of its own, are one after the other in a row of a node. A *block* is a
range of a row whose components have the same F. It couples to a block of weights and to a block of sums with this F.
For example, 128x0 + 64x1 with harmonics of degree 0 and 1 has two blocks:

=====  ============================  ============================  ============================
block  features of a row of x        weights of an edge            sums
=====  ============================  ============================  ============================
128x0  0-127: one component          0-255: paths to 0 and 1       0-511: 1 + 3 components
64x1   128-319: three components     256-511: to 1, 0, 1 and 2     512-1279: 3 + 1 + 3 + 5
=====  ============================  ============================  ============================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from e3any_backends.forms.couplings import Coupling
from e3any_backends.forms.tables import Tables

__all__ = ["PathBlock", "PathForm", "PathTables", "entries_of"]


class PathBlock(NamedTuple):
    """A range of rows whose components have the same number of features.

    Parameters
    ----------
    coupling : Coupling
        The paths from components of x and harmonics to those of the sums.
    features : int
        Number F of features.
    x, weights, sums : slice
        Ranges of rows of x, of the weights of an edge, and of the sums.
    """

    coupling: Coupling
    features: int
    x: slice
    weights: slice
    sums: slice


class PathTables(NamedTuple):
    r"""The form as integers, for kernels.

    A *matrix element* is the factor of a component k of x and a component n of the sums in a path p, which is a sum
    over harmonics, :math:`T_{pkn} = \sum_m c\,Y_m`. A *row* has the elements of one path and k.

    ================  ==================  ==============================================================
    table             shape               columns
    ================  ==================  ==============================================================
    ``blocks``        (blocks, 6)         F; first number in a row of x, of weights, of sums; first row, end
    ``rows``          (rows, 4)           path; k; first element, end
    ``elements``      (elements,)         n
    ``entries``       (entries, 2)        element; harmonic m
    ``coefficients``  (entries,)          c
    ================  ==================  ==============================================================
    """

    blocks: NDArray[np.int32]
    rows: NDArray[np.int32]
    elements: NDArray[np.int32]
    entries: NDArray[np.int32]
    coefficients: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathForm(Tables):
    """Blocks of features with their couplings.

    Parameters
    ----------
    couplings : tuple of (Coupling, int)
        The coupling of features, the first factor, with harmonics, and the number of features of every block.
    """

    couplings: tuple[tuple[Coupling, int], ...]

    @cached_property
    def blocks(self) -> tuple[PathBlock, ...]:
        """The blocks."""
        blocks, x, weights, sums = [], 0, 0, 0
        for coupling, features in self.couplings:
            ends = (n * features for n in (coupling.num_x, coupling.num_paths, coupling.num_z))
            a, b, c = (first + size for first, size in zip((x, weights, sums), ends, strict=True))
            blocks.append(PathBlock(coupling, features, slice(x, a), slice(weights, b), slice(sums, c)))
            x, weights, sums = a, b, c
        return tuple(blocks)

    @property
    def num_harmonics(self) -> int:
        """Number of harmonics."""
        return self.couplings[0][0].num_y

    @property
    def num_sums(self) -> int:
        """Numbers in a row of sums."""
        size: int = self.blocks[-1].sums.stop
        return size

    @property
    def num_entries(self) -> int:
        """Number of coefficients."""
        return sum(len(coupling.product_form.values) for coupling, _ in self.couplings)

    @cached_property
    def num_products(self) -> int:
        """Number of products of matrix elements with features, for an edge."""
        return sum(len({(k, n, p) for k, _, n, p, _ in entries_of(c)}) * f for c, f in self.couplings)

    @cached_property
    def tables(self) -> PathTables:
        """The form as integers."""
        blocks: list[list[int]] = []
        rows: list[list[int]] = []
        elements: list[int] = []
        entries: list[list[int]] = []
        coefficients: list[float] = []
        for block in self.blocks:
            first = len(rows)
            row: tuple[int, int] | None = None
            by_element: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
            for k, m, n, p, c in entries_of(block.coupling):
                by_element.setdefault((p, k, n), []).append((m, c))
            for (p, k, n), members in sorted(by_element.items()):
                if row != (p, k):
                    row = p, k
                    rows.append([p, k, len(elements), len(elements)])
                entries += [[len(elements), m] for m, _ in members]
                coefficients += [c for _, c in members]
                elements.append(n)
                rows[-1][3] = len(elements)
            begins = (s.start for s in (block.x, block.weights, block.sums))
            blocks.append([block.features, *begins, first, len(rows)])
        return PathTables(
            np.array(blocks, np.int32).reshape(-1, 6),
            np.array(rows, np.int32).reshape(-1, 4),
            np.array(elements, np.int32),
            np.array(entries, np.int32).reshape(-1, 2),
            np.array(coefficients, np.float64),
        )


def entries_of(coupling: Coupling) -> Iterator[tuple[int, int, int, int, float]]:
    """Yield the entries (k, m, n, p, c) of a coupling of features with harmonics."""
    form = coupling.product_form
    yield from zip(*(column.tolist() for column in form.columns), form.values.tolist(), strict=True)
