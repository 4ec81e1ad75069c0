r"""Multilinear maps as JAX primitives that are closed under differentiation.

A form :math:`\phi(v^0, v^1, \dots)` is linear in each of its slots. A *contraction* of the form is its gradient with
respect to one slot, and takes an operand for every other one. For example,
:math:`\phi(x, W, y) = \sum_{ij} x_i W_{ij} y_j` has the contractions :math:`x W` (slot y), :math:`W y` (slot x) and
:math:`x y^T` (slot W).

Derivatives of contractions are contractions of the same form. The jvp replaces one operand after the other by its
tangent. The transpose with respect to an operand puts the cotangent of the output into the slot of the output, and
its result has the slot of the operand. So one primitive that evaluates a list of contractions is enough for
derivatives of every order, in forward and in reverse mode.

A form may be a sum of several ones in different slots, such as :math:`\phi(x, W, y) + \psi(b, y)` for a bias: the
rules only look at the slots of each contraction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from jax.extend.core import Primitive

from e3any_backends.arrays import Array
from e3any_backends.jax.custom_calls import Rule, define
from e3any_backends.jax.private import is_unknown, is_zero, shaped_array, zero, zero_tangent

__all__ = ["MultilinearPrimitive", "Program", "Shape", "Term"]

Shape: TypeAlias = tuple[Any, ...]
Term: TypeAlias = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class Program:
    """A list of contractions: the static parameter of a primitive.

    Parameters
    ----------
    form : hashable
        What the evaluation needs besides, such as the coefficients of the form.
    slots : tuple of int
        Slot of each operand.
    outs : tuple of (int, tuple of int)
        Slot and shape of each output.
    terms : tuple of (int, tuple of int)
        For each contraction the output that it is added to, and its operands, in ascending order of their slots.
    """

    form: Any
    slots: tuple[int, ...]
    outs: tuple[tuple[int, Shape], ...]
    terms: tuple[Term, ...]

    def only(self, terms: Iterable[Term]) -> tuple[Program, list[int], list[int]]:
        """Return the program of some terms, and which outputs and which operands of this one it has."""
        terms = list(terms)
        outs = sorted({out for out, _ in terms})
        used = sorted({o for _, operands in terms for o in operands})
        renumbered = tuple((outs.index(out), tuple(used.index(o) for o in operands)) for out, operands in terms)
        slots, shapes = tuple(self.slots[o] for o in used), tuple(self.outs[out] for out in outs)
        return Program(self.form, slots, shapes, renumbered), outs, used


class MultilinearPrimitive(Primitive):
    """A primitive that evaluates a :class:`Program`, with its rules.

    Parameters
    ----------
    name : str
        Name of the primitive.
    operation, batch, reference, by_kernel, reference_on_cpu, reference_on_gpu, by_gpu_kernel
        See :func:`~e3any_backends.jax.custom_calls.define`.
    num_indices : int
        Number of integer operands, which come first and are the same for all contractions.
    one_by_one : bool
        Whether derivatives bind the primitive once for each contraction, which suits maps that compute nothing in
        common for several: each can then be batched in its own way.
    """

    multiple_results = True

    def __init__(
        self,
        name: str,
        operation: str,
        *,
        batch: Rule,
        reference: Rule,
        by_kernel: Rule,
        reference_on_cpu: Rule | None = None,
        reference_on_gpu: Rule | None = None,
        by_gpu_kernel: Rule | None = None,
        num_indices: int = 0,
        one_by_one: bool = False,
    ) -> None:
        super().__init__(name)
        self.def_abstract_eval(_abstract)
        self._num_indices, self._one_by_one = num_indices, one_by_one
        define(
            self,
            operation,
            jvp=self._jvp,
            transpose=self._transpose,
            batch=batch,
            reference=reference,
            by_kernel=by_kernel,
            reference_on_cpu=reference_on_cpu,
            reference_on_gpu=reference_on_gpu,
            by_gpu_kernel=by_gpu_kernel,
        )

    def _jvp(self, primals: Sequence[Array], tangents: Sequence[Any], *, program: Program) -> tuple[list[Array], Any]:
        indices, operands = primals[: self._num_indices], primals[self._num_indices :]
        num, tangents = len(operands), tangents[self._num_indices :]
        # Tangents are more operands, in the slots of those that they belong to.
        terms = [
            (out, (*term[:position], num + o, *term[position + 1 :]))
            for out, term in program.terms
            for position, o in enumerate(term)
            if not is_zero(tangents[o])
        ]
        along = replace(program, slots=program.slots * 2, terms=tuple(terms))
        values = self.bind(*primals, program=program)
        changes = self.bind_terms(along, indices, [*operands, *tangents])
        return values, [changes[out] if out in changes else zero_tangent(value) for out, value in enumerate(values)]

    def _transpose(self, cotangents: Sequence[Any], *operands: Any, program: Program) -> list[Any]:
        indices, factors = operands[: self._num_indices], operands[self._num_indices :]
        unknown = [o for o, factor in enumerate(factors) if is_unknown(factor)]
        # Cotangents are more operands, in the slots of the outputs.
        slots = (*program.slots, *(slot for slot, _ in program.outs))
        terms = []
        for out, term in program.terms:
            if not is_zero(cotangents[out]):
                (target,) = (o for o in term if o in unknown)
                members = [len(factors) + out, *(o for o in term if o != target)]
                terms.append((unknown.index(target), tuple(sorted(members, key=lambda m: slots[m]))))
        outs = tuple((program.slots[u], tuple(factors[u].aval.shape)) for u in unknown)
        transposed = Program(program.form, slots, outs, tuple(terms))
        values = self.bind_terms(transposed, indices, [*factors, *cotangents])
        results: list[Any] = [None] * len(operands)
        for position, u in enumerate(unknown):
            results[len(indices) + u] = values[position] if position in values else zero(factors[u])
        return results

    def bind_terms(self, program: Program, indices: Sequence[Array], operands: Sequence[Any]) -> dict[int, Array]:
        """Return the outputs that have terms, by their numbers. Operands that no term uses can be anything."""
        together = [[term] for term in program.terms] if self._one_by_one else [program.terms] * bool(program.terms)
        totals: dict[int, Array] = {}
        for terms in together:
            part, outs, used = program.only(terms)
            values = self.bind(*indices, *(operands[o] for o in used), program=part)
            for out, value in zip(outs, values, strict=True):
                totals[out] = totals[out] + value if out in totals else value
        return totals


def _abstract(*operands: Any, program: Program) -> list[Any]:
    return [shaped_array(shape, operands[-1].dtype) for _, shape in program.outs]
