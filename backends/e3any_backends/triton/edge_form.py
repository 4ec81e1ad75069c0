r"""The form of message passing, linear in five slots, and the passes in which a kernel computes it.

.. math:: \phi(x, Y, g, w, z) = \sum_e \sum_{(m,k,n,p,c)} c \, w_p \, Y_{em} \, g_{e\,l(m)} \, x_{s(e)k} \, z_{r(e)n}

Here s(e) and r(e) are the sender and the receiver of edge e, and entries (m, k, n, p, c) are those of a table of
couplings: a harmonic m, a component k of the sender, a component n of the receiver, a path p and a coefficient c.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import NamedTuple

from e3any_backends.forms.couplings import Coupling
from e3any_backends.forms.paths import entries_of
from e3any_backends.forms.tables import tables_of

__all__ = ["EdgeForm", "Entry", "Pass", "edge_form", "passes", "path_form"]


class Entry(NamedTuple):
    """One coefficient: harmonic, component of the sender, component of the receiver, path, coefficient."""

    m: int
    k: int
    n: int
    p: int
    value: float


class Pass(NamedTuple):
    """Harmonics and components of senders whose sums of products a program holds in registers at one time."""

    harmonics: tuple[int, ...]
    components: tuple[int, ...]


@dataclass(frozen=True)
class EdgeForm:
    """The entries of the form, as constants for a generator.

    Parameters
    ----------
    entries : tuple of Entry
        All coefficients other than zero.
    degrees : tuple of int
        The radial function l(m) of every harmonic m.
    senders, receivers : tuple of tuple of int
        The components of x and of z, irrep by irrep.
    num_paths : int
        Number of paths, those without entries included.
    """

    entries: tuple[Entry, ...]
    degrees: tuple[int, ...]
    senders: tuple[tuple[int, ...], ...]
    receivers: tuple[tuple[int, ...], ...]
    num_paths: int

    @property
    def num_harmonics(self) -> int:
        """Number of harmonics."""
        return len(self.degrees)

    @property
    def num_degrees(self) -> int:
        """Number of radial functions."""
        return self.degrees[-1] + 1

    @property
    def num_senders(self) -> int:
        """Number of components of x."""
        return sum(map(len, self.senders))

    @property
    def num_receivers(self) -> int:
        """Number of components of z."""
        return sum(map(len, self.receivers))

    @cached_property
    def pairs(self) -> frozenset[tuple[int, int]]:
        """The pairs (m, k) that couple to anything."""
        return frozenset((e.m, e.k) for e in self.entries)

    @cached_property
    def transposed(self) -> EdgeForm:
        """The form with x and z exchanged: its node sums are gradients with respect to x."""
        entries = tuple(sorted(Entry(e.m, e.n, e.k, e.p, e.value) for e in self.entries))
        return EdgeForm(entries, self.degrees, self.receivers, self.senders, self.num_paths)

    def harmonics_of(self, degrees: Iterable[int]) -> list[int]:
        """Return the harmonics of some degrees."""
        wanted = set(degrees)
        return [m for m, degree in enumerate(self.degrees) if degree in wanted]


@lru_cache(maxsize=256)
def edge_form(number: int) -> EdgeForm:
    """Return the form of a :class:`~e3any_backends.forms.couplings.Coupling`, whose first factor are harmonics."""
    coupling: Coupling = tables_of(number)
    harmonics = _blocks((path.x.start, path.x.stop) for path in coupling.paths)
    senders = _blocks((path.y.start, path.y.stop) for path in coupling.paths)
    receivers = _blocks((path.z.start, path.z.stop) for path in coupling.paths)
    columns = [column.tolist() for column in coupling.product_form.columns]
    entries = zip(*columns, coupling.product_form.values.tolist(), strict=True)
    return EdgeForm(
        tuple(Entry(*entry) for entry in entries),
        tuple(degree for degree, block in enumerate(harmonics) for _ in block),
        senders,
        receivers,
        coupling.num_paths,
    )


@lru_cache(maxsize=256)
def path_form(number: int, block: int) -> EdgeForm:
    """Return the form of a block of a :class:`~e3any_backends.forms.paths.PathForm`, without radial functions."""
    coupling = tables_of(number).blocks[block].coupling
    entries = tuple(sorted(Entry(m, k, n, p, value) for k, m, n, p, value in entries_of(coupling)))
    senders, receivers = ((tuple(range(size)),) for size in (coupling.num_x, coupling.num_z))
    return EdgeForm(entries, tuple(range(coupling.num_y)), senders, receivers, coupling.num_paths)


def _blocks(ends: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(*end)) for end in sorted(set(ends)))


@lru_cache(maxsize=256)
def passes(form: EdgeForm, limit: int) -> tuple[Pass, ...]:
    """Split the pairs of harmonics and components into passes of at most ``limit`` sums.

    Every pass reads the features of all senders of its components once, and the radial functions of its harmonics. The
    passes are those for which these are fewest; for example, degrees 0 to 2 of x, and then degree 3.
    """
    best: list[tuple[int, tuple[Pass, ...]]] = [(0, ())]
    for end in range(1, len(form.senders) + 1):
        options = []
        for begin in range(end):
            found = _harmonic_passes(form, form.senders[begin:end], limit)
            if begin == end - 1 or all(_size(part) <= limit for part in found):
                read = sum(len(p.components) + len({form.degrees[m] for m in p.harmonics}) for p in found)
                options.append((best[begin][0] + read, best[begin][1] + found))
        best.append(min(options, key=lambda option: (option[0], len(option[1]), max(map(_size, option[1])))))
    return best[-1][1]


def _size(part: Pass) -> int:
    return len(part.harmonics) * len(part.components)


def _harmonic_passes(form: EdgeForm, blocks: tuple[tuple[int, ...], ...], limit: int) -> tuple[Pass, ...]:
    """Split the harmonics, degree by degree, for some components."""
    components = tuple(k for block in blocks for k in block)
    parts: list[list[int]] = [[]]
    for _, group in groupby(range(form.num_harmonics), key=lambda m: form.degrees[m]):
        harmonics = list(group)
        if parts[-1] and (len(parts[-1]) + len(harmonics)) * len(components) > limit:
            parts.append([])
        parts[-1] += harmonics
    return tuple(Pass(tuple(part), components) for part in parts)
