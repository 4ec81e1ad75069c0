r"""Kernels of message passing with weights of every edge and path, such as a radial network gives.

.. math:: z_{in} = \sum_{e \to i} \sum_{(m,k,n,p,c)} c \, q_{ep} \, Y_{em} \, x_{s(e)k}

Weights differ between edges, so that nothing can be summed first. Sums over edges need one register for every component
of a node. Their gradients with respect to x are the same sums of the transposed form; those of an edge, with respect to
q and Y, are made of :math:`b_{pm} = \sum c \, x_k z_n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from e3any_backends.triton.edge_form import EdgeForm, Entry
from e3any_backends.triton.graphs import LISTS, begin_item, begin_share
from e3any_backends.triton.source import Features, Kernel, Lines

__all__ = ["PathTerms", "path_cotangents", "path_sums"]


class PathTerms(NamedTuple):
    """The terms that a kernel adds.

    Parameters
    ----------
    sums : tuple of (int, int, int)
        The numbers of the operands x, Y and q of every term of sums over edges.
    weights : tuple of (int, int)
        The numbers of x and Y of every term of the gradient with respect to q.
    harmonics : tuple of (int, int)
        The numbers of x and q of every term of the gradient with respect to Y.
    """

    sums: tuple[tuple[int, int, int], ...] = ()
    weights: tuple[tuple[int, int], ...] = ()
    harmonics: tuple[tuple[int, int], ...] = ()

    @property
    def senders(self) -> list[int]:
        """The numbers of the operands x."""
        return sorted({term[0] for term in (*self.sums, *self.weights, *self.harmonics)})

    @property
    def angular(self) -> list[int]:
        """The numbers of the operands Y."""
        return sorted({term[1] for term in (*self.sums, *self.weights)})

    @property
    def paths(self) -> list[int]:
        """The numbers of the operands q."""
        return sorted({term[-1] for term in (*self.sums, *self.harmonics)})

    @property
    def names(self) -> list[str]:
        """The names of all operands."""
        groups = (("x", self.senders), ("Y", self.angular), ("q", self.paths))
        return [f"{name}{i}" for name, numbers in groups for i in numbers]


@lru_cache(maxsize=512)
def path_sums(form: EdgeForm, features: Features, terms: PathTerms) -> Kernel:
    """Return the kernel of sums over the edges of every node.

    ============  ==============  ========================================
    argument      shape           content
    ============  ==============  ========================================
    ``x0`` ...    (N', k, F)      features of the nodes at the other end
    ``Y0`` ...    (E, m)          harmonics
    ``q0`` ...    (E, p, F)       weights
    lists                         see :mod:`e3any_backends.triton.graphs`
    ``num_rows``                  N
    ``out``       (N, n, F)       sums
    ``parts``     (parts, n, F)   partial sums of long rows
    ============  ==============  ========================================
    """
    lines = Lines("path_sums", [*terms.names, *LISTS, "num_rows", "out", "parts"])
    writer = _Paths(form, features, terms, lines)
    lines.add(*features.head(1), "item = tl.program_id(0)")
    begin_share(lines)
    with lines.block("if live:"):
        begin_item(lines, form.num_receivers * features.num)
        lines.add(*(f"z{n} = {features.zeros}" for n in range(form.num_receivers)))
        with lines.block("for e in range(first, last):"):
            writer.add_edge()
            writer.add_sums()
        lines.add(*(features.store(f"target + {n * features.num}", f"z{n}") for n in range(form.num_receivers)))
    return lines.kernel()


@lru_cache(maxsize=512)
def path_cotangents(form: EdgeForm, features: Features, terms: PathTerms) -> Kernel:
    """Return the kernel of gradients with respect to weights and harmonics; arguments as in :func:`path_sums`, and

    ============  ==================  =========================================================
    argument      shape               content
    ============  ==================  =========================================================
    ``z``         (N, n, F)           cotangent of the sums of receivers
    ``num_rows``                      N + 1, where the last row is that of padding
    ``dq``        (E, p, F)           gradients; zero for padding
    ``dY``        (E, blocks, m)      gradients, to be summed over axis 1; zero for padding
    ============  ==================  =========================================================
    """
    outs = ["dq"] * bool(terms.weights) + ["dY"] * bool(terms.harmonics)
    lines = Lines("path_cotangents", [*terms.names, "z", *LISTS, "num_rows", *outs])
    writer = _Paths(form, features, terms, lines)
    lines.add(*features.head(1), "item = tl.program_id(0)")
    begin_share(lines)
    with lines.block("if live:"):
        with lines.block("if node < num_rows - 1:"):
            row = f"z + node * {form.num_receivers * features.num}"
            used = sorted({e.n for e in form.entries})
            lines.add(*(f"z{n} = {features.load(f'{row} + {n * features.num}')}" for n in used))
            with lines.block("for e in range(first, last):"):
                writer.add_edge()
                writer.add_gradients()
        with lines.block("else:"), lines.block("for e in range(first, last):"):
            writer.add_zeros()
    return lines.kernel()


class _Paths:
    """Writes the code for one edge."""

    def __init__(self, form: EdgeForm, features: Features, terms: PathTerms, lines: Lines) -> None:
        self._form, self._features, self._terms, self._lines = form, features, terms, lines
        self._entries: dict[int, list[Entry]] = {}
        for e in form.entries:
            self._entries.setdefault(e.p, []).append(e)

    def add_edge(self) -> None:
        """Read features and harmonics."""
        form, features, lines = self._form, self._features, self._lines
        lines.add("j = tl.load(others + e).to(tl.int64)", "r = tl.load(order + e).to(tl.int64)")
        for i in self._terms.senders:
            row = f"x{i} + j * {form.num_senders * features.num}"
            used = sorted({e.k for e in form.entries})
            lines.add(*(f"x{i}_{k} = {features.load(f'{row} + {k * features.num}')}" for k in used))
        for i in self._terms.angular:
            row = f"Y{i} + r * {form.num_harmonics}"
            used = sorted({e.m for e in form.entries})
            lines.add(*(f"Y{i}_{m} = tl.load({row} + {m}).to(tl.{features.dtype})" for m in used))

    def add_sums(self) -> None:
        """Add the products of an edge to the sums, path by path; those with one pair of blocks share products."""
        blocks: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for p, entries in self._entries.items():
            blocks.setdefault(tuple(sorted({(e.m, e.k) for e in entries})), []).append(p)
        # Paths of one pair of blocks have different pairs of components without zeros in their coefficients.
        for i in self._terms.paths:
            factors = [(x, y) for x, y, q in self._terms.sums if q == i]
            for pairs, paths in sorted(blocks.items(), key=lambda item: item[0][0]):
                for m, k in pairs:
                    self._lines.add(f"o{m}_{k} = " + " + ".join(f"Y{y}_{m} * x{x}_{k}" for x, y in factors))
                for p in paths:
                    self._lines.add("q_ = " + self._features.load(self._weight(f"q{i}", p)))
                    for n in sorted({e.n for e in self._entries[p]}):
                        products = [f"{e.value!r} * o{e.m}_{e.k}" for e in self._entries[p] if e.n == n]
                        self._lines.add(f"z{n} += q_ * ({' + '.join(products)})")

    def add_gradients(self) -> None:
        """Write the gradients of an edge, path by path."""
        lines, features, terms = self._lines, self._features, self._terms
        if terms.harmonics:
            lines.add(*(f"d{m} = {features.zeros}" for m in range(self._form.num_harmonics)))
        for p, entries in self._entries.items():
            harmonics = sorted({e.m for e in entries})
            for i in terms.senders:
                for m in harmonics:
                    products = [f"{e.value!r} * (x{i}_{e.k} * z{e.n})" for e in entries if e.m == m]
                    lines.add(f"b{i}_{m} = " + " + ".join(products))
            if terms.weights:
                total = " + ".join(f"Y{y}_{m} * b{x}_{m}" for m in harmonics for x, y in terms.weights)
                lines.add(features.store(self._weight("dq", p), total))
            for i in terms.paths:
                lines.add(f"q{i}_ = " + features.load(self._weight(f"q{i}", p)))
            for x, q in terms.harmonics:
                lines.add(*(f"d{m} += q{q}_ * b{x}_{m}" for m in harmonics))
        if terms.harmonics:
            lines.add(*(f"tl.store({self._harmonic(m)}, tl.sum(d{m}, 0))" for m in range(self._form.num_harmonics)))
        self._add_zero_weights(sorted(set(range(self._form.num_paths)) - set(self._entries)))

    def add_zeros(self) -> None:
        """Write the gradients of an edge that is padding."""
        self._lines.add("r = tl.load(order + e).to(tl.int64)")
        self._add_zero_weights(range(self._form.num_paths))
        if self._terms.harmonics:
            self._lines.add(*(f"tl.store({self._harmonic(m)}, 0.0)" for m in range(self._form.num_harmonics)))

    def _add_zero_weights(self, paths: Sequence[int]) -> None:
        zeros = self._features.zeros
        if self._terms.weights:
            self._lines.add(*(self._features.store(self._weight("dq", p), zeros) for p in paths))

    def _weight(self, name: str, path: int) -> str:
        return f"{name} + (r * {self._form.num_paths} + {path}) * {self._features.num}"

    def _harmonic(self, m: int) -> str:
        blocks, num = self._features.num_blocks, self._form.num_harmonics
        return f"dY + (r * {blocks} + tl.program_id(1)) * {num} + {m}"
