r"""Contractions of features of both parities, as contractions of the table that all parities share.

The table of all components of both parities has four times the entries of the one that parities share, and an unrolled
program of it four times the operations. A kernel for CPUs reads features of both parities as they are. Elsewhere the
contraction :math:`\phi` of such a table is one of the shared table :math:`\psi`,

.. math:: \phi(x, y, z, w) = \psi(T_x x, T_y y, T_z z, T_w w) ,

with parities as leading axes (s, r), see :mod:`e3any_backends.references.parities`. The contraction of :math:`\phi` for
a slot is then the transposed map of this slot, applied to the contraction of :math:`\psi`: derivatives too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import CouplingPlan, SparseForm
from e3any_backends.jax.arrays import ARRAYS
from e3any_backends.jax.multilinear import Program, Shape
from e3any_backends.jax.private import shaped_array
from e3any_backends.references.parities import collect_parities, factor_parities

__all__ = ["SharedTable", "shared_table"]

_Map = Callable[[Array], Array]


def shared_table(form: SparseForm) -> SharedTable | None:
    """Return the table that parities share, if a form is one of a plan with features of both parities."""
    plan = form.plan
    return None if plan is None or plan.kernel_shape[0] * plan.kernel_shape[2] == 1 else SharedTable(plan, form)


class SharedTable:
    """How a program of all parities becomes one of the table that they share.

    Parameters
    ----------
    plan : CouplingPlan
        The plan.
    form : SparseForm
        Its form, of products or of pairs.
    """

    def __init__(self, plan: CouplingPlan, form: SparseForm) -> None:
        self._plan = plan
        is_product = len(form.sizes) == 4
        self.form = plan.coupling.product_form if is_product else plan.coupling.pair_form
        self._maps: list[_Map] = [self._factors(0), self._factors(1)] if is_product else [self._pairs]
        self._maps.append(self._weights)

    def program(self, program: Program) -> Program:
        """Return the program of the shared table."""
        outs = tuple((slot, self._shape(slot, shape)) for slot, shape in program.outs)
        return replace(program, form=self.form, outs=outs)

    def operand(self, slot: int, x: Array) -> Array:
        """Return an operand of the program of the shared table."""
        if slot != self._product:
            return self._map(slot)(x)
        return _transposed(self._collected, self._shape(slot, x.shape), x)

    def result(self, slot: int, shape: Shape, value: Array) -> Array:
        """Return the output of a shape for that of the program of the shared table."""
        return self._collected(value) if slot == self._product else _transposed(self._map(slot), shape, value)

    # Leading axes (s, r) come first. All maps keep the other axes in front of the components.

    @property
    def _product(self) -> int:
        """The slot of the product, the last but one."""
        return len(self._maps) - 1

    def _map(self, slot: int) -> _Map:
        return self._maps[slot - (slot > self._product)]

    def _shape(self, slot: int, shape: Shape) -> Shape:
        if slot == self._product:
            return 1, self._plan.weight_index.shape[1], *shape[:-2], self.form.sizes[slot], shape[-1]
        return tuple(jax.eval_shape(self._map(slot), shaped_array(shape, jnp.dtype(jnp.float32))).shape)

    def _factors(self, number: int) -> _Map:
        num_parities = self._plan.kernel_shape[2 * number]
        both = self._plan.kernel_shape[0] == self._plan.kernel_shape[2] == 2

        def parities_first(x: Array) -> Array:
            return factor_parities(jnp, jnp.moveaxis(_split(x, (num_parities,)), -3, 0), number, both)

        return parities_first

    def _pairs(self, pairs: Array) -> Array:
        _, n1, p2, n2 = self._plan.kernel_shape[:4]
        split = jnp.moveaxis(_split(pairs, (n1**2, p2)), -3, 0)[None]
        return jnp.reshape(split, (*split.shape[:-3], n1**2 * n2**2, split.shape[-1]))

    def _weights(self, kernel: Array) -> Array:
        sums, outs, paths = self._plan.weight_index.shape
        index = jnp.asarray(self._plan.weight_index.ravel())
        weights = jnp.take(kernel, index, axis=-2, mode="clip")
        weights = jnp.moveaxis(_split(weights, (sums, outs)), (-4, -3), (0, 1))
        if not self._plan.is_masked:
            return weights
        mask = jnp.reshape(
            jnp.asarray(self._plan.weight_mask, kernel.dtype), (sums, outs, *(1,) * (kernel.ndim - 2), paths, 1)
        )
        return weights * mask

    def _collected(self, product: Array) -> Array:
        z = collect_parities(ARRAYS, product[0], self._plan)
        return jnp.reshape(z, (*z.shape[:-3], math.prod(z.shape[-3:-1]), z.shape[-1]))


def _split(x: Array, sizes: tuple[int, ...]) -> Array:
    """Split the axis of components (..., C, F) into (..., *sizes, C / prod(sizes), F)."""
    return jnp.reshape(x, (*x.shape[:-2], *sizes, x.shape[-2] // math.prod(sizes), x.shape[-1]))


def _transposed(function: _Map, shape: Shape, value: Array) -> Array:
    """Apply the transposed map of a linear map of arrays of a shape."""
    return jax.linear_transpose(function, shaped_array(shape, value.dtype))(value)[0]
