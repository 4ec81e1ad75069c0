"""Programs, which are lists of contractions of a form, and the launches that compute them.

Derivatives of contractions are contractions: the jvp replaces operands by their tangents, and the transpose puts the
cotangent into the slot of the output. A program with its transpose is closed under differentiation of any order; see
:mod:`e3any_backends.jax.multilinear` for the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple, Protocol

from e3any_backends.arrays import Array, Shape
from e3any_backends.triton.source import Kernel

__all__ = ["Launch", "PairJob", "Program", "Runner", "add", "by_slot", "grouped", "pair_jobs", "sum_blocks"]

#: The number of an output, and its operands in ascending order of their slots.
Term = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class Program:
    """A list of contractions.

    Parameters
    ----------
    slots : tuple of int
        Slot of each operand.
    outs : tuple of int
        Slot of each output.
    terms : tuple of (int, tuple of int)
        For each contraction the output that it is added to, and its operands in ascending order of their slots.
    """

    slots: tuple[int, ...]
    outs: tuple[int, ...]
    terms: tuple[Term, ...]

    def transposed(self, cotangents: Sequence[bool], wanted: Sequence[int]) -> Program:
        """Return the program of the gradients with respect to the operands ``wanted``.

        Its operands are those of this program and then the cotangents of all outputs. ``cotangents`` says which of the
        latter there are; no term has others.
        """
        slots, terms = (*self.slots, *self.outs), []
        for out, operands in self.terms:
            for position, o in enumerate(wanted):
                if cotangents[out] and o in operands:
                    members = [len(self.slots) + out, *(other for other in operands if other != o)]
                    terms.append((position, tuple(sorted(members, key=lambda member: slots[member]))))
        return Program(slots, tuple(self.slots[o] for o in wanted), tuple(terms))

    def needed(self) -> tuple[Program, list[int], list[int]]:
        """Return the program of the outputs and operands that terms have, and the numbers of both here."""
        outs = sorted({out for out, _ in self.terms})
        used = sorted({o for _, operands in self.terms for o in operands})
        terms = tuple((outs.index(out), tuple(used.index(o) for o in operands)) for out, operands in self.terms)
        return Program(tuple(self.slots[o] for o in used), tuple(self.outs[o] for o in outs), terms), outs, used

    def encoded(self) -> list[int]:
        """Return the program as integers, for operators that take no objects."""
        flat = [number for out, operands in self.terms for number in (out, *operands)]
        return [len(self.slots), len(self.outs), *self.slots, *self.outs, *flat]

    @classmethod
    def decoded(cls, numbers: Sequence[int], num_factors: int) -> Program:
        """Return the program of :meth:`encoded`, whose terms have so many operands."""
        num_operands, num_outs, *rest = numbers
        slots, outs = tuple(rest[:num_operands]), tuple(rest[num_operands : num_operands + num_outs])
        flat = rest[num_operands + num_outs :]
        rows = (flat[i : i + num_factors + 1] for i in range(0, len(flat), num_factors + 1))
        return cls(slots, outs, tuple((out, tuple(operands)) for out, *operands in rows))


class Launch(NamedTuple):
    """A call of a kernel.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    inputs : tuple of arrays and int
        The arguments that it reads.
    outputs : tuple of tuple of int
        The shapes of the arrays that it writes.
    dtype : str
        Their dtype.
    grid : tuple of int
        Number of programs along both axes.
    num_warps : int
        Warps of 32 threads of a program.
    is_update : bool
        Whether it writes into the memory of its last input.
    """

    kernel: Kernel
    inputs: tuple[Array, ...]
    outputs: tuple[Shape, ...]
    dtype: str
    grid: tuple[int, int]
    num_warps: int
    is_update: bool = False


class Runner(Protocol):
    """How a framework runs kernels."""

    def __call__(self, launch: Launch) -> Sequence[Array]:
        """Return the arrays that a kernel writes."""


def add(totals: dict[int, Array], out: int, value: Array) -> None:
    """Add a value to an output."""
    totals[out] = totals[out] + value if out in totals else value


def by_slot(program: Program) -> list[tuple[int, dict[int, int]]]:
    """Return the output and the operands by slot of every term."""
    return [(out, {program.slots[o]: o for o in operands}) for out, operands in program.terms]


def grouped(pairs: Iterable[tuple[tuple[int, int], tuple[int, ...]]]) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    """Return the members of every key, sorted: programs of the same terms have the same kernels."""
    found: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for key, member in pairs:
        found.setdefault(key, []).append(member)
    return {key: sorted(members) for key, members in found.items()}


class PairJob(NamedTuple):
    """Outputs in two slots a and b of edges, computed together.

    Parameters
    ----------
    ends : tuple of int
        The operands that all terms have.
    outs : tuple of (int or None)
        The output in each slot, if there is one.
    terms : tuple of tuples of (int, int)
        For each output, the operands in the slot of x and in the other one of both slots.
    """

    ends: tuple[int, ...]
    outs: tuple[int | None, int | None]
    terms: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


def pair_jobs(program: Program, slots: tuple[int, int], ends: tuple[int, ...]) -> list[PairJob]:
    """Return jobs for all outputs in two slots.

    Slot 0 is that of x. All terms of a job have the same operands in the slots ``ends``.
    """
    found: dict[tuple[int, ...], tuple[dict[int, list[tuple[int, int]]], dict[int, list[tuple[int, int]]]]] = {}
    for out, m in by_slot(program):
        if program.outs[out] in slots:
            position = slots.index(program.outs[out])
            both = found.setdefault(tuple(m[slot] for slot in ends), ({}, {}))
            both[position].setdefault(out, []).append((m[0], m[slots[1 - position]]))
    none: tuple[None, list[tuple[int, int]]] = None, []
    jobs = []
    for key, (first, second) in sorted(found.items()):
        for a, b in zip_longest(first.items(), second.items(), fillvalue=none):
            jobs.append(PairJob(key, (a[0], b[0]), (tuple(sorted(a[1])), tuple(sorted(b[1])))))
    return jobs


def sum_blocks(value: Array) -> Array:
    """Return (E, m), the sum of (E, blocks, m) over blocks of features."""
    return value.sum(1) if value.shape[1] > 1 else value[:, 0]
