"""Continuous convolutions with learned filters, the common part of message passing and attention."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

from e3any_backends import Array

from e3any.checks import check_degree, floating_backend
from e3any.layout import Layout
from e3any.nn.basis import FactoredBasis
from e3any.nn.initializers import lecun_normal, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.edges import Edges
from e3any.nn.layers.fused_tensor import FusedTensor
from e3any.nn.layers.product import product_of
from e3any.nn.layers.tensor import Tensor
from e3any.ops.index_lists import number_batch
from e3any.ops.indexed import indexed_sum

__all__ = ["Convolution", "GatheredConvolution"]


@dataclass(frozen=True)
class Convolution(Layer):
    """Hyper-parameters of layers that convolve features of neighbours, and the convolution itself.

    Parameters
    ----------
    max_degree : int, optional
        Largest degree of the output; the larger one of the inputs' and the basis' by default.
    use_basis_bias : bool
        Whether the filters have a bias (scalars only).
    include_pseudotensors : bool
        Whether the output has both parities. It always has one if the inputs are proper tensors, and inputs, basis or
        output have degree 0 only.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`.
    use_fused_tensor : bool, optional
        Whether features are coupled by :class:`FusedTensor` instead of :class:`Tensor`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    dense_kernel_init, dense_bias_init, tensor_kernel_init : Initializer or callable
        Initialisers of parameters.
    use_parity : bool, optional
        Whether irreps have a parity, see :class:`Tensor`.
    """

    max_degree: int | None = None
    use_basis_bias: bool = False
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    use_fused_tensor: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    dense_kernel_init: Any = lecun_normal
    dense_bias_init: Any = zeros
    tensor_kernel_init: Any = None
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_degree is not None:
            check_degree(self.max_degree)
        object.__setattr__(self, "_product", product_of(self))

    @property
    def product(self) -> tuple[str, Tensor | FusedTensor]:
        """The tensor product of filters and features, built once, and the name of its parameters."""
        return self._product  # type: ignore[attr-defined, no-any-return]

    def convolve(
        self,
        p: Parameters,
        senders: Array,
        basis: Array | FactoredBasis | None,
        edges: Edges,
        weights: Array | None = None,
    ) -> Array:
        """Couple the features of neighbours with filters and sum them over neighbourhoods.

        Parameters
        ----------
        p : Parameters
            Parameters.
        senders : array of shape (..., N, P, (L+1)**2, F)
            Features of the sending nodes.
        basis : FactoredBasis or array of shape (*edges, 1, (Lb+1)**2, K), optional
            Basis functions; without them, features are summed unchanged.
        edges : Edges
            The edges.
        weights : array that broadcasts to (*edges, F), optional
            Factors of the features.

        Returns
        -------
        array of shape (..., N, P', (L'+1)**2, F)
            The sums.
        """
        if isinstance(basis, FactoredBasis) and not self.use_fused_tensor:
            return self._sum_first(p, senders, basis, edges, weights)
        backend, gathered = edges.backend, edges.gather_src(senders)
        if weights is not None:
            gathered, weights = backend.promote(gathered, weights, dtype=self.dtype)
            gathered = backend.scale_components(gathered, weights)
        return indexed_sum(self.messages(p, gathered, basis), **edges.reduction(senders.shape[-4]))

    def messages(self, p: Parameters, gathered: Array, basis: Array | FactoredBasis | None) -> Array:
        """Couple the features of the sending node of every edge with filters; without a basis, return them."""
        if basis is None:
            return gathered
        functions = basis.array() if isinstance(basis, FactoredBasis) else basis
        # The filter first: parameters are initialised in the order in which they are requested.
        filters = self.filter(gathered.shape[-1])(p / "filter", functions)
        name, product = self.product
        return product(p / name, filters, gathered)

    def filter(self, features: int) -> Dense:
        """Return the linear map from basis functions to filters."""
        return Dense(
            features,
            self.use_basis_bias,
            self.dtype,
            self.param_dtype,
            self.precision,
            self.dense_kernel_init,
            self.dense_bias_init,
        )

    def _sum_first(
        self, p: Parameters, senders: Array, basis: FactoredBasis, edges: Edges, weights: Array | None
    ) -> Array:
        """Sum products of the basis with neighbours over every neighbourhood, then couple them."""
        backend, max_degree, layout = edges.backend, basis.max_degree, Layout.of(senders)
        radial, bias = self.filter(layout.features).radial(backend, p / "filter", basis.radial, max_degree)
        name, product = self._product  # type: ignore[attr-defined]
        tensor = cast(Tensor, product)  # only fused products can't be summed first
        kernel = tensor.kernel(p / name, Layout(max_degree, layout.features), layout)
        senders, kernel, angular, bias, weights, radial = backend.promote(
            senders, kernel, basis.angular, bias, weights, radial, dtype=self.dtype
        )
        if bias is not None:
            # The bias is added to the product of the radial part and the constant harmonic: compute that product here.
            scalars = radial[..., :1, :] * angular[..., None, :1]
            scalars = scalars + backend.aligned(bias, scalars)
            radial = backend.xp.concat([scalars, radial[..., 1:, :]], axis=-2)
            angular = backend.xp.concat([backend.xp.ones_like(angular[..., :1]), angular[..., 1:]], axis=-1)
        if weights is not None:
            radial = weights[..., None, :] * radial
        if edges.adj_idx is not None and backend.supports("edge_products", senders, angular, radial):
            edges = edges.sparse()
        plan = tensor.plan(kernel)
        if edges.adj_idx is None and not senders.shape[:-4]:
            indices, num = (edges.dst_idx, edges.src_idx), cast(int, edges.num_segments)
            found = backend.convolve(senders, angular, radial, kernel, indices, num, plan, edges.indices_are_sorted)
            if found is not None:
                return found
        sums = _edge_sums if edges.adj_idx is None else _neighbour_sums
        pairs = sums(senders, angular, radial, edges)
        return backend.couple_pair_features(pairs, kernel, plan)


@dataclass(frozen=True)
class GatheredConvolution(Convolution):
    """Sum the products of features of edges with learned filters over neighbourhoods.

    This is the last step of :class:`MessagePass` and of attention, for programs that compute the features of edges
    themselves. Hyper-parameters and parameters are those of :class:`MessagePass`.
    """

    def forward(
        self,
        p: Parameters,
        inputs: Array,
        basis: Array | FactoredBasis | None = None,
        *,
        adj_idx: Array | None = None,
        where: Array | None = None,
        dst_idx: Array | None = None,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Convolve features.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., N, M, P, (L+1)**2, F) or (..., E, P, (L+1)**2, F)
            Features of the sending node of every edge.
        basis : FactoredBasis or array of shape (..., N, M, 1, (Lb+1)**2, K) or (..., E, 1, (Lb+1)**2, K), optional
            Basis functions of every edge; without them, features are summed unchanged.
        adj_idx, where, dst_idx, num_segments, indices_are_sorted : optional
            Index list, see :func:`e3any.ops.indexed_sum`.

        Returns
        -------
        array of shape (..., N, P', (L'+1)**2, F)
            The sums.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If ``where`` or ``num_segments`` is missing, or an argument is not an array of its kind.
        ValueError
            If shapes do not fit.
        """
        floating_backend(inputs=inputs)
        Layout.of(inputs)
        if basis is not None:
            edges = tuple(inputs.shape[:-3])
            found = tuple(basis.radial.shape[:-2] if isinstance(basis, FactoredBasis) else basis.shape[:-3])
            if found != edges:
                raise ValueError(f"expected a basis for edges of shape {edges}, as inputs, got {found}")
        return indexed_sum(
            self.messages(p, inputs, basis),
            adj_idx=adj_idx,
            where=where,
            dst_idx=dst_idx,
            num_segments=num_segments,
            indices_are_sorted=indices_are_sorted,
        )


def _neighbour_sums(senders: Array, angular: Array, radial: Array, edges: Edges) -> Array:
    """Return A of shape (..., N, (Lb+1)**2, P, (L+1)**2, F) for a dense list of neighbours."""
    backend = edges.backend
    xp = backend.xp
    gathered = edges.gather_src(senders)
    if edges.where is not None:
        gathered = xp.where(edges.where[..., None, None, None], gathered, xp.zeros_like(gathered))
    lead, columns = gathered.shape[:-3], gathered.shape[-3:]
    sizes = [2 * l + 1 for l in range(radial.shape[-2])]
    transposed = backend.pieces(xp.matrix_transpose(angular), sizes, -2)
    weights = backend.pieces(radial, [1] * len(sizes), -2)
    sums = []
    for degree, weight in zip(transposed, weights, strict=True):
        scaled = backend.scale_components(gathered, weight[..., 0, :])
        scaled = xp.reshape(scaled, (*lead, columns[0] * columns[1] * columns[2]))
        sums.append(backend.matmul(degree, scaled))
    return xp.reshape(xp.concat(sums, axis=-2), (*lead[:-1], angular.shape[-1], *columns))


def _edge_sums(senders: Array, angular: Array, radial: Array, edges: Edges) -> Array:
    """Return A of shape (..., N, (Lb+1)**2, P, (L+1)**2, F) for a sparse list of edges."""
    backend = edges.backend
    xp = backend.xp
    (*batch, num_src), columns, num_basis = senders.shape[:-3], senders.shape[-3:], angular.shape[-1]
    num_edges, num_dst = math.prod(angular.shape[:-1]), cast(int, edges.num_segments)
    dst_idx, src_idx = edges.dst_idx, edges.src_idx
    if batch:
        dst_idx = xp.reshape(number_batch(backend, dst_idx, len(batch), num_dst), (num_edges,))
        src_idx = xp.reshape(number_batch(backend, src_idx, len(batch), num_src), (num_edges,))
    sums = backend.edge_products(
        xp.reshape(senders, (math.prod(batch) * num_src, columns[0] * columns[1], columns[2])),
        xp.reshape(angular, (num_edges, num_basis)),
        xp.reshape(radial, (num_edges, radial.shape[-2], columns[2])),
        src_idx,
        dst_idx,
        math.prod(batch) * num_dst,
        edges.indices_are_sorted and not batch,  # padding, -1, is not at the beginning of the list of a batch
    )
    return xp.reshape(sums, (*batch, num_dst, num_basis, *columns))
