"""The tensor product of two features by products of matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array
from e3any_backends.forms.matrices import PRODUCTS, MatrixCoupling, MatrixForm
from e3any_backends.forms.tables import host_table

from e3any.checks import check_broadcast, check_degree, floating_backend
from e3any.conventions import component_degrees
from e3any.layout import Layout
from e3any.nn.initializers import fused_tensor_normal
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.couplings import output_layout
from e3any.so3 import clebsch_gordan_for_degrees

__all__ = ["FusedTensor"]

_PARITIES = "eo"


@dataclass(frozen=True)
class FusedTensor(Layer):
    r"""Couple two features by products of matrices.

    All degrees of a feature form one matrix for every parity, by the coupling of degree
    :math:`\tilde l = \lceil \max(L_1, L_2, L_3) / 2 \rceil` with itself, with a weight for every degree. The product of
    two matrices is decomposed into degrees in the same way:

    .. math::
        X^{(p)}_{ik} &= \sum_{lm} w^{(p)}_l C^{\tilde l \tilde l l}_{i k m} \, x^{(l_p)}_m \qquad
        Y^{(q)}_{kj} = \sum_{lm} w'^{(q)}_l C^{\tilde l \tilde l l}_{k j m} \, y^{(l_q)}_m \\
        z^{(l_r)}_m &= \sum_{p \cdot q = r} w''^{(pq)}_l
        \sum_{ij} C^{\tilde l \tilde l l}_{i j m} \bigl(X^{(p)} Y^{(q)}\bigr)_{ij}

    It has fewer weights than :class:`Tensor`, and its cost grows with :math:`L^4` instead of :math:`L^6`.

    Parameters are ``kernel_e1`` and ``kernel_o1`` of shape (L1+1, F), ``kernel_e2`` and ``kernel_o2`` of shape
    (L2+1, F), for factors of even and odd parity, and ``kernel_eee``, ``kernel_ooe``, ``kernel_eoo`` and
    ``kernel_oeo`` of shape (L3+1, F), for the parities of both factors and the product.

    Parameters
    ----------
    max_degree : int, optional
        Largest degree of the product; the larger one of the factors' by default.
    include_pseudotensors : bool
        Whether the product has both parities. It always has one if both factors are proper tensors and one of the
        three degrees is zero, because no coupling gives pseudotensors then.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    dtype : optional
        Dtype of the computation; that of inputs and parameters by default.
    param_dtype : optional
        Dtype that parameters are created with.
    precision : optional
        Accepted for compatibility: products are summed in at least float32.
    kernel_init : callable
        ``kernel_init(scale, mask)`` returns an initialiser for entries of variance ``scale`` that are zero outside of
        ``mask``; see :func:`e3any.nn.initializers.fused_tensor_normal`.
    use_parity : bool, optional
        Whether irreps have a parity, see :class:`Tensor`; by default the setting of :class:`e3any.Config`. If not, the
        sum over p and q for :math:`z` has all four products, with e for even and o for odd degrees.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs1", "inputs2")

    max_degree: int | None = None
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = fused_tensor_normal
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_degree is not None:
            check_degree(self.max_degree)

    def forward(self, p: Parameters, inputs1: Array, inputs2: Array) -> Array:
        """Couple two features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs1 : array of shape (..., P1, (L1+1)**2, F)
            First factor.
        inputs2 : array of shape (..., P2, (L2+1)**2, F)
            Second factor; leading axes broadcast.

        Returns
        -------
        array of shape (..., P3, (L3+1)**2, F)
            The product.

        Raises
        ------
        ValueError
            If shapes are not those of features, features differ, leading axes do not broadcast, or ``max_degree`` is
            out of reach.
        TypeError
            If an input is not a floating-point array, or inputs belong to different libraries.
        """
        backend = floating_backend(inputs1=inputs1, inputs2=inputs2)
        x, y = Layout.of(inputs1, "inputs1"), Layout.of(inputs2, "inputs2")
        check_broadcast("leading axes", inputs1.shape[:-3], inputs2.shape[:-3])
        z = output_layout(x, y, self.max_degree, self.include_pseudotensors, bool(self.use_parity))
        kernels = self._kernels(p, x, y, z)
        inputs1, inputs2, *kernels = backend.promote(inputs1, inputs2, *kernels, dtype=self.dtype)
        stack = backend.xp.stack
        weights = stack(kernels[:2]), stack(kernels[2:4]), stack(kernels[4:])
        sizes = tuple((layout.max_degree, layout.num_parities) for layout in (x, y, z))
        rank = max(inputs1.ndim, inputs2.ndim)
        inputs1, inputs2 = (_with_rank(backend.xp, a, rank) for a in (inputs1, inputs2))
        coupling = _coupling(sizes, bool(self.cartesian_order), bool(self.use_parity))
        return backend.couple_matrices(inputs1, inputs2, weights, coupling)

    def _kernels(self, p: Parameters, x: Layout, y: Layout, z: Layout) -> list[Array]:
        """Return the weights of both parities of x, of y, and of all products."""
        half = math.ceil(max(layout.max_degree for layout in (x, y, z)) / 2)
        scale = math.sqrt(2 * half + 1) / (min(x.max_degree, y.max_degree) + 1)
        kernels = []
        for number, layout in enumerate((x, y), start=1):
            for parity, letter in enumerate(_PARITIES):
                init = partial(_init_factor, self.kernel_init, scale, layout, parity)
                kernels.append(p.param(f"kernel_{letter}{number}", *self._spec(layout, init)))
        for i, j in PRODUCTS:
            init = partial(_init_product, self.kernel_init, x, y, z, i ^ j if self.use_parity else None)
            name = f"kernel_{_PARITIES[i]}{_PARITIES[j]}{_PARITIES[i ^ j]}"
            kernels.append(p.param(name, *self._spec(z, init)))
        return kernels

    def _spec(self, layout: Layout, init: Any) -> tuple[tuple[int, int], Any, Any]:
        return (layout.max_degree + 1, layout.features), init, self.param_dtype


