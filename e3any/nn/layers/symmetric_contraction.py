"""Powers of features, contracted with weights for every category."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from e3any_backends import Array, Backend
from e3any_backends.forms.tables import host_table

from e3any.checks import check_count, check_degree, check_integer, floating_backend
from e3any.conventions import parity_names
from e3any.irreps import Features, Irreps, irrep_backend, irrep_of
from e3any.layout import Layout
from e3any.nn.initializers import VarianceScaling
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.categories import check_categories
from e3any.nn.layers.couplings import check_one_parity
from e3any.nn.layers.irrep_paths import candidates, joined_along
from e3any.nn.layers.symmetric_basis import (
    Irrep,
    couplings_of_irreps,
    irreps_of,
    monomial_indices,
    num_couplings_of_irreps,
)

__all__ = ["SymmetricContraction"]


@dataclass(frozen=True)
class SymmetricContraction(Layer):
    r"""Sum all couplings of up to ``correlation`` copies of a feature, with weights for every category.

    .. math::
        y^{(L_p)}_{Mf} = \sum_{\nu=1}^{\mathrm{correlation}} \sum_\eta w^{(\nu L_p)}_{z \eta f}\,
        B^{(\nu L_p)}_{\eta M}(x_f)

    with a basis of the polynomials of order :math:`\nu` in the components of one feature that rotate as an irrep, see
    :mod:`e3any.nn.layers.symmetric_basis`. This is the contraction of MACE (Batatia et al., `MACE: higher order
    equivariant message passing <https://arxiv.org/abs/2206.07697>`_, 2022), with a linearly independent basis. In MACE
    the category z is the chemical element.

    Parameters are ``{L}{p}/weight{nu}`` of shape (num_embeddings, K, F) for every irrep of the output and every order
    that has K > 0 couplings to it, such as ``0+/weight3``.

    Parameters
    ----------
    num_embeddings : int
        Number of categories.
    correlation : int
        The largest order >= 1.
    max_degree : int, optional
        Largest degree of the output; that of the inputs by default.
    include_pseudotensors : bool, optional
        Whether the output has both parities; by default if the inputs have.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    weight_init : Initializer or callable, optional
        Initialiser of weights; by default a normal distribution of variance 1/K.
    use_parity : bool, optional
        Whether irreps have a parity, see :class:`Tensor`; by default the setting of :class:`e3any.Config`. If not,
        there are more couplings K.

    Raises
    ------
    ValueError
        If a number is not an integer or too small, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    num_embeddings: int
    correlation: int = 3
    max_degree: int | None = None
    include_pseudotensors: bool | None = None
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    weight_init: Any = None
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.num_embeddings, "num_embeddings")
        check_integer(self.correlation, "correlation", least=1)
        if self.max_degree is not None:
            check_degree(self.max_degree)

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return one sample of the layout of the inputs, and its category."""
        inputs, options = super().example(*layouts)
        if len(layouts) == 1 and isinstance(layouts[0], Layout | Irreps):
            return (*inputs, np.zeros((1,), np.int32)), options
        return inputs, options

    def forward(self, p: Parameters, inputs: Features, categories: Array) -> Features:
        """Contract powers of features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F), or dictionary of arrays (..., 2l+1, F) by irrep
            Features. All irreps of a dictionary have the same number of them.
        categories : integer array of shape (...)
            The category of each sample; those outside [0, num_embeddings) get zeros.

        Returns
        -------
        array of shape (..., P', (L'+1)**2, F), or dictionary of all irreps that have couplings
            Features.

        Raises
        ------
        ValueError
            If shapes do not fit.
        TypeError
            If the inputs are not a floating-point array, or the categories are not an integer array of their library.
        """
        if isinstance(inputs, Mapping):
            return self._by_irrep(p, inputs, categories)
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        check_categories(inputs, categories, tuple(inputs.shape[:-3]))
        degree = layout.max_degree if self.max_degree is None else self.max_degree
        both = layout.pseudotensors if self.include_pseudotensors is None else bool(self.include_pseudotensors)
        if not self.use_parity:
            check_one_parity(layout, "inputs")
            both = False
        outputs = [
            (l, (parity if both else l % 2) if self.use_parity else None, name)
            for parity, l, name in parity_names(degree, 1 + both)
        ]
        flat = backend.xp.reshape(inputs, (*inputs.shape[:-3], inputs.shape[-3] * inputs.shape[-2], layout.features))
        irreps = irreps_of(layout.max_degree, layout.num_parities)
        blocks = self._contractions(backend, p, flat, irreps, outputs, categories)
        joined = backend.xp.concat(blocks, axis=-2)
        return backend.xp.reshape(joined, (*inputs.shape[:-3], 1 + both, (degree + 1) ** 2, layout.features))

    def _by_irrep(self, p: Parameters, inputs: Mapping[str, Array], categories: Array) -> dict[str, Array]:
        """Contract powers of a dictionary."""
        backend, irreps = irrep_backend(inputs), Irreps.of(inputs)
        if len({count for _, count in irreps.items()}) > 1:
            raise ValueError(f"expected inputs with equally many features of all irreps, got {irreps}; see nn.Dense")
        some = inputs[next(iter(irreps))]
        check_categories(some, categories, tuple(some.shape[:-2]))
        kinds, outputs = _kinds(tuple(irreps)), []
        degree = irreps.max_degree if self.max_degree is None else self.max_degree
        both = self.include_pseudotensors
        both = any(l % 2 != parity for l, parity, _ in kinds) if both is None else bool(both)
        for name in candidates(degree, irreps.has_parity, both):
            irrep = irrep_of(name)
            if any(num_couplings_of_irreps(kinds, order, *irrep) for order in range(1, self.correlation + 1)):
                outputs.append((*irrep, name))
        flat = joined_along(backend.xp, [inputs[name] for name in irreps], -2)
        blocks = self._contractions(backend, p, flat, kinds, outputs, categories)
        lead = tuple(some.shape[:-2])
        return {
            name: backend.xp.reshape(block, (*lead, *block.shape[1:]))
            for (_, _, name), block in zip(outputs, blocks, strict=True)
        }

    def _contractions(
        self,
        backend: Backend,
        p: Parameters,
        x: Array,
        irreps: tuple[Irrep, ...],
        outputs: list[tuple[int, int | None, str]],
        categories: Array,
    ) -> list[Array]:
        """Return the components (samples, 2l+1, F) of irreps (degree, parity, name) from features (..., C, F)."""
        orders = [self._weights(p, irreps, x.shape[-1], *irrep) for irrep in outputs]
        x, *flat = backend.promote(x, *(w for weights in orders for w in weights.values()), dtype=self.dtype)
        rest, numbers = iter(flat), backend.xp.reshape(categories, (-1,))
        powers = self._powers(backend, backend.xp.reshape(x, (math.prod(x.shape[:-2]), *x.shape[-2:])))
        blocks = []
        for (l, parity, _), weights in zip(outputs, orders, strict=True):
            given = {order: next(rest) for order in weights}
            blocks.append(self._contracted(backend, powers, given, numbers, irreps, (l, parity)))
        return blocks

    def _weights(
        self, p: Parameters, irreps: tuple[Irrep, ...], features: int, l: int, parity: int | None, name: str
    ) -> dict[int, Array]:
        """Return the weights of all orders that couple to an irrep."""
        found, init = {}, self.weight_init
        if init is None:
            # The fan of a parameter counts all categories.
            init = VarianceScaling(float(self.num_embeddings), distribution="normal")
        for order in range(1, self.correlation + 1):
            num = num_couplings_of_irreps(irreps, order, l, parity)
            if num:
                shape = (self.num_embeddings, num, features)
                found[order] = (p / name).param(f"weight{order}", shape, init, self.param_dtype)
        return found

    def _powers(self, backend: Backend, x: Array) -> list[Array]:
        """Return the products (samples, monomials, F) of components, order by order."""
        powers = [x]
        for order in range(2, self.correlation + 1):
            first, last = (backend.table(_monomial_indices, x.shape[1], order, i, like=x) for i in range(2))
            powers.append(backend.select(powers[-1], first, axis=1) * backend.select(x, last, axis=1))
        return powers

    def _contracted(
        self,
        backend: Backend,
        powers: list[Array],
        weights: dict[int, Array],
        categories: Array,
        irreps: tuple[Irrep, ...],
        irrep: tuple[int, int | None],
    ) -> Array:
        """Return the components (samples, 2l+1, F) of an irrep."""
        xp, (l, parity) = backend.xp, irrep
        samples, _, features = powers[0].shape
        total = xp.zeros_like(powers[0][:, :1, :])
        total = xp.broadcast_to(total, (samples, 2 * l + 1, features))
        for order, weight in weights.items():
            kind = (irreps, order, l, parity, bool(self.cartesian_order))
            table = backend.table(_couplings, *kind, like=powers[0])
            terms = backend.matmul(table, powers[order - 1], self.precision)
            terms = xp.reshape(terms, (samples, weight.shape[1], 2 * l + 1, features))
            chosen = backend.take(weight, categories)
            total = total + xp.sum(chosen[:, :, None, :] * terms, axis=1, dtype=terms.dtype)
        return total


@host_table
def _kinds(names: tuple[str, ...]) -> tuple[Irrep, ...]:
    """Return degree, parity and first component of irreps, which are one after the other."""
    kinds, first = [], 0
    for name in names:
        degree, parity = irrep_of(name)
        kinds.append((degree, parity or 0, first))
        first += 2 * degree + 1
    return tuple(kinds)


def _monomial_indices(size: int, order: int, which: int) -> Any:
    return monomial_indices(size, order)[:, which]


def _couplings(*kind: Any) -> Any:
    # Compilers accept a function as an argument, but not an object of functools.cache.
    return couplings_of_irreps(*kind)
