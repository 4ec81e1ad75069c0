"""Base class of eager backends (NumPy, PyTorch): call a CPU kernel if it supports the arrays, else the reference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from e3any_backends import kernels
from e3any_backends.arrays import Array
from e3any_backends.forms.couplings import Coupling, CouplingPlan
from e3any_backends.forms.matrices import MatrixCoupling
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import handle
from e3any_backends.generic import Backend
from e3any_backends.references.linear import dense_by_component

__all__ = ["KernelBackend"]


class KernelBackend(Backend):
    """Operations that are maps of :data:`e3any_backends.kernels.maps.MAPS`."""

    def supports(self, operation: str, *arrays: Array) -> bool:
        """Return whether a kernel supports such arrays, and log why not."""
        if not kernels.used():
            return False
        reason = self.obstacle(arrays)
        if reason:
            kernels.log_fallback(operation, reason)
        elif operation == "linear":
            return kernels.fills_vectors(*arrays[:2])
        return not reason

    @staticmethod
    @abstractmethod
    def obstacle(arrays: Sequence[Array], /) -> str:
        """Return why kernels do not support arrays, empty if they do."""

    @abstractmethod
    def apply(self, name: str, arguments: tuple[int, ...], operands: list[Array], indices: list[Array]) -> Array:
        """Return the value of the map ``MAPS[name](*arguments)``."""

    def contract(self, operands: Sequence[Array], form: int, output: int) -> Array:
        """Contract a form by a kernel."""
        return self.apply("contraction", (form, output), list(operands), [])

    def couple_features(self, x: Array, y: Array, kernel: Array, plan: CouplingPlan) -> Array:
        """Couple two features of all parities by one contraction, or by the reference."""
        if self.supports("contraction", x, y, kernel):
            return self.apply("contraction", (handle(plan, "product_form"), 2, 1), [x, y, kernel], [])
        return super().couple_features(x, y, kernel, plan)

    def couple_pair_features(self, pairs: Array, kernel: Array, plan: CouplingPlan) -> Array:
        """Couple sums of products of all parities by one contraction, or by the reference."""
        if self.supports("contraction", pairs, kernel):
            return self.apply("contraction", (handle(plan, "pair_form"), 1, 1), [pairs, kernel], [])
        return super().couple_pair_features(pairs, kernel, plan)

    def couple(self, x: Array, y: Array, w: Array, coupling: Coupling) -> Array:
        """Couple two features by a kernel or by the reference."""
        if self.supports("contraction", x, y, w):
            return self._couple_by_contraction(x, y, w, coupling)
        return super().couple(x, y, w, coupling)

    def couple_pairs(self, pairs: Array, w: Array, coupling: Coupling) -> Array:
        """Couple sums of products by a kernel or by the reference."""
        if self.supports("contraction", pairs, w):
            return self._couple_pairs_by_contraction(pairs, w, coupling)
        return super().couple_pairs(pairs, w, coupling)

    def couple_matrices(
        self, x: Array, y: Array, weights: tuple[Array, Array, Array], coupling: MatrixCoupling
    ) -> Array:
        """Couple two features by kernels or by the reference."""
        if self.supports("contraction", x, y, *weights):
            return self._couple_matrices_by_contraction(x, y, weights, coupling)
        return super().couple_matrices(x, y, weights, coupling)

    def dense(self, x: Array, kernels: Sequence[Array], bias: Array | None, precision: object = None) -> Array:
        """Map the features of every irrep by a kernel or by the reference."""
        if self.supports("linear", x, *kernels):
            return dense_by_component(self, self._linear_by_kernel, x, kernels, bias, precision)
        return super().dense(x, kernels, bias, precision)

    def linear(self, x: Array, w: Array, which: Array, bias: Array | None, precision: object = None) -> Array:
        """Multiply components with matrices, by a kernel or by the reference."""
        if self.supports("linear", x, w[0, ...]):
            return self._linear_by_kernel(x, w, which, bias, precision)
        return super().linear(x, w, which, bias, precision)

    @abstractmethod
    def _linear_by_kernel(self, x: Array, w: Array, which: Array, bias: Array | None, precision: object) -> Array:
        """Multiply components with matrices that the kernel supports."""

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
        """Sum products of basis functions and features over edges, by a kernel or by the reference."""
        if self.supports("edge_products", x, angular, radial):
            indices = [self.as_index(src), self.as_index(dst)]
            return self.apply("edge_products", (num,), [x, angular, radial], indices)
        return self.edge_products_by_reference(x, angular, radial, src, dst, num, indices_are_sorted)

    def edge_products_by_reference(
        self, x: Array, angular: Array, radial: Array, src: Array, dst: Array, num: int, indices_are_sorted: bool
    ) -> Array:
        """Sum products of basis functions and features over edges, for arrays that no kernel supports."""
        return super().edge_products(x, angular, radial, src, dst, num, indices_are_sorted)

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
        """Sum couplings with weights of every edge and path over edges, by a kernel or by the reference."""
        if self.supports("path_sums", x, angular, weights):
            indices = [self.as_index(src), self.as_index(dst)]
            return self.apply("path_sums", (form.number, num), [x, angular, weights], indices)
        return super().path_sums(x, angular, weights, src, dst, num, form, indices_are_sorted)
