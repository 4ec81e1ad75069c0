r"""Kernels of couplings of rows, such as tensor products, with all derivatives in one launch.

The form :math:`\phi(v^0, v^1, \dots) = \sum_e c_e \prod_s v^s_{i_s(e)}` is that of a table of couplings; its last slot
has the weights of paths. An operand or output is *shared* if it has one row for all rows of the others, as weights
mostly have. A program keeps shared operands and gradients of shared operands in registers while it goes through rows.
Tables that need too many registers are split by paths into *chunks*, which add to outputs one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import SparseForm
from e3any_backends.triton.programs import Launch, Program, Runner
from e3any_backends.triton.source import Features, Kernel, Lines

__all__ = ["evaluate_rows", "row_contractions"]

# Programs of a launch: each goes through a share of the rows.
_NUM_PROGRAMS = 1024
# Components of operands and outputs in one chunk, by dtype; see docs/gpu_kernels.md.
_LIMITS = {"float32": 150, "float64": 75}


class _Chunk(NamedTuple):
    """Entries of some paths, by output and by components of the output and of the operand that scales.

    Parameters
    ----------
    entries : tuple of int
        Numbers of entries.
    reads : tuple of (int, int)
        Operands and components that they read.
    writes : tuple of (int, int)
        Outputs and components that they add to.
    """

    entries: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]
    writes: tuple[tuple[int, int], ...]


def evaluate_rows(
    form: SparseForm, shared: int, program: Program, operands: Sequence[Array], dtype: str, run: Runner
) -> list[Array]:
    """Return the outputs (rows, components, F) of a program, in the dtype in which kernels compute.

    Bit s of ``shared`` says that slot s has one row for all rows of the others.
    """
    features = Features.of(operands[0].shape[-1], dtype)
    rows = max(
        (o.shape[0] for o, slot in zip(operands, program.slots, strict=True) if not shared >> slot & 1), default=1
    )
    num = min(rows, _NUM_PROGRAMS)
    shapes = tuple((num if shared >> slot & 1 else rows, form.sizes[slot], features.num) for slot in program.outs)
    kernel = row_contractions(form, shared, program, features)
    grid, warps = (num, features.num_blocks), max(1, features.block // 32)
    found = run(Launch(kernel, (*operands, rows), shapes, features.dtype, grid, warps))
    return [
        value.sum(0)[None] if shared >> slot & 1 else value for value, slot in zip(found, program.outs, strict=True)
    ]


@lru_cache(maxsize=512)
def row_contractions(form: SparseForm, shared: int, program: Program, features: Features) -> Kernel:
    r"""Return the kernel of a program.

    ============  =======================  ============================================================
    argument      shape                    content
    ============  =======================  ============================================================
    ``v0`` ...    (rows or 1, i, F)        operands
    ``num_rows``                           number of rows
    ``d0`` ...    (rows, i, F)             outputs
    \\            (programs, i, F)          outputs in shared slots, to be summed over axis 0
    ============  =======================  ============================================================
    """
    names = [f"v{o}" for o in range(len(program.slots))]
    lines = Lines("row_contractions", [*names, "num_rows", *(f"d{out}" for out in range(len(program.outs)))])
    writer = _Rows(form, shared, program, features, lines)
    lines.add(*features.head(1), "program = tl.program_id(0).to(tl.int64)")
    writer.begin()
    with lines.block("for i in range(tl.program_id(0), num_rows, tl.num_programs(0)):"):
        lines.add("row = tl.full([], 0, tl.int64) + i")
        writer.add_chunks()
    writer.end()
    return lines.kernel()


class _Rows:
    """Writes the code for one row."""

    def __init__(self, form: SparseForm, shared: int, program: Program, features: Features, lines: Lines) -> None:
        self._form, self._shared, self._program = form, shared, program
        self._features, self._lines = features, lines
        self._columns = [column.tolist() for column in form.columns]
        self._chunks = self._split()
        self._written: set[tuple[int, int]] = set()

    def begin(self) -> None:
        """Add what comes before the loop over rows: shared operands, and zeros for shared outputs."""
        zeros = self._features.zeros
        for out, slot in enumerate(self._program.outs):
            if self._is_shared(slot):
                for c in range(self._form.sizes[slot]):
                    register = f"d{out}_{c} = {zeros}"
                    is_kept = len(self._chunks) == 1 and (out, c) in self._chunks[0].writes
                    self._lines.add(register if is_kept else self._features.store(self._address(out, c), zeros))
        if len(self._chunks) == 1:
            self._read([o for o in self._chunks[0].reads if self._is_shared(self._program.slots[o[0]])])

    def add_chunks(self) -> None:
        """Add the code for all chunks."""
        for number, chunk in enumerate(self._chunks):
            if number:
                self._lines.add("tl.debug_barrier()  # what one chunk stores, the next one reads")
            self._add_chunk(chunk)
        self._add_missing()

    def end(self) -> None:
        """Add what comes after the loop: shared outputs that were in registers."""
        if len(self._chunks) == 1:
            for out, c in self._chunks[0].writes:
                if self._is_shared(self._program.outs[out]):
                    self._lines.add(self._features.store(self._address(out, c), f"d{out}_{c}"))

    def _split(self) -> list[_Chunk]:
        """Split the entries by paths."""
        paths: dict[int, list[int]] = defaultdict(list)
        for entry, path in enumerate(self._columns[-1]):
            paths[path].append(entry)
        limit, chunks = _LIMITS[self._features.dtype], []
        entries: list[int] = []
        for path in sorted(paths):
            together = self._chunk([*entries, *paths[path]])
            if entries and len(together.reads) + len(together.writes) > limit:
                chunks.append(self._chunk(entries))
                entries = []
            entries = [*entries, *paths[path]]
        return [*chunks, self._chunk(entries)]

    def _chunk(self, entries: Sequence[int]) -> _Chunk:
        reads, writes = set(), set()
        for out, operands in self._program.terms:
            for o in operands:
                reads |= {(o, self._columns[self._program.slots[o]][e]) for e in entries}
            writes |= {(out, self._columns[self._program.outs[out]][e]) for e in entries}
        return _Chunk(tuple(entries), tuple(sorted(reads)), tuple(sorted(writes)))

    def _add_chunk(self, chunk: _Chunk) -> None:
        """Add the code for a chunk: read operands, add products to outputs, store these."""
        lines, features, is_only = self._lines, self._features, len(self._chunks) == 1
        self._read([o for o in chunk.reads if not (is_only and self._is_shared(self._program.slots[o[0]]))])
        for out, c in chunk.writes:
            is_shared = self._is_shared(self._program.outs[out])
            if not (is_only and is_shared):
                begun = is_shared or (out, c) in self._written
                lines.add(f"d{out}_{c} = " + (features.load(self._address(out, c)) if begun else features.zeros))
            for scale, products in self._groups(chunk, out, c):
                lines.add(f"d{out}_{c} += {scale} * ({products})")
            if not (is_only and is_shared):
                lines.add(features.store(self._address(out, c), f"d{out}_{c}"))
                self._written.add((out, c))

    def _groups(self, chunk: _Chunk, out: int, component: int) -> list[tuple[str, str]]:
        """Return the scales of one component of an output, and the sums of products that they multiply."""
        slots, columns = self._program.slots, self._columns
        groups: dict[str, list[str]] = defaultdict(list)
        for number, (*factors, scale) in self._program.terms:
            if number == out:
                for e in chunk.entries:
                    if columns[self._program.outs[out]][e] == component:
                        product = " * ".join(f"v{o}_{columns[slots[o]][e]}" for o in factors)
                        value = float(self._form.values[e])
                        groups[f"v{scale}_{columns[slots[scale]][e]}"].append(f"{value!r} * ({product})")
        return [(scale, " + ".join(products)) for scale, products in groups.items()]

    def _read(self, operands: Sequence[tuple[int, int]]) -> None:
        for o, c in operands:
            slot = self._program.slots[o]
            row = "" if self._is_shared(slot) else f" + row * {self._form.sizes[slot] * self._features.num}"
            self._lines.add(f"v{o}_{c} = " + self._features.load(f"v{o}{row} + {c * self._features.num}"))

    def _add_missing(self) -> None:
        """Add zeros for components that no entry has."""
        for out, slot in enumerate(self._program.outs):
            for c in range(self._form.sizes[slot]) if not self._is_shared(slot) else ():
                if (out, c) not in self._written:
                    self._lines.add(self._features.store(self._address(out, c), self._features.zeros))

    def _address(self, out: int, component: int) -> str:
        slot = self._program.outs[out]
        row, size = "program" if self._is_shared(slot) else "row", self._form.sizes[slot] * self._features.num
        return f"d{out} + {row} * {size} + {component * self._features.num}"

    def _is_shared(self, slot: int) -> bool:
        return bool(self._shared >> slot & 1)
