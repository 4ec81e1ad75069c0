"""Powers of features, contracted with weights for every category."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_count, check_degree, check_integer, floating_backend, shown
from e3any.conventions import parity_names
from e3any.layout import Layout
from e3any.nn.initializers import VarianceScaling
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.couplings import check_one_parity
from e3any.nn.layers.symmetric_basis import monomial_indices, num_couplings, symmetric_couplings

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
        if len(layouts) == 1 and isinstance(layouts[0], Layout):
            return (*inputs, np.zeros((1,), np.int32)), options
        return inputs, options

    def forward(self, p: Parameters, inputs: Array, categories: Array) -> Array:
        """Contract powers of features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., P, (L+1)**2, F)
            Features.
        categories : integer array of shape (...)
            The category of each sample; those outside [0, num_embeddings) get zeros.

        Returns
        -------
        array of shape (..., P', (L'+1)**2, F)
            Features.

        Raises
        ------
        ValueError
            If shapes do not fit.
        TypeError
            If the inputs are not a floating-point array, or the categories are not an integer array of their library.
        """
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
        _check_categories(inputs, categories)
        degree = layout.max_degree if self.max_degree is None else self.max_degree
        both = layout.pseudotensors if self.include_pseudotensors is None else bool(self.include_pseudotensors)
        if not self.use_parity:
            check_one_parity(layout, "inputs")
            both = False
        # (degree, parity, name) of every irrep; those of SO(3) have no parity.
        irreps = [
            (l, (p3 if both else l % 2) if self.use_parity else None, n) for p3, l, n in parity_names(degree, 1 + both)
        ]
        orders = [self._weights(p, layout, *irrep) for irrep in irreps]
        flat = [w for weights in orders for w in weights.values()]
        inputs, *flat = backend.promote(inputs, *flat, dtype=self.dtype)
        rest = iter(flat)
        powers = self._powers(backend, inputs)
        numbers = backend.xp.reshape(categories, (-1,))
        blocks = []
        for (l, parity, _), weights in zip(irreps, orders, strict=True):
            given = {order: next(rest) for order in weights}
            blocks.append(self._contracted(backend, powers, given, numbers, (layout, l, parity)))
        joined = backend.xp.concat(blocks, axis=-2)
        return backend.xp.reshape(joined, (*inputs.shape[:-3], 1 + both, (degree + 1) ** 2, layout.features))

    def _weights(self, p: Parameters, layout: Layout, l: int, parity: int | None, name: str) -> dict[int, Array]:
        """Return the weights of all orders that couple to an irrep."""
        found, init = {}, self.weight_init
        if init is None:
            # The fan of a parameter counts all categories.
            init = VarianceScaling(float(self.num_embeddings), distribution="normal")
        for order in range(1, self.correlation + 1):
            num = num_couplings(layout.max_degree, layout.num_parities, order, l, parity)
            if num:
                shape = (self.num_embeddings, num, layout.features)
                found[order] = (p / name).param(f"weight{order}", shape, init, self.param_dtype)
        return found

    def _powers(self, backend: Backend, inputs: Array) -> list[Array]:
        """Return the products (samples, monomials, F) of components, order by order."""
        xp = backend.xp
        *lead, parities, components, features = inputs.shape
        x = xp.reshape(inputs, (math.prod(lead), parities * components, features))
        powers = [x]
        for order in range(2, self.correlation + 1):
            first, last = (backend.table(_monomial_indices, parities * components, order, i, like=x) for i in range(2))
            powers.append(backend.select(powers[-1], first, axis=1) * backend.select(x, last, axis=1))
        return powers

    def _contracted(
        self,
        backend: Backend,
        powers: list[Array],
        weights: dict[int, Array],
        categories: Array,
        irrep: tuple[Layout, int, int | None],
    ) -> Array:
        """Return the components (samples, 2l+1, F) of an irrep."""
        xp, (layout, l, parity) = backend.xp, irrep
        samples, _, features = powers[0].shape
        total = xp.zeros_like(powers[0][:, :1, :])
        total = xp.broadcast_to(total, (samples, 2 * l + 1, features))
        for order, weight in weights.items():
            kind = (layout.max_degree, layout.num_parities, order, l, parity, bool(self.cartesian_order))
            table = backend.table(_couplings, *kind, like=powers[0])
            terms = backend.matmul(table, powers[order - 1], self.precision)
            terms = xp.reshape(terms, (samples, weight.shape[1], 2 * l + 1, features))
            chosen = backend.take(weight, categories)
            total = total + xp.sum(chosen[:, :, None, :] * terms, axis=1, dtype=terms.dtype)
        return total


def _monomial_indices(size: int, order: int, which: int) -> Any:
    return monomial_indices(size, order)[:, which]


def _couplings(*kind: Any) -> Any:
    # Compilers accept a function as an argument, but not an object of functools.cache.
    return symmetric_couplings(*kind)


def _check_categories(inputs: Array, categories: Array) -> None:
    backend = backend_of(inputs, categories)
    if not hasattr(categories, "shape") or not backend.is_integer(categories):
        raise TypeError(f"expected categories to be an integer array, got {shown(categories)}")
    if tuple(categories.shape) != tuple(inputs.shape[:-3]):
        raise ValueError(f"expected categories of shape {tuple(inputs.shape[:-3])}, got {tuple(categories.shape)}")
