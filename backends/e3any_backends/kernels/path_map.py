"""The multilinear map of sums over edges whose couplings have weights of every edge and path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar

import numpy as np

from e3any_backends.arrays import Array, Arrays, Shape
from e3any_backends.forms.paths import PathForm
from e3any_backends.forms.tables import tables_of
from e3any_backends.kernels import edges, paths
from e3any_backends.kernels.code.paths import path_program
from e3any_backends.kernels.memory import empty, zeros
from e3any_backends.kernels.parallel.pool import Count, add_partial_outputs, cpus, num_shares, run
from e3any_backends.references.contractions import couple_by_matmul
from e3any_backends.references.paths import path_sums_by_segments

__all__ = ["PathSums", "path_tables", "path_work"]


@dataclass(frozen=True)
class PathSums:
    """The map of :meth:`Backend.path_sums`, of features, harmonics and weights.

    Parameters
    ----------
    form_number : int
        Number of the :class:`~e3any_backends.forms.paths.PathForm`.
    num : int
        Number of receivers.
    """

    form_number: int
    num: int
    name: ClassVar[str] = "path_sums"

    @property
    def arguments(self) -> tuple[int, ...]:
        """See :class:`~e3any_backends.kernels.maps.MultilinearMap`."""
        return self.form_number, self.num

    @property
    def form(self) -> PathForm:
        """The form."""
        form: PathForm = tables_of(self.form_number)
        return form

    def shape(self, operands: list[Array]) -> Shape:
        """Return (num, Z)."""
        return self.num, self.form.num_sums

    def value(self, operands: list[Array], indices: list[Array], *, count: Count = cpus) -> Array:
        """Return the sums."""
        x, (src, dst) = operands[0], indices
        out = empty(self.shape(operands), x.dtype)
        num = num_shares(path_work(self.form, len(src), x.dtype), count)
        rest = out, *operands, src, *edges.sorted_edges(src, dst, len(x), self.num), *self._program("path_sums", x)
        run(paths.path_sums, [(share, num, *rest) for share in range(num)])
        return out

    def vjp(self, operands: list[Array], indices: list[Array], g: Array, *, count: Count = cpus) -> list[Array]:
        """Return the gradients with respect to features, harmonics and weights."""
        x, angular, weights = operands
        src, dst = indices
        num = num_shares(3 * path_work(self.form, len(src), x.dtype), count, x.size)
        dx = zeros((num, *x.shape), g.dtype)
        gradients = [empty(angular.shape, g.dtype), empty(weights.shape, g.dtype)]
        listed = src, *edges.sorted_edges(src, dst, len(x), self.num), *self._program("path_gradients", x)
        rest = *gradients, *operands, g, *listed
        run(paths.path_gradients, [(share, num, dx[share], *rest) for share in range(num)])
        add_partial_outputs(dx[0], dx[1:])
        return [dx[0], *gradients]

    def reference(self, arrays: Arrays, operands: list[Array], indices: list[Array]) -> Array:
        """Return the sums by the reference."""
        (x, angular, weights), (src, dst) = operands, indices
        couple = partial(couple_by_matmul, arrays)
        return path_sums_by_segments(arrays, couple, (x, angular, weights), src, dst, self.num, self.form)

    def _program(self, operation: str, x: Array) -> tuple[paths.Tables, int]:
        """Return the tables, and the address of unrolled code or 0."""
        program = path_program(operation, self.form_number, x.dtype.name)
        return path_tables(self.form_number, x.dtype.name), 0 if program is None else program.code


@lru_cache(maxsize=1024)
def path_tables(number: int, dtype: str) -> paths.Tables:
    """Return the tables of a form for arrays of a dtype."""
    form: PathForm = tables_of(number)
    return paths.Tables(*form.tables[:-1], form.tables.coefficients.astype(dtype))


def path_work(form: PathForm, num_edges: int, dtype: np.dtype) -> int:
    """Return the number of multiplications, those of 8-byte numbers counted twice, for ``pool.num_shares``."""
    return num_edges * form.num_products * dtype.itemsize // 4
