"""The multilinear maps that have kernels for GPUs: shapes of all slots, and programs of contractions.

A map is named by a string and integers, so that operators can name it. Its slots have the shapes

=========  ==========================================================================================
map        slots
=========  ==========================================================================================
``edges``  x (N', k, F), Y (E, m), g (E, l, F), w (p, F), z (N, n, F), with lists of a graph
``paths``  x (N', k, F), Y (E, m), q (E, p, F), z (N, n, F), with lists of a graph
``rows``   those of a table of couplings, (rows, i, F) or (1, i, F)
=========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from e3any_backends.arrays import Array, Shape
from e3any_backends.forms.couplings import SparseForm
from e3any_backends.forms.tables import tables_of
from e3any_backends.triton.edge_form import EdgeForm, edge_form, path_form
from e3any_backends.triton.edge_programs import Graph, evaluate_edges
from e3any_backends.triton.path_programs import evaluate_paths
from e3any_backends.triton.programs import Program, Runner
from e3any_backends.triton.rows import evaluate_rows

__all__ = ["MAPS", "EdgeMap", "Map", "PathMap", "RowMap", "outputs"]


class Map(Protocol):
    """A multilinear form, for which kernels compute lists of contractions."""

    @property
    def num_slots(self) -> int:
        """Number of slots."""

    def shape(self, slot: int, operands: Sequence[Shape], slots: Sequence[int], lists: Sequence[Shape]) -> Shape:
        """Return the shape of a slot, for operands and lists of given shapes."""

    def evaluate(
        self, program: Program, operands: Sequence[Array], lists: Sequence[Array], dtype: str, run: Runner
    ) -> list[Array]:
        """Return the outputs of a program that has terms for all of them, in the dtype in which kernels compute."""


@dataclass(frozen=True)
class EdgeMap:
    """Message passing with weights of paths.

    Parameters
    ----------
    number : int
        Number of the :class:`~e3any_backends.forms.couplings.Coupling`, with harmonics as its first factor.
    """

    number: int

    @property
    def form(self) -> EdgeForm:
        """The form."""
        return edge_form(self.number)

    @property
    def num_slots(self) -> int:
        """Slots of x, Y, g, w and z."""
        return 5

    def shape(self, slot: int, operands: Sequence[Shape], slots: Sequence[int], lists: Sequence[Shape]) -> Shape:
        """Return the shape of a slot."""
        form, features = self.form, next(o[-1] for o, s in zip(operands, slots, strict=True) if s != 1)
        if slot == 0:
            return lists[4][0] - 2, form.num_senders, features
        edges = lists[1][0]
        return (
            (edges, form.num_harmonics),
            (edges, form.num_degrees, features),
            (form.num_paths, features),
            (lists[0][0] - 2, form.num_receivers, features),
        )[slot - 1]

    def evaluate(
        self, program: Program, operands: Sequence[Array], lists: Sequence[Array], dtype: str, run: Runner
    ) -> list[Array]:
        """Return the outputs of a program."""
        graph = Graph(tuple(lists[:4]), tuple(lists[4:]))
        return evaluate_edges(self.form, program, operands, graph, dtype, run)


@dataclass(frozen=True)
class PathMap(EdgeMap):
    """Message passing with weights of every edge and path.

    Parameters
    ----------
    number : int
        Number of the :class:`~e3any_backends.forms.paths.PathForm`.
    block : int
        Which of its blocks.
    """

    block: int

    @property
    def form(self) -> EdgeForm:
        """The form."""
        return path_form(self.number, self.block)

    @property
    def num_slots(self) -> int:
        """Slots of x, Y, q and z."""
        return 4

    def shape(self, slot: int, operands: Sequence[Shape], slots: Sequence[int], lists: Sequence[Shape]) -> Shape:
        """Return the shape of a slot."""
        form, features = self.form, next(o[-1] for o, s in zip(operands, slots, strict=True) if s != 1)
        if slot == 0:
            return lists[4][0] - 2, form.num_senders, features
        edges = lists[1][0]
        return (
            (edges, form.num_harmonics),
            (edges, form.num_paths, features),
            (lists[0][0] - 2, form.num_receivers, features),
        )[slot - 1]

    def evaluate(
        self, program: Program, operands: Sequence[Array], lists: Sequence[Array], dtype: str, run: Runner
    ) -> list[Array]:
        """Return the outputs of a program."""
        graph = Graph(tuple(lists[:4]), tuple(lists[4:]))
        return evaluate_paths(self.form, program, operands, graph, dtype, run)


@dataclass(frozen=True)
class RowMap:
    """Couplings of rows.

    Parameters
    ----------
    number : int
        Number of the :class:`~e3any_backends.forms.couplings.SparseForm`, whose last slot has the paths.
    shared : int
        Bit s says that slot s has one row for all rows of the others.
    """

    number: int
    shared: int

    @property
    def form(self) -> SparseForm:
        """The form."""
        form: SparseForm = tables_of(self.number)
        return form

    @property
    def num_slots(self) -> int:
        """Slots of the form."""
        return len(self.form.sizes)

    def shape(self, slot: int, operands: Sequence[Shape], slots: Sequence[int], lists: Sequence[Shape]) -> Shape:
        """Return the shape of a slot."""
        rows = [o[0] for o, s in zip(operands, slots, strict=True) if not self.shared >> s & 1]
        return 1 if self.shared >> slot & 1 or not rows else rows[0], self.form.sizes[slot], operands[0][-1]

    def evaluate(
        self, program: Program, operands: Sequence[Array], lists: Sequence[Array], dtype: str, run: Runner
    ) -> list[Array]:
        """Return the outputs of a program."""
        return evaluate_rows(self.form, self.shared, program, operands, dtype, run)


#: Maps by their names.
MAPS: dict[str, Callable[..., Map]] = {"edges": EdgeMap, "paths": PathMap, "rows": RowMap}


def outputs(found: Map, program: Program, operands: Sequence[Shape], lists: Sequence[Shape]) -> list[Shape]:
    """Return the shapes of the outputs of a program."""
    return [found.shape(slot, operands, program.slots, lists) for slot in program.outs]
