r"""Sums over edges and their coupling as one JAX primitive, which GPUs have kernels for.

.. math:: \phi(x, Y, g, w, z) = \sum_e \sum_{mknp} c_{mknp} \, w_p \, Y_{em} \, g_{e\,l(m)} \, x_{s(e)k} \, z_{r(e)n}

is linear in five slots. It is composed of two other forms: the sums :math:`A_{mk}` of Y g x over the edges of a node
(:mod:`~e3any_backends.jax.edges`), and their coupling (:mod:`~e3any_backends.jax.contractions`). Programs for GPUs are
launches of kernels that never write A (:mod:`~e3any_backends.jax.gpu_launches`); all others bind both primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import CouplingPlan
from e3any_backends.forms.tables import handle, tables_of
from e3any_backends.jax.contractions import contract_terms
from e3any_backends.jax.edges import EdgeShapes, Rows, edge_rows, sum_terms
from e3any_backends.jax.gpu_launches import evaluate_edges, graph_lists
from e3any_backends.jax.multilinear import MultilinearPrimitive, Program, Shape, Term

__all__ = ["convolve"]

# Slots; A is the slot that both forms have.
_X, _Y, _G, _W, _Z, _A = range(6)
_Members = tuple[int, ...]
# Receivers and senders of edges, and edges in rows.
_NUM_INDICES = 2 + len(Rows._fields)


class _Form(NamedTuple):
    """The form of a program.

    Parameters
    ----------
    table : int
        Number of the table of kernels.
    pairs : int
        Number of the table of couplings of A.
    shapes : tuple of tuple of int
        Shapes of operands and results in the slots of x, Y, g, w and z.
    """

    table: int
    pairs: int
    shapes: tuple[Shape, ...]

    def parts(self, rows: Rows) -> tuple[_Part, _Part]:
        """Return the form of sums over edges, and that of their coupling."""
        x, angular, radial, w, z = self.shapes
        edges = EdgeShapes(x, angular, radial, (z[0], angular[1], *x[1:]))
        pairs = 1, z[0], angular[1] * x[1], x[2]
        coupling = {_A: (0, pairs), _Z: (1, (1, *z)), _W: (2, (1, 1, *w))}
        slots = {slot: (number, edges.shapes[number]) for number, slot in enumerate((_X, _Y, _G, _A))}
        return _Part(edges, slots, partial(sum_terms, rows)), _Part(tables_of(self.pairs), coupling, contract_terms)


def convolve(
    x: Array,
    angular: Array,
    radial: Array,
    kernel: Array,
    indices: tuple[Array, Array],
    num: int,
    plan: CouplingPlan,
    indices_are_sorted: bool = False,
) -> Array:
    """Sum products of a basis and neighbours' features over edges, and couple them.

    Parameters
    ----------
    x : array of shape (N, P, (L+1)**2, F)
        Features of the senders.
    angular : array of shape (E, (Lb+1)**2)
        Harmonics.
    radial : array of shape (E, Lb+1, F)
        Radial functions.
    kernel : array of shape (1, Lb+1, P, L+1, P', L'+1, F)
        Weights of all couplings, forbidden ones included.
    indices : tuple of integer arrays of shape (E,)
        Receivers and senders; numbers out of range are padding.
    num : int
        Number of receivers.
    plan : CouplingPlan
        The table.
    indices_are_sorted : bool
        Whether receivers ascend.

    Returns
    -------
    jax.Array of shape (num, P', (L'+1)**2, F)
        The sums.
    """
    (dst, src), (*_, features) = indices, x.shape
    operands = [jnp.reshape(x, (x.shape[0], -1, features)), angular, radial, jnp.reshape(kernel, (-1, features))]
    shape = num, plan.kernel_shape[4] * plan.kernel_shape[5] ** 2, features
    form = _Form(handle(plan, "merged"), handle(plan, "pair_form"), (*(tuple(o.shape) for o in operands), shape))
    rows = edge_rows(src, dst, x.shape[0], num, indices_are_sorted)
    program = Program(form, (_X, _Y, _G, _W), ((_Z, shape),), ((0, (0, 1, 2, 3)),))
    value: Array = _primitive.bind(dst, src, *rows, *operands, program=program)[0]  # type: ignore[no-untyped-call]
    return jnp.reshape(value, (num, *plan.kernel_shape[4:5], -1, features))


# -- composed of two forms ----------------------------------------------------------------------------------


class _Part(NamedTuple):
    """One of the two forms.

    Parameters
    ----------
    form : hashable
        What its primitive needs.
    slots : dict
        Number and shape in this form of each of its slots.
    evaluate : callable
        Returns the outputs of a program of this form by their numbers, from its operands.
    """

    form: Any
    slots: dict[int, tuple[int, Shape]]
    evaluate: Callable[[Sequence[Array], Program], dict[int, Array]]

    def values(
        self, slots: Sequence[int], operands: Sequence[Array], outs: Sequence[int], terms: Iterable[Term]
    ) -> dict[int, Array]:
        """Evaluate terms, which use none but its slots, of operands and outputs in any slots."""
        other = 0, ()
        given = [
            jnp.reshape(o, self.slots[s][1]) if s in self.slots else o for o, s in zip(operands, slots, strict=True)
        ]
        numbers = tuple(self.slots.get(slot, other)[0] for slot in slots)
        program = Program(self.form, numbers, tuple(self.slots.get(slot, other) for slot in outs), tuple(terms))
        return self.evaluate(given, program)


class _Sets:
    """Sets of products of operands that are added up; equal ones have one number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[_Members, ...], int] = {}

    def numbered(self, products: Iterable[tuple[_Members, _Members]]) -> list[tuple[_Members, int]]:
        """Return every key with the number of the set of its products."""
        found: dict[_Members, list[_Members]] = {}
        for key, members in products:
            found.setdefault(key, []).append(members)
        number = self._numbers.setdefault
        return [(key, number(tuple(sorted(members)), len(self._numbers))) for key, members in found.items()]

    def terms(self, first: int = 0) -> list[Term]:
        """Return the terms of a program whose outputs from number ``first`` on are the sets."""
        return [(first + number, members) for products, number in self._numbers.items() for members in products]


