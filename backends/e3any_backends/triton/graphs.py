"""How edges are split between programs: every node has a program, and rows of very many edges have further ones.

Edges are sorted by node, padding last, so that those of one node are a *row*. Kernels read four lists of int32:

===========  =========  =====================================================================================
list         shape      content
===========  =========  =====================================================================================
``ptr``      (N + 2,)   where the row of each node starts; ``ptr[N]`` is where padding starts, ``ptr[N+1]`` is E
``nodes``    (E,)       the node of every position, N for padding
``others``   (E,)       the node at the other end
``order``    (E,)       the number of the edge at every position, in arrays of edges
===========  =========  =====================================================================================

The program of a node sums its row up to the second multiple of :data:`PART` after the beginning: 65 to 128 edges, so
that the rows of most graphs are not split. What is left is split at multiples of :data:`PART`. So a program finds its
edges without a list of parts. Partial sums of the latter are rows of scratch, which a second launch adds in their
order: sums are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence

from e3any_backends.arrays import Array
from e3any_backends.triton.programs import Launch, Runner
from e3any_backends.triton.source import Features, Kernel, Lines

__all__ = ["LISTS", "PART", "add_parts", "begin_item", "begin_share", "num_parts", "with_parts"]

#: Arguments of kernels over edges: the lists of a graph.
LISTS = ("ptr", "nodes", "others", "order")
#: Edges of every part of a long row but the first.
PART = 64


def num_parts(num_edges: int) -> int:
    """Return how many parts other than first ones there can be; no row has one before the third block of edges."""
    return max(0, -(-num_edges // PART) - 2)


def begin_share(lines: Lines) -> None:
    """Add the code that finds ``node``, ``first`` and ``last`` of a program's ``item``, and whether it is ``live``."""
    lines.add(
        "is_part = item >= num_rows",
        f"at = (item - num_rows + 2) * {PART}",
        "node = tl.where(is_part, tl.load(nodes + at, mask=is_part, other=0), item).to(tl.int64)",
        "begin = tl.load(ptr + node)",
        "end = tl.load(ptr + node + 1)",
        f"own = (begin // {PART} + 2) * {PART}",
        "first = tl.where(is_part, at, begin)",
        f"last = tl.minimum(end, tl.where(is_part, at + {PART}, own))",
        "live = (node < num_rows) & ((at >= own) | (item < num_rows))",
    )


def begin_item(lines: Lines, width: int) -> None:
    """Add the code that finds ``target``, the row of ``out`` or of ``parts`` of an item; it has ``width`` numbers."""
    scratch = f"parts + (item - num_rows).to(tl.int64) * {width}"
    lines.add(f"target = tl.where(is_part, {scratch}, out + node * {width})")


def with_parts(found: Sequence[Array], lists: Sequence[Array], dtype: str, run: Runner) -> Array:
    """Return the rows ``out`` of nodes, to which a launch adds the partial sums ``parts``."""
    (out, parts), num = found, num_parts(lists[1].shape[0])
    if num == 0 or out.shape[0] == 0:
        return out
    width = out.shape[1] * out.shape[2]
    features = Features.of(width, dtype, most=1024)
    grid = out.shape[0], features.num_blocks
    launch = Launch(add_parts(width, features), (parts, lists[0], out), (out.shape,), dtype, grid, 4, is_update=True)
    return run(launch)[0]


def add_parts(width: int, features: Features) -> Kernel:
    """Return the kernel that adds partial sums to the rows of nodes; a row has ``width`` numbers.

    ``sums`` and ``out`` are one array: a program of JAX has a result, whose memory is that of an operand.
    """
    lines = Lines("add_parts", ["parts", "ptr", "sums", "out"])
    lines.add("node = tl.program_id(0).to(tl.int64)", *features.head(1))
    lines.add("begin = tl.load(ptr + node)", "end = tl.load(ptr + node + 1)", f"own = begin // {PART} + 2")
    with lines.block(f"if own * {PART} < end:"):
        lines.add("total = " + features.load(f"sums + node * {width}"))
        with lines.block(f"for part in range(own, (end + {PART - 1}) // {PART}):"):
            lines.add("row = tl.full([], 0, tl.int64) + part - 2")
            lines.add("total += " + features.load(f"parts + row * {width}"))
        lines.add(features.store(f"out + node * {width}", "total"))
    return lines.kernel()
