r"""Kernels of sums over the edges of every node: the layer, its gradient with respect to x, and that of the weights.

The program of a node sums first, :math:`A_{mk} = \sum_e Y_{em} g_{e\,l(m)} x_{s(e)k}`, and couples what it has summed,
:math:`z_n = \sum c \, w_p A_{mk}`. Sums stay in registers. Where these are too few, there are several passes over the
edges, which add to one output. Gradients with respect to x are node sums of the transposed form over the transposed
graph, so there are no atomic additions. Derivatives have several *terms* (x, Y, g), whose sums A are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from e3any_backends.triton.edge_form import EdgeForm, Entry, Pass, passes
from e3any_backends.triton.graphs import LISTS, begin_item, begin_share
from e3any_backends.triton.source import Features, Kernel, Lines

__all__ = ["NUM_PROGRAMS", "Sources", "node_sums"]

#: Programs of a kernel with gradients of weights; each has sums of its own.
NUM_PROGRAMS = 512
# Sums that a program holds in registers, by dtype; with more of them sm_90 spills at L=3 or P=2.
_LIMITS = {"float32": 144, "float64": 64}


class Sources(NamedTuple):
    """The terms that a kernel sums over edges.

    Parameters
    ----------
    terms : tuple of (int, int, int)
        The numbers of the operands x, Y and g of every term.
    """

    terms: tuple[tuple[int, int, int], ...]

    def numbers(self, position: int) -> list[int]:
        """Return the numbers of the operands x (0), Y (1) or g (2)."""
        return sorted({term[position] for term in self.terms})

    @property
    def names(self) -> list[str]:
        """The names of all operands."""
        return [f"{name}{i}" for position, name in enumerate("xYg") for i in self.numbers(position)]


@lru_cache(maxsize=512)
def node_sums(form: EdgeForm, features: Features, sources: Sources, has_sums: bool, has_weights: bool) -> Kernel:
    """Return the kernel of the sums (N, n, F), of gradients of the weights, or of both.

    ============  ======================  ==================================================================
    argument      shape                   content
    ============  ======================  ==================================================================
    ``x0`` ...    (N', k, F)              features of the nodes at the other end
    ``Y0`` ...    (E, m)                  harmonics
    ``g0`` ...    (E, l, F)               radial functions
    ``w``         (p, F)                  weights; with sums only
    ``z``         (N, n, F)               cotangent of sums; with gradients of the weights only
    lists                                 see :mod:`e3any_backends.triton.graphs`
    ``num_rows``                          N
    ``num_items``                         N and the number of parts; with gradients of the weights only
    ``out``       (N, n, F)               sums
    ``parts``     (parts, n, F)           partial sums of long rows
    ``dw``        (NUM_PROGRAMS, p, F)    gradients of the weights, to be summed over axis 0
    ============  ======================  ==================================================================
    """
    names = [*sources.names, *["w"] * has_sums, *["z"] * has_weights, *LISTS, "num_rows"]
    names += [*["num_items"] * has_weights, *["out", "parts"] * has_sums, *["dw"] * has_weights]
    lines = Lines("node_sums", names)
    lines.add(*features.head(1))
    writer = _NodeSums(form, features, sources, lines, has_sums, has_weights)
    if not has_weights:
        lines.add("item = tl.program_id(0)")
        writer.add_item()
        return lines.kernel()
    lines.add("program = tl.program_id(0).to(tl.int64)")
    writer.clear_weights()
    with lines.block("for item in range(tl.program_id(0), num_items, tl.num_programs(0)):"):
        writer.add_item()
    return lines.kernel()


class _NodeSums:
    """Writes the code for one item: the edges of a node, or a part of them."""

    def __init__(
        self,
        form: EdgeForm,
        features: Features,
        sources: Sources,
        lines: Lines,
        has_sums: bool,
        has_weights: bool,
    ) -> None:
        self._form, self._features, self._sources, self._lines = form, features, sources, lines
        self._has_sums, self._has_weights = has_sums, has_weights
        self._written: set[int] = set()

    def clear_weights(self) -> None:
        """Set the gradients of all weights to zero."""
        for p in range(self._form.num_paths):
            self._lines.add(self._features.store(self._weight(p), self._features.zeros))

    def add_item(self) -> None:
        """Add the code of an item."""
        lines, size = self._lines, self._form.num_receivers * self._features.num
        begin_share(lines)
        with lines.block("if live:"):
            if self._has_sums:
                begin_item(lines, size)
            for number, part in enumerate(passes(self._form, _LIMITS[self._features.dtype])):
                if number:
                    lines.add("tl.debug_barrier()  # what one pass stores, the next one reads")
                self._add_pass(part)
            # Components that nothing couples to are zero.
            for n in sorted(set(range(self._form.num_receivers)) - self._written) if self._has_sums else ():
                lines.add(self._features.store(f"target + {n * self._features.num}", self._features.zeros))

    def _add_pass(self, part: Pass) -> None:
        """Sum products over edges, and couple the sums."""
        pairs = [(m, k) for m in part.harmonics for k in part.components if (m, k) in self._form.pairs]
        self._lines.add(*(f"a{m}_{k} = {self._features.zeros}" for m, k in pairs))
        with self._lines.block("for e in range(first, last):"):
            self._add_products(part, pairs)
        kept = set(pairs)
        entries = [e for e in self._form.entries if (e.m, e.k) in kept]
        if self._has_sums:
            self._add_sums(entries)
        if self._has_weights:
            self._add_weights(entries)

    def _add_products(self, part: Pass, pairs: Sequence[tuple[int, int]]) -> None:
        """Add the products of one edge to the sums."""
        lines, form, features, sources = self._lines, self._form, self._features, self._sources
        lines.add("j = tl.load(others + e).to(tl.int64)", "r = tl.load(order + e).to(tl.int64)")
        for i in sources.numbers(0):
            row = f"x{i} + (j * {form.num_senders} + {{}}) * {features.num}"
            lines.add(*(f"x{i}_{k} = {features.load(row.format(k))}" for k in part.components))
        for l in sorted({form.degrees[m] for m in part.harmonics}):
            for i in sources.numbers(2):
                lines.add(f"g{i}_{l} = " + features.load(f"g{i} + (r * {form.num_degrees} + {l}) * {features.num}"))
        for m in part.harmonics:
            for i in sources.numbers(1):
                lines.add(f"Y{i}_{m} = tl.load(Y{i} + r * {form.num_harmonics} + {m}).to(tl.{features.dtype})")
            for i in sources.numbers(0):
                factors = [(y, g) for x, y, g in sources.terms if x == i]
                lines.add(f"v{i} = " + " + ".join(f"Y{y}_{m} * g{g}_{form.degrees[m]}" for y, g in factors))
                lines.add(*(f"a{m}_{k} += v{i} * x{i}_{k}" for mm, k in pairs if mm == m))

    def _add_sums(self, entries: Sequence[Entry]) -> None:
        """Couple the sums of a pass, and store them or add them to those of other passes."""
        lines, features = self._lines, self._features
        for n in sorted({e.n for e in entries}):
            address = f"target + {n * features.num}"
            lines.add("z_ = " + (features.load(address) if n in self._written else features.zeros))
            for p in sorted({e.p for e in entries if e.n == n}):
                weight = features.load(f"w + {p * features.num}")
                lines.add(f"z_ += {weight} * ({_coupled(e for e in entries if (e.n, e.p) == (n, p))})")
            lines.add(features.store(address, "z_"))
            self._written.add(n)

    def _add_weights(self, entries: Sequence[Entry]) -> None:
        """Add the products of the sums of a pass and the cotangent to the gradients of the weights."""
        lines, features = self._lines, self._features
        row = f"z + node * {self._form.num_receivers * features.num}"
        for p in sorted({e.p for e in entries}):
            of_path = [e for e in entries if e.p == p]
            components = sorted({e.n for e in of_path})
            lines.add(f"d = {features.load(self._weight(p))}")
            for n in components:
                cotangent = features.load(f"{row} + {n * features.num}")
                lines.add(f"d += {cotangent} * ({_coupled(e for e in of_path if e.n == n)})")
            lines.add(features.store(self._weight(p), "d"))

    def _weight(self, path: int) -> str:
        return f"dw + (program * {self._form.num_paths} + {path}) * {self._features.num}"


def _coupled(entries: Iterable[Entry]) -> str:
    """Return the code of a sum of coefficients times sums over edges."""
    return " + ".join(f"{e.value!r} * a{e.m}_{e.k}" for e in entries)
