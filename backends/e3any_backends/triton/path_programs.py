"""Launches of programs of message passing with weights of every edge and path.

=================  =======================  ==================================================
outputs            terms of one launch      kernel
=================  =======================  ==================================================
z                  all                      sums over the graph
x                  all                      sums of the transposed form over the transposed graph
q and Y together   those with one z         cotangents of edges
=================  =======================  ==================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from e3any_backends.arrays import Array
from e3any_backends.triton.edge_form import EdgeForm
from e3any_backends.triton.edge_programs import Graph
from e3any_backends.triton.graphs import num_parts, with_parts
from e3any_backends.triton.path_sums import PathTerms, path_cotangents, path_sums
from e3any_backends.triton.programs import Launch, PairJob, Program, Runner, add, by_slot, pair_jobs, sum_blocks
from e3any_backends.triton.source import Features

__all__ = ["evaluate_paths"]

_X, _Y, _Q, _Z = range(4)


def evaluate_paths(
    form: EdgeForm, program: Program, operands: Sequence[Array], graph: Graph, dtype: str, run: Runner
) -> list[Array]:
    """Return the outputs of a program, which has terms for all of them, in the dtype in which kernels compute.

    Operands have the shapes (N', k, F), (E, m), (E, p, F) and (N, n, F) in the slots 0 to 3 of x, Y, q and z.
    """
    num = next(o.shape[-1] for o, slot in zip(operands, program.slots, strict=True) if slot != _Y)
    totals: dict[int, Array] = {}
    members = by_slot(program)
    for out, slot in enumerate(program.outs):
        if slot in (_X, _Z):
            one, lists, source = (form, graph.rows, _X) if slot == _Z else (form.transposed, graph.transposed, _Z)
            terms = sorted((m[source], m[_Y], m[_Q]) for o, m in members if o == out)
            features = Features.of(num, dtype)
            add(totals, out, _launched_sums(one, features, PathTerms(sums=tuple(terms)), operands, lists, run))
    for pair in pair_jobs(program, (_Q, _Y), (_Z,)):
        _add_cotangents(form, Features.of(num, dtype, most=64), pair, operands, graph.rows, run, totals)
    return [totals[out] for out in range(len(program.outs))]


def _launched_sums(
    form: EdgeForm, features: Features, terms: PathTerms, operands: Sequence[Array], lists: Sequence[Array], run: Runner
) -> Array:
    """Return sums over the edges of every node."""
    terms, inputs = _local(terms, operands)
    num_nodes, parts, width = lists[0].shape[0] - 2, num_parts(lists[1].shape[0]), form.num_receivers
    shapes = (num_nodes, width, features.num), (max(1, parts), width, features.num)
    kernel, grid = path_sums(form, features, terms), (num_nodes + parts, features.num_blocks)
    launch = Launch(kernel, (*inputs, *lists, num_nodes), shapes, features.dtype, grid, max(1, features.block // 32))
    return with_parts(run(launch), lists, features.dtype, run)


def _add_cotangents(
    form: EdgeForm,
    features: Features,
    job: PairJob,
    operands: Sequence[Array],
    lists: Sequence[Array],
    run: Runner,
    totals: dict[int, Array],
) -> None:
    """Add gradients with respect to weights and harmonics to their outputs."""
    terms, inputs = _local(PathTerms((), *job.terms), operands)
    num_rows, num_edges = lists[0].shape[0] - 1, lists[1].shape[0]
    shapes = (num_edges, form.num_paths, features.num), (num_edges, features.num_blocks, form.num_harmonics)
    kernel, grid = path_cotangents(form, features, terms), (num_rows + num_parts(num_edges), features.num_blocks)
    outs = [(out, shape) for out, shape in zip(job.outs, shapes, strict=True) if out is not None]
    inputs = (*inputs, operands[job.ends[0]], *lists, num_rows)
    found = run(Launch(kernel, inputs, tuple(s for _, s in outs), features.dtype, grid, 1))
    for (out, _), value in zip(outs, found, strict=True):
        add(totals, out, sum_blocks(value) if out == job.outs[1] else value)


def _local(terms: PathTerms, operands: Sequence[Array]) -> tuple[PathTerms, tuple[Array, ...]]:
    """Return terms with operands numbered from 0 for each slot, and these operands."""
    x, y, q = terms.senders, terms.angular, terms.paths
    local = PathTerms(
        tuple((x.index(i), y.index(j), q.index(k)) for i, j, k in terms.sums),
        tuple((x.index(i), y.index(j)) for i, j in terms.weights),
        tuple((x.index(i), q.index(k)) for i, k in terms.harmonics),
    )
    return local, tuple(operands[i] for i in (*x, *y, *q))
