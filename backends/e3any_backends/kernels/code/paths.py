r"""Sums over a few edges of one receiver, with weights of every edge and path, as machine code for one table.

It computes :math:`z_n \mathrel{+}= \sum_e \sum_{kp} q_{ep}\, T_{epkn}\, x_{s(e)k}`, unrolled over the elements of the
matrices T. These are computed first, for as many edges as a vector has numbers: an instruction computes an element of
all these edges. Sums stay in registers for all edges; elements are read from the cache and repeated by the
instructions that multiply with them. The instructions are described in https://llvm.org/docs/LangRef.html.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import groupby

import numpy as np
from llvmlite import binding, ir

from e3any_backends.forms.paths import PathForm, entries_of
from e3any_backends.forms.tables import tables_of
from e3any_backends.kernels.code.jit import compiled_module, guarded
from e3any_backends.kernels.code.path_writer import PathBlock, PathWriter, WeightedPath, chunks
from e3any_backends.kernels.code.simd import BYTES, horizontal_sum
from e3any_backends.kernels.code.unrolled import SIGNATURE

__all__ = ["PathProgram", "path_program"]

# The most entries that are unrolled, those of vectors and of the halves of vectors behind them counted apart. LLVM
# compiles a thousand of them in 2 s.
_MOST_ENTRIES = 1024
# The most sums that are kept in registers. AVX-512 has 32 registers of one vector each, AVX2 16 of half a vector.
_MOST_SUMS = 24 if binding.get_host_cpu_features().get("avx512f") else 7


@dataclass(frozen=True)
class PathProgram:
    """The work for some edges of one receiver, for :func:`~e3any_backends.kernels.code.unrolled.run`.

    Its tables hold, for sums (``"path_sums"``) and their gradients (``"path_gradients"``):

    ===============  ==============================================================================
    ``pointers[0]``  the sums of the receiver, which are added to; or their cotangent
    ``pointers[1]``  features x (nodes, X)
    ``pointers[2]``  harmonics (edges, M)
    ``pointers[3]``  weights (edges, Q)
    ``pointers[4]``  senders, int64, in the order of edges
    ``pointers[5]``  this order: numbers of edges, int64
    ``pointers[6]``  scratch of one vector for every harmonic and element of matrices
    ``pointers[7]``  gradient with respect to x, which is added to (gradients only, as below)
    ``pointers[8]``  gradient with respect to the harmonics, which is overwritten
    ``pointers[9]``  gradient with respect to the weights, which is overwritten
    ``steps[0]``     position of the first edge in the order
    ``steps[1]``     position after the last edge; they are at most as many as a vector has numbers
    ===============  ==============================================================================

    Parameters
    ----------
    operation : str
        ``"path_sums"`` or ``"path_gradients"``.
    blocks : tuple of PathBlock
        The blocks of features.
    sizes : tuple of int
        Numbers in a row of x, of harmonics and of weights.
    dtype : str
        The dtype of all arrays.
    """

    operation: str
    blocks: tuple[PathBlock, ...]
    sizes: tuple[int, int, int]
    dtype: str

    @cached_property
    def name(self) -> str:
        """A name of the program that is the same in all processes."""
        return f"e3any_{self.operation}_{hashlib.sha256(repr(self).encode()).hexdigest()[:24]}"

    @cached_property
    def code(self) -> int:
        """The address of the machine code."""
        return _path_address(self)


@lru_cache(maxsize=1024)
def path_program(operation: str, number: int, dtype: str) -> PathProgram | None:
    """Return the program of the form of a number; None if it has too many entries."""
    form: PathForm = tables_of(number)
    lanes = BYTES // np.dtype(dtype).itemsize
    blocks = tuple(
        PathBlock(b.features, b.x.start, b.weights.start, b.sums.start, tuple(entries_of(b.coupling)))
        for b in form.blocks
        if b.features
    )
    if sum(len(b.entries) * len(chunks(b.features, lanes)) for b in blocks) > _MOST_ENTRIES:
        return None
    last = form.blocks[-1]
    return PathProgram(operation, blocks, (last.x.stop, form.num_harmonics, last.weights.stop), dtype)


@cache
@guarded
def _path_address(program: PathProgram) -> int:
    module = ir.Module(program.name)
    function = ir.Function(module, SIGNATURE, program.name)
    writer = _Sums if program.operation == "path_sums" else _Gradients
    writer(function, program.blocks, program.sizes, program.dtype).write()
    return compiled_module(module, program.name)


class _Sums(PathWriter):
    """Writer of sums."""

    def _write_edges(self) -> None:
        """Write loops over features, in which edges are summed over, for as many sums as registers hold."""
        for block, paths in zip(self._blocks, self._paths, strict=True):
            for members in _passes(paths):
                for chunk in chunks(block.features, self._lanes):
                    with self._offsets(*chunk) as offset:
                        self._write_sums(block, members, offset, ir.VectorType(self._number, chunk[2]))

    def _write_sums(self, block: PathBlock, paths: list[WeightedPath], offset: ir.Value, vector: ir.VectorType) -> None:
        out = self._builder.add(self._pointers[0], offset)
        sums = {n: self._sum(vector) for path in paths for n in path.ends}
        for n, total in sums.items():
            self._builder.store(self._load(out, block.sums + n * block.features, vector), total)
        with self._edges() as (sender, edge, count):
            row = self._builder.add(self._row(1, sender, self._sizes[0]), offset)
            components = sorted({k for path in paths for k in path.elements})
            x = {k: self._load(row, block.x + k * block.features, vector) for k in components}
            weights = self._builder.add(self._row(3, edge, self._sizes[2]), offset)
            matrices, values = self._matrices(count), {n: self._builder.load(total) for n, total in sums.items()}
            for path in paths:
                weight = self._load(weights, block.weights + path.number * block.features, vector)
                self._add_path(path, weight, x, values, matrices)
            for n, value in values.items():
                self._builder.store(value, sums[n])
        for n, total in sums.items():
            self._store(self._builder.load(total), out, block.sums + n * block.features)

    def _add_path(
        self,
        path: WeightedPath,
        weight: ir.Value,
        x: dict[int, ir.Value],
        sums: dict[int, ir.Value],
        matrices: ir.Value,
    ) -> None:
        """Add the products of one path; the weight multiplies whatever has fewer components."""
        if len(path.elements) <= len(path.ends):
            for k, members in path.elements.items():
                product = self._times(weight, x[k])
                for n, number in members:
                    sums[n] = self._plus(sums[n], self._times(self._element(number, matrices, product.type), product))
            return
        totals: dict[int, ir.Value] = {}
        for k, members in path.elements.items():
            for n, number in members:
                product = self._times(self._element(number, matrices, weight.type), x[k])
                totals[n] = self._plus(totals.get(n), product)
        for n, total in totals.items():
            sums[n] = self._plus(sums[n], self._times(weight, total))


def _passes(paths: list[WeightedPath]) -> list[list[WeightedPath]]:
    """Divide paths into groups that end in few components; a path with more of them is a group of its own."""
    groups: list[list[WeightedPath]] = []
    ends: set[int] = set()
    for path in sorted(paths, key=lambda path: path.ends[0]):
        if not groups or len(ends | set(path.ends)) > _MOST_SUMS:
            groups.append([])
            ends = set()
        groups[-1].append(path)
        ends |= set(path.ends)
    return groups


class _Gradients(PathWriter):
    """Writer of the gradients of sums."""

    _num_pointers = 10

    def _write_edges(self) -> None:
        """Write a loop over edges."""
        harmonics, num_weights = self._sizes[1:]
        with self._edges() as (sender, edge, count):
            matrices = self._matrices(count)
            dy = [self._sum(self._number) for _ in range(harmonics)]
            rows = [self._row(n, sender, self._sizes[0]) for n in (1, 7)]
            rows += [self._row(n, edge, num_weights) for n in (3, 9)]
            for block, paths in zip(self._blocks, self._paths, strict=True):
                for _, together in groupby(paths, key=lambda path: min(path.elements)):
                    self._write_gradients(block, list(together), rows, dy, matrices)
            row = self._row(8, edge, harmonics)
            for m, total in enumerate(dy):
                self._builder.store(self._builder.load(total), self._at(row, m, self._number))

    def _write_gradients(
        self, block: PathBlock, paths: list[WeightedPath], rows: list[ir.Value], dy: list[ir.Value], matrices: ir.Value
    ) -> None:
        """Write a loop over features for the paths that begin in the same irrep of x."""
        used = sorted({m for path in paths for _, m, *_ in path.entries})
        components = sorted({k for path in paths for k in path.elements})
        for chunk in chunks(block.features, self._lanes):
            vector = ir.VectorType(self._number, chunk[2])
            by_harmonic = {m: self._sum(vector) for m in used}
            with self._offsets(*chunk) as offset:
                x, dx, weights, d_weights = (self._builder.add(row, offset) for row in rows)
                g = self._builder.add(self._pointers[0], offset)
                values = {k: self._load(x, block.x + k * block.features, vector) for k in components}
                totals = {m: self._builder.load(total) for m, total in by_harmonic.items()}
                gradients = {k: self._load(dx, block.x + k * block.features, vector) for k in components}
                for path in paths:
                    place = block.weights + path.number * block.features
                    weight = self._load(weights, place, vector)
                    ends = {n: self._load(g, block.sums + n * block.features, vector) for n in path.ends}
                    by_weight = self._add_features(path, weight, values, gradients, ends, matrices)
                    self._store(by_weight, d_weights, place)
                    self._add_harmonics(path, weight, values, ends, totals)
                for m, total in totals.items():
                    self._builder.store(total, by_harmonic[m])
                for k, gradient in gradients.items():
                    self._store(gradient, dx, block.x + k * block.features)
            for m, total in by_harmonic.items():
                value = self._builder.load(total)
                self._add(dy[m], horizontal_sum(self._builder, value))

    def _add_features(
        self,
        path: WeightedPath,
        weight: ir.Value,
        x: dict[int, ir.Value],
        dx: dict[int, ir.Value],
        g: dict[int, ir.Value],
        matrices: ir.Value,
    ) -> ir.Value:
        """Add the gradients with respect to x of one path; return that with respect to its weight."""
        by_weight: ir.Value | None = None
        for k, members in path.elements.items():
            inner: ir.Value | None = None
            for n, number in members:
                inner = self._plus(inner, self._times(self._element(number, matrices, weight.type), g[n]))
            by_weight = self._plus(by_weight, self._times(x[k], inner))
            dx[k] = self._plus(dx[k], self._times(weight, inner))
        return by_weight

    def _add_harmonics(
        self,
        path: WeightedPath,
        weight: ir.Value,
        x: dict[int, ir.Value],
        g: dict[int, ir.Value],
        by_harmonic: dict[int, ir.Value],
    ) -> None:
        """Add the gradients with respect to harmonics of one path."""
        products: dict[tuple[int, int], ir.Value] = {}
        totals: dict[int, ir.Value] = {}
        for k, m, n, _, c in path.entries:
            if (k, n) not in products:
                products[k, n] = self._times(x[k], g[n])
            coefficient = ir.Constant(weight.type, [c] * weight.type.count)
            totals[m] = self._plus(totals.get(m), self._times(products[k, n], coefficient))
        for m, total in totals.items():
            by_harmonic[m] = self._plus(by_harmonic[m], self._times(weight, total))
