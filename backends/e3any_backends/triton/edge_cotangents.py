r"""The kernel of gradients with respect to the harmonics and radial functions of every edge.

The program of a node computes, from its cotangent z, what every edge of the node multiplies,
:math:`d_{mk} = \sum c \, w_p z_n`, once. For an edge, :math:`t_m = \sum_k d_{mk} x_{s(e)k}` gives both gradients,
:math:`\partial Y_m = \sum_f g_{l(m)} t_m` and :math:`\partial g_l = \sum_{m \in l} Y_m t_m`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from e3any_backends.triton.edge_form import EdgeForm
from e3any_backends.triton.graphs import LISTS, begin_share
from e3any_backends.triton.source import Features, Kernel, Lines

__all__ = ["EdgeTerms", "edge_cotangents"]

# Products d that a program holds in registers for every feature of a thread, by dtype.
_LIMITS = {"float32": 160, "float64": 80}


class EdgeTerms(NamedTuple):
    """The terms whose sums the gradients are.

    Parameters
    ----------
    harmonics : tuple of (int, int)
        The numbers of the operands x and g of every term of the gradient with respect to Y; can be empty.
    radial : tuple of (int, int)
        The numbers of the operands x and Y of every term of the gradient with respect to g; can be empty.
    """

    harmonics: tuple[tuple[int, int], ...]
    radial: tuple[tuple[int, int], ...]

    @property
    def senders(self) -> list[int]:
        """The numbers of all operands x."""
        return sorted({x for x, _ in (*self.harmonics, *self.radial)})

    @property
    def names(self) -> list[str]:
        """The names of all operands."""
        names = [f"x{i}" for i in self.senders]
        names += [f"Y{i}" for i in sorted({y for _, y in self.radial})]
        return names + [f"g{i}" for i in sorted({g for _, g in self.harmonics})]


@lru_cache(maxsize=512)
def edge_cotangents(form: EdgeForm, features: Features, terms: EdgeTerms) -> Kernel:
    """Return the kernel of the gradients.

    ============  ==================  ===================================================================
    argument      shape               content
    ============  ==================  ===================================================================
    ``x0`` ...    (N', k, F)          features of senders
    ``Y0`` ...    (E, m)              harmonics
    ``g0`` ...    (E, l, F)           radial functions
    ``w``         (p, F)              weights
    ``z``         (N, n, F)           cotangent of the sums of receivers
    lists                             see :mod:`e3any_backends.triton.graphs`
    ``num_rows``                      N + 1, where the last row is that of padding
    ``dY``        (E, blocks, m)      gradients, to be summed over axis 1; zero for padding
    ``dg``        (E, l, F)           gradients; zero for padding
    ============  ==================  ===================================================================
    """
    outs = ["dY"] * bool(terms.harmonics) + ["dg"] * bool(terms.radial)
    lines = Lines("edge_cotangents", [*terms.names, "w", "z", *LISTS, "num_rows", *outs])
    writer = _EdgeCotangents(form, features, terms, lines)
    lines.add(*features.head(1), "item = tl.program_id(0)")
    begin_share(lines)
    with lines.block("if live:"):
        with lines.block("if node < num_rows - 1:"):
            for degrees in _groups(form, _LIMITS[features.dtype] * 32 // features.block):
                writer.add_degrees(degrees)
        with lines.block("else:"), lines.block("for e in range(first, last):"):
            writer.add_zeros()
    return lines.kernel()


def _groups(form: EdgeForm, limit: int) -> list[list[int]]:
    """Return degrees of the harmonics in groups whose products fit into registers; x is read again for each."""
    groups: list[list[int]] = [[]]
    size = 0
    for degree, pairs in groupby(sorted(form.pairs), key=lambda pair: form.degrees[pair[0]]):
        num = len(list(pairs))
        if groups[-1] and size + num > limit:
            groups.append([])
            size = 0
        groups[-1].append(degree)
        size += num
    unused = [l for l in range(form.num_degrees) if all(l not in group for group in groups)]
    return [*groups[:-1], groups[-1] + unused]


class _EdgeCotangents:
    """Writes the code for the edges of a node, or a part of them."""

    def __init__(self, form: EdgeForm, features: Features, terms: EdgeTerms, lines: Lines) -> None:
        self._form, self._features, self._terms, self._lines = form, features, terms, lines

    def add_zeros(self) -> None:
        """Add the code for an edge that is padding."""
        form, lines = self._form, self._lines
        lines.add("r = tl.load(order + e).to(tl.int64)")
        if self._terms.harmonics:
            lines.add(*(f"tl.store({self._harmonic(m)}, 0.0)" for m in range(form.num_harmonics)))
        if self._terms.radial:
            zeros = self._features.zeros
            lines.add(*(self._features.store(self._radial("dg", l), zeros) for l in range(form.num_degrees)))

    def add_degrees(self, degrees: Sequence[int]) -> None:
        """Add the code for the harmonics of some degrees."""
        form, features, lines = self._form, self._features, self._lines
        harmonics = form.harmonics_of(degrees)
        entries = [e for e in form.entries if e.m in set(harmonics)]
        for n in sorted({e.n for e in entries}):
            lines.add(f"z{n} = " + features.load(f"z + (node * {form.num_receivers} + {n}) * {features.num}"))
        for p in sorted({e.p for e in entries}):
            lines.add(f"w{p} = " + features.load(f"w + {p * features.num}"))
        for pair in sorted({(e.m, e.k) for e in entries}):
            products = [f"{e.value!r} * w{e.p} * z{e.n}" for e in entries if (e.m, e.k) == pair]
            lines.add(f"d{pair[0]}_{pair[1]} = " + " + ".join(products))
        with lines.block("for e in range(first, last):"):
            lines.add("j = tl.load(others + e).to(tl.int64)", "r = tl.load(order + e).to(tl.int64)")
            for i in self._terms.senders:
                self._add_products(i, harmonics, sorted({e.k for e in entries}))
            for degree in degrees:
                self._add_gradients(degree)

    def _add_products(self, i: int, harmonics: Sequence[int], components: Sequence[int]) -> None:
        """Add t for one operand x."""
        form, features, lines = self._form, self._features, self._lines
        row = f"x{i} + (j * {form.num_senders} + {{}}) * {features.num}"
        lines.add(*(f"x_{k} = {features.load(row.format(k))}" for k in components))
        for m in harmonics:
            products = [f"x_{k} * d{m}_{k}" for k in components if (m, k) in form.pairs]
            lines.add(f"t{i}_{m} = " + (" + ".join(products) or features.zeros))

    def _add_gradients(self, degree: int) -> None:
        """Add both gradients for the harmonics of one degree."""
        terms, lines, harmonics = self._terms, self._lines, self._form.harmonics_of([degree])
        for i in sorted({g for _, g in terms.harmonics}):
            lines.add(f"g{i}_ = " + self._features.load(self._radial(f"g{i}", degree)))
        if terms.harmonics:
            for m in harmonics:
                total = " + ".join(f"g{g}_ * t{x}_{m}" for x, g in terms.harmonics)
                lines.add(f"tl.store({self._harmonic(m)}, tl.sum({total}, 0))")
        for i in sorted({y for _, y in terms.radial}):
            row = f"Y{i} + r * {self._form.num_harmonics}"
            lines.add(*(f"Y{i}_{m} = tl.load({row} + {m}).to(tl.{self._features.dtype})" for m in harmonics))
        if terms.radial:
            total = " + ".join(f"Y{y}_{m} * t{x}_{m}" for m in harmonics for x, y in terms.radial)
            lines.add(self._features.store(self._radial("dg", degree), total))

    def _harmonic(self, m: int) -> str:
        blocks, num = self._features.num_blocks, self._form.num_harmonics
        return f"dY + (r * {blocks} + tl.program_id(1)) * {num} + {m}"

    def _radial(self, name: str, degree: int) -> str:
        return f"{name} + (r * {self._form.num_degrees} + {degree}) * {self._features.num}"
