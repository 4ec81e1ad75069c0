"""Launches of programs of the form of message passing, as few as there can be.

=================  =============================================  =============================================
outputs            terms of one launch                            kernel
=================  =============================================  =============================================
z                  those with one w, for all x, Y and g           node sums over the graph
x                  those with one w, for all z, Y and g           node sums of the transposed form and graph
w                  those with one z, for all x, Y and g           node sums; that of z if it has the same terms
Y and g together   those with one w and one z, for all x, Y, g    cotangents of edges
=================  =============================================  =============================================

For example, the value is one launch, its vjp three, and the gradient of the gradients with respect to x, Y and g three.
Launches of partial sums of long rows come on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from e3any_backends.arrays import Array
from e3any_backends.triton.edge_cotangents import EdgeTerms, edge_cotangents
from e3any_backends.triton.edge_form import EdgeForm
from e3any_backends.triton.graphs import num_parts, with_parts
from e3any_backends.triton.node_sums import NUM_PROGRAMS, Sources, node_sums
from e3any_backends.triton.programs import (
    Launch,
    PairJob,
    Program,
    Runner,
    add,
    by_slot,
    grouped,
    pair_jobs,
    sum_blocks,
)
from e3any_backends.triton.source import Features

__all__ = ["Graph", "evaluate_edges"]

_X, _Y, _G, _W, _Z = range(5)


class Graph(NamedTuple):
    """The lists of a graph, see :mod:`e3any_backends.triton.graphs`.

    Parameters
    ----------
    rows : tuple of arrays
        The lists of edges sorted by receiver.
    transposed : tuple of arrays
        Those of edges sorted by sender; empty if no output is in the slot of x.
    """

    rows: tuple[Array, ...]
    transposed: tuple[Array, ...]


class _Job(NamedTuple):
    """Node sums: the sums over edges of some terms, and what is made of them."""

    terms: tuple[tuple[int, int, int], ...]
    sums: tuple[int, int] | None  # output and operand w
    weights: tuple[int, int] | None  # output and operand z


def evaluate_edges(
    form: EdgeForm, program: Program, operands: Sequence[Array], graph: Graph, dtype: str, run: Runner
) -> list[Array]:
    """Return the outputs of a program, which has terms for all of them, in the dtype in which kernels compute.

    Parameters
    ----------
    form : EdgeForm
        The form.
    program : Program
        The contractions, with slots 0 to 4 of x, Y, g, w and z.
    operands : sequence of arrays
        Shapes (N', k, F), (E, m), (E, l, F), (p, F) and (N, n, F) in these slots.
    graph : Graph
        The edges.
    dtype : str
        The dtype of the operands.
    run : Runner
        Runs kernels.
    """
    num_features = next(o.shape[-1] for o, slot in zip(operands, program.slots, strict=True) if slot != _Y)
    features = Features.of(num_features, dtype)
    evaluation = _Evaluation(form, features, operands, run)
    totals: dict[int, Array] = {}
    for job in _node_jobs(program, _Z, _X):
        evaluation.add_node_sums(form, graph.rows, job, totals)
    for job in _node_jobs(program, _X, _Z):
        evaluation.add_node_sums(form.transposed, graph.transposed, job, totals)
    for pair in pair_jobs(program, (_Y, _G), (_W, _Z)):
        evaluation.add_edge_cotangents(graph.rows, pair, totals)
    return [totals[out] for out in range(len(program.outs))]


def _node_jobs(program: Program, slot: int, source: int) -> list[_Job]:
    """Return the node sums with outputs in a slot, z or x; ``source`` is the other one of these."""
    members = by_slot(program)
    sums = grouped(((out, m[_W]), (m[source], m[_Y], m[_G])) for out, m in members if program.outs[out] == slot)
    # Gradients of weights read the cotangent of z: they are made of sums over the graph, not the transposed one.
    weights = grouped(((out, m[_Z]), (m[_X], m[_Y], m[_G])) for out, m in members if program.outs[out] == _W)
    jobs = []
    for key, terms in sums.items():
        same = next((k for k, other in weights.items() if other == terms), None) if slot == _Z else None
        jobs.append(_Job(tuple(terms), key, same))  # type: ignore[arg-type]
        if same is not None:
            del weights[same]
    if slot == _Z:
        jobs += [_Job(tuple(terms), None, key) for key, terms in weights.items()]  # type: ignore[arg-type]
    return jobs


class _Evaluation:
    """Launches for given operands."""

    def __init__(self, form: EdgeForm, features: Features, operands: Sequence[Array], run: Runner) -> None:
        self._form, self._features, self._operands, self._run = form, features, operands, run

    def add_node_sums(self, form: EdgeForm, lists: Sequence[Array], job: _Job, totals: dict[int, Array]) -> None:
        """Add sums and gradients of weights of one job to their outputs."""
        features, operands = self._features, self._operands
        numbers = [sorted({term[position] for term in job.terms}) for position in range(3)]
        local = Sources(
            tuple(sorted((numbers[0].index(x), numbers[1].index(y), numbers[2].index(g)) for x, y, g in job.terms))
        )
        num_nodes, num_edges = lists[0].shape[0] - 2, lists[1].shape[0]
        num_items, width = num_nodes + num_parts(num_edges), form.num_receivers
        num_programs = num_items if job.weights is None else min(num_items, NUM_PROGRAMS)
        inputs = [operands[i] for group in numbers for i in group]
        inputs += [operands[ends[1]] for ends in (job.sums, job.weights) if ends is not None]
        inputs += [*lists, num_nodes, *[num_items] * (job.weights is not None)]
        outputs: list[tuple[int, ...]] = []
        if job.sums is not None:
            outputs += [(num_nodes, width, features.num), (max(1, num_parts(num_edges)), width, features.num)]
        if job.weights is not None:
            outputs.append((num_programs, form.num_paths, features.num))
        kernel = node_sums(form, features, local, job.sums is not None, job.weights is not None)
        found = list(self._run(self._launch(kernel, inputs, outputs, num_programs)))
        if job.weights is not None:
            add(totals, job.weights[0], found.pop().sum(0))
        if job.sums is not None:
            add(totals, job.sums[0], with_parts(found, lists, features.dtype, self._run))

    def add_edge_cotangents(self, lists: Sequence[Array], job: PairJob, totals: dict[int, Array]) -> None:
        """Add gradients with respect to harmonics and radial functions to their outputs."""
        form, operands = self._form, self._operands
        features = Features.of(self._features.num, self._features.dtype, most=64)
        harmonics, radial = job.terms
        senders, angular, functions = (
            sorted(set(numbers))
            for numbers in ([x for x, _ in (*harmonics, *radial)], [y for _, y in radial], [g for _, g in harmonics])
        )
        terms = EdgeTerms(
            tuple((senders.index(x), functions.index(g)) for x, g in harmonics),
            tuple((senders.index(x), angular.index(y)) for x, y in radial),
        )
        num_rows, num_edges = lists[0].shape[0] - 1, lists[1].shape[0]
        inputs = [*(operands[i] for i in (*senders, *angular, *functions, *job.ends)), *lists, num_rows]
        shapes = (num_edges, features.num_blocks, form.num_harmonics), (num_edges, form.num_degrees, features.num)
        kernel, grid = edge_cotangents(form, features, terms), (num_rows + num_parts(num_edges), features.num_blocks)
        outs = [(out, shape) for out, shape in zip(job.outs, shapes, strict=True) if out is not None]
        found = self._run(Launch(kernel, tuple(inputs), tuple(s for _, s in outs), features.dtype, grid, 1))
        for (out, _), value in zip(outs, found, strict=True):
            add(totals, out, sum_blocks(value) if out == job.outs[0] else value)

    def _launch(self, kernel: object, inputs: list[Array], outputs: list[tuple[int, ...]], num: int) -> Launch:
        features = self._features
        grid, warps = (num, features.num_blocks), max(1, features.block // 32)
        return Launch(kernel, tuple(inputs), tuple(outputs), features.dtype, grid, warps)  # type: ignore[arg-type]