def _with_rank(xp: Any, x: Array, rank: int) -> Array:
    """Pad leading axes."""
    return xp.reshape(x, (*(1,) * (rank - x.ndim), *x.shape))


# Masks are made when a parameter is initialised, because compilers can't trace the checks of their values.


def _init_factor(make: Any, scale: float, layout: Layout, parity: int, *arguments: Any) -> Array:
    """Initialise the weights of one parity of a factor."""
    return make(scale, _present(layout, parity))(*arguments)


def _init_product(make: Any, x: Layout, y: Layout, z: Layout, parity: int | None, *arguments: Any) -> Array:
    """Initialise the weights of a product; without a parity, its matrices have all degrees."""
    scale, mask = (1.0, True) if parity is None else _product_scale_and_mask(x, y, z, parity)
    return make(scale, mask)(*arguments)


def _present(layout: Layout, parity: int) -> Any:
    """Return which degrees have a parity, of shape (L+1, 1), or True if all do."""
    return layout.pseudotensors or (np.arange(layout.max_degree + 1) % 2 == parity)[:, None]


def _product_scale_and_mask(x: Layout, y: Layout, z: Layout, parity: int) -> tuple[Any, Any]:
    """Return the variance of the weights of a product, which makes the variance of outputs one, and their degrees."""
    # With both parities in both factors, every output is the sum of two products. With proper tensors, scalars come
    # from one product only, and there are no pseudoscalars.
    if x.pseudotensors or y.pseudotensors:
        return (0.5 if x.pseudotensors and y.pseudotensors else 1.0), True
    degrees = np.arange(z.max_degree + 1)[:, None]
    scale = 1.0 if 0 in (x.max_degree, y.max_degree) else np.where(degrees == 0, 1.0, 2.0)
    return scale, True if parity == 0 else degrees > 0


@host_table
def _coupling(sizes: tuple[tuple[int, int], ...], cartesian_order: bool, use_parity: bool) -> MatrixCoupling:
    """Tabulate the matrices of all components, for the largest degree and the number of parities of x, y and z."""
    half = math.ceil(max(sizes)[0] / 2)
    of_products = tuple(p ^ q if use_parity else None for p, q in PRODUCTS)
    forms = []
    for (max_degree, num_parities), parities in zip(sizes, ((0, 1), (0, 1), of_products), strict=True):
        degrees = range(max_degree + 1)
        tables = [clebsch_gordan_for_degrees(half, half, l, cartesian_order=cartesian_order) for l in degrees]
        coefficients = np.concatenate(tables, axis=-1).reshape((2 * half + 1) ** 2, -1)
        forms.append(MatrixForm(coefficients, component_degrees(max_degree), num_parities, parities))
    return MatrixCoupling(*forms)