def _composed(*operands: Array, program: Program) -> list[Array]:
    """Evaluate a program: cotangents of A, sums over edges to A or with these, and couplings of A.

    For example, the gradients with respect to x, Y, g and w are a coupling of w with the cotangent of z, one
    evaluation over edges, which also returns A, and a coupling of A with the cotangent of z.
    """
    edges, coupling = program.form.parts(Rows(*operands[2:_NUM_INDICES]))
    outs = [slot for slot, _ in program.outs]
    slots, factors = list(program.slots), list(operands[_NUM_INDICES:])
    terms = [(outs[out], out, {slots[o]: o for o in members}) for out, members in program.terms]
    cotangents, sums = _Sets(), _Sets()
    of_edges = cotangents.numbered(
        ((out, *(m[s] for s in (_X, _Y, _G) if s in m)), (m[_Z], m[_W])) for slot, out, m in terms if slot < _W
    )
    of_sums = sums.numbered(
        ((out, m[_Z if slot == _W else _W]), (m[_X], m[_Y], m[_G])) for slot, out, m in terms if slot >= _W
    )
    found = coupling.values(slots, factors, [_A] * len(of_edges), cotangents.terms())
    first, last = len(factors), len(outs)
    edge_terms = [(out, (*others, first + number)) for (out, *others), number in of_edges]
    values = edges.values(
        slots + [_A] * len(found),
        factors + list(found.values()),
        outs + [_A] * len(of_sums),
        edge_terms + sums.terms(last),
    )
    pairs = [values.pop(number) for number in sorted(values) if number >= last]
    coupling_terms = [(out, (first + number, other)) for (out, other), number in of_sums]
    values |= coupling.values(slots + [_A] * len(pairs), factors + pairs, outs, coupling_terms)
    return [jnp.reshape(values[out], shape) for out, (_, shape) in enumerate(program.outs)]


def _by_gpu_kernels(*operands: Array, program: Program) -> list[Array]:
    (dst, src), factors, (x, *_, z) = operands[:2], operands[_NUM_INDICES:], program.form.shapes
    return evaluate_edges(program.form.table, program, factors, graph_lists(dst, src, z[0], x[0]))


def _batch(operands: Sequence[Array], axes: Sequence[Any], *, program: Program) -> tuple[list[Array], list[int]]:
    """Evaluate a batch by the two forms, which have rules for batches."""
    values = jax.vmap(partial(_composed, program=program), in_axes=tuple(axes))(*operands)
    return values, [0] * len(values)


_primitive = MultilinearPrimitive(
    "e3any_convolution",
    "convolution",
    batch=_batch,
    reference=_composed,
    by_kernel=_composed,  # of the two forms
    by_gpu_kernel=_by_gpu_kernels,
    num_indices=_NUM_INDICES,
)
