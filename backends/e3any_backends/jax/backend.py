"""The JAX backend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from e3any_backends import kernels
from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import Coupling, CouplingPlan, SparseForm, feature_shapes
from e3any_backends.forms.matrices import PRODUCTS, MatrixCoupling, matrix_product_form
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import handle, tables_of
from e3any_backends.generic import Backend
from e3any_backends.jax.arrays import JaxArrays
from e3any_backends.jax.contractions import contract
from e3any_backends.jax.convolution import convolve
from e3any_backends.jax.edges import sum_edges
from e3any_backends.jax.gpu import is_installed
from e3any_backends.jax.harmonics import harmonics
from e3any_backends.jax.linear import multiply
from e3any_backends.jax.paths import sum_paths
from e3any_backends.references.linear import dense_by_component

__all__ = ["JaxBackend"]

# For larger matrices unrolled products take longer to compile than they gain.
_MAX_UNROLLED_MATRIX = 7


class JaxBackend(JaxArrays, Backend):
    """Operations on JAX arrays: primitives that are closed under differentiation, with kernels on CPUs."""

    def supports(self, operation: str, *arrays: Array) -> bool:
        """Return whether a kernel supports an operation on CPUs, as far as is known while tracing.

        A program is the same for all platforms: which form is taken is decided when it is lowered for one of them, see
        :mod:`.custom_calls`. So the platform of the process does not matter here.
        """
        if not kernels.used():
            return False
        if operation != "linear":
            return True
        exact = jax.config.jax_default_matmul_precision is None  # type: ignore[attr-defined]
        return exact and arrays[0].dtype in (jnp.float32, jnp.float64) and kernels.fills_vectors(*arrays)

    def harmonics(self, r: Array, factors: tuple[float, ...], order: tuple[int, ...], unit: bool) -> Array:
        """Evaluate harmonics by a primitive, except those of degree 0, which are constant."""
        if len(factors) == 1:
            return super().harmonics(r, factors, order, unit)
        return harmonics(r, factors, order, unit)

    def convolve(
        self,
        x: Array,
        angular: Array,
        radial: Array,
        kernel: Array,
        indices: tuple[Array, Array],
        num: int,
        plan: CouplingPlan,
        indices_are_sorted: bool = False,
    ) -> Array | None:
        """Sum products over edges and couple them by a primitive, if there are kernels that it can be lowered to."""
        is_empty = any(isinstance(n, int) and n == 0 for n in (num, *x.shape, *angular.shape))
        if is_empty or not is_installed():
            return None
        dst, src = map(self.as_index, indices)
        return convolve(x, angular, radial, kernel, (dst, src), num, plan, indices_are_sorted)

    def edge_products(
        self,
        x: Array,
        angular: Array,
        radial: Array,
        src: Array,
        dst: Array,
        num: int,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Sum products over edges by a primitive, block by block."""
        return sum_edges(x, angular, radial, self.as_index(src), self.as_index(dst), num, indices_are_sorted)

    def path_sums(
        self,
        x: Array,
        angular: Array,
        weights: Array,
        src: Array,
        dst: Array,
        num: int,
        form: PathForm,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Sum couplings with weights of every edge and path over edges by a primitive."""
        return sum_paths(x, angular, weights, self.as_index(src), self.as_index(dst), num, form)

    def contract(self, operands: Sequence[Array], form: int, output: int) -> Array:
        """Contract a form by a primitive."""
        return contract(operands, tables_of(form), output)

    def couple(self, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
        """Couple two features by a contraction."""
        return self._couple_by_contraction(x, y, w, coupling)

    def couple_pairs(self, pairs: Array, w: Array, coupling: Coupling) -> Array:
        """Couple sums of products by a contraction."""
        return self._couple_pairs_by_contraction(pairs, w, coupling)

    def couple_features(self, x: Array, y: Array, kernel: Array, plan: CouplingPlan) -> Array:
        """Couple two features by the table of all parities, which a kernel reads without moving an axis."""
        return self._contract_features((x, y, kernel), handle(plan, "product_form"), 2)

    def couple_pair_features(self, pairs: Array, kernel: Array, plan: CouplingPlan) -> Array:
        """Couple sums of products by the table of all parities."""
        return self._contract_features((pairs, kernel), handle(plan, "pair_form"), 1)

    def _contract_features(self, operands: Sequence[Array], form: int, output: int) -> Array:
        """Contract a form of one or two features with parity axes, and a kernel of weights."""
        shapes = feature_shapes([tuple(o.shape) for o in operands])
        flat = [jnp.reshape(o, shape) for o, shape in zip(operands, shapes, strict=True)]
        product = self.contract(flat, form, output)
        parities, degrees = operands[-1].shape[4:6]
        return jnp.reshape(product, (*product.shape[:-2], parities, degrees**2, product.shape[-1]))

    def couple_matrices(
        self, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
    ) -> Array:
        """Couple two features by contractions, and by products of matrices that are unrolled up to a size."""
        return self._couple_matrices_by_contraction(x, y, weights, coupling)

    def _multiply_matrices(self, x: Array, y: Array, coupling: MatrixCoupling) -> Array:
        return _multiply_matrices(x, y, coupling.size)

    def dense(self, x: Array, kernels: Sequence[Array], bias: Array | None, precision: Any = None) -> Array:
        """Map the features of every irrep by a kernel or by matrix products."""
        if precision is None and self.supports("linear", x, kernels[0]):
            return dense_by_component(self, _multiply_components, x, kernels, bias, precision)
        return super().dense(x, kernels, bias, precision)

    def linear(self, x: Array, w: Array, which: Array, bias: Array | None, precision: Any = None) -> Array:
        """Multiply components with matrices, by a primitive where a kernel supports them."""
        if precision is not None or not self.supports("linear", x, w[0]):
            return super().linear(x, w, which, bias, precision)
        return _multiply_components(x, w, which, bias)


def _multiply_components(x: Array, w: Array, which: Array, bias: Array | None, precision: None = None) -> Array:
    """Multiply components with matrices by a primitive."""
    y = multiply(jnp.reshape(x, (-1, *x.shape[-2:])), w, which, bias)
    return jnp.reshape(y, (*x.shape[:-1], w.shape[-1]))


@functools.lru_cache
def _matrix_product_form(size: int, parities: bool) -> SparseForm:
    return matrix_product_form(size, parities)


def _multiply_matrices(x: Array, y: Array, size: int) -> Array:
    """Multiply matrices (*lead, 2 * size**2, F) of both parities to (*lead, 4 * size**2, F)."""
    if size <= 3:
        return contract((x[None], y[None]), _matrix_product_form(size, True), output=2)
    left, right = (jnp.split(m, 2, axis=-2) for m in (x, y))
    return jnp.concatenate([_multiply_one_parity(left[p], right[q], size) for p, q in PRODUCTS], axis=-2)


def _multiply_one_parity(x: Array, y: Array, size: int) -> Array:
    if size <= _MAX_UNROLLED_MATRIX:
        return contract((x[None], y[None]), _matrix_product_form(size, False), output=2)
    x, y = (jnp.reshape(m, (*m.shape[:-2], size, size, m.shape[-1])) for m in (x, y))
    product = jnp.einsum("...ikf,...kjf->...ijf", x, y, precision="highest")
    return jnp.reshape(product, (*product.shape[:-3], size * size, product.shape[-1]))
