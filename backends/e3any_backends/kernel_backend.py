"""What backends share whose libraries run one operation at a time, and hand arrays to kernels where these serve."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from e3any_backends import kernels
from e3any_backends.coupling import FORMS
from e3any_backends.generic import Array, Backend

__all__ = ["KernelBackend"]


class KernelBackend(Backend):
    """Operations that are maps of :data:`e3any_backends.kernels.maps.MAPS`."""

    @abstractmethod
    def served(self, operation: str, *arrays: Array) -> bool:
        """Return whether kernels take such arrays; the log says why not."""

    @abstractmethod
    def apply(self, name: str, arguments: tuple[Any, ...], operands: list[Array], indices: list[Array]) -> Array:
        """Return the value of the map of a name, made from arguments."""

    def has_contraction(self, *arrays: Array) -> bool:
        """Return whether there is a kernel for contractions."""
        return self.served("contraction", *arrays)

    def contract(self, operands: Sequence[Array], number: int, name: str, output: int) -> Array:
        """Contract a form by a kernel."""
        return self.apply("contraction", (number, FORMS.index(name), output), list(operands), [])

    def contract_features(self, operands: Sequence[Array], number: int, name: str, output: int) -> Array:
        """Contract a form of features, by a kernel, which takes them as they are, if there is one."""
        if not kernels.used():
            return super().contract_features(operands, number, name, output)
        return self.apply("contraction", (number, FORMS.index(name), output, 1), list(operands), [])

    def serves_linear(self, x: Array, matrix: Array, precision: Any = None) -> bool:
        """Return whether there is a kernel for linear maps."""
        return kernels.fills_vectors(x, matrix) and self.served("linear", x, matrix)

    def serves_edges(self, *arrays: Array) -> bool:
        """Return whether there is a kernel for sums over edges."""
        return self.served("edge_products", *arrays)

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
        """Sum products of basis functions and features over edges, by a kernel if there is one."""
        if self.serves_edges(x, angular, radial):
            indices = [self.as_index(src), self.as_index(dst)]
            return self.apply("edge_products", (num,), [x, angular, radial], indices)
        return self.sum_products(x, angular, radial, src, dst, num, indices_are_sorted)

    def sum_products(
        self, x: Array, angular: Array, radial: Array, src: Array, dst: Array, num: int, indices_are_sorted: bool
    ) -> Array:
        """Sum products over edges without a kernel."""
        return super().edge_products(x, angular, radial, src, dst, num, indices_are_sorted)
