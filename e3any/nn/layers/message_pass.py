"""Messages between nodes: continuous convolutions with learned filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from e3any_backends import Array, Backend, backend_of

from e3any.conventions import degree_slice
from e3any.layout import Layout, check_degree
from e3any.nn.basis import FactoredBasis
from e3any.nn.initializers import lecun_normal, tensor_lecun_normal, zeros
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.couplings import couple_pairs
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.tensor import Tensor
from e3any.ops.indexed import check_mask, gather_src, index_kind, indexed_sum

__all__ = ["MessagePass"]


@dataclass(frozen=True)
class MessagePass(Layer):
    r"""Sum the products of neighbours' features with learned filters.

    .. math::
        y_i = \sum_{j \in \mathcal{N}(i)} w_{ij} \, \mathrm{tensor}(\mathrm{dense}(b_{ij}), x_j)

    with a basis :math:`b_{ij}` of functions of the displacement, see :func:`e3any.nn.basis`. With a *factored* basis
    :math:`b_{ij} = g(r_{ij}) Y(\hat r_{ij})` the coupling, which is linear in the sum, is done once for every node
    instead of once for every edge:

    .. math::
        A_i^{(b m)(a l)} = \sum_j Y_{bm}(\hat r_{ij}) \, (g_b(r_{ij}) W_b) \, w_{ij} \, x_j^{(a l)}, \qquad
        y_i^{(c n)} = \sum_{a b} w_{bac} \sum_{m l} C^{bac}_{mln} A_i^{(b m)(a l)} .

    Both forms agree to rounding; the factored one stores no messages and is many times faster.

    Parameters are ``filter/...`` (:class:`Dense`, from the basis to F) and ``tensor/kernel`` (:class:`Tensor`, the
    filter being its first factor).

    Parameters
    ----------
    max_degree : int, optional
        Largest degree of the output; the larger one of the inputs' and the basis' by default.
    use_basis_bias : bool
        Whether the filters have a bias (scalars only).
    include_pseudotensors : bool
        Whether the output has both parities.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    dense_kernel_init, dense_bias_init, tensor_kernel_init : Initializer or callable
        How parameters are drawn.
    """

    max_degree: int | None = None
    use_basis_bias: bool = False
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    dense_kernel_init: Any = lecun_normal
    dense_bias_init: Any = zeros
    tensor_kernel_init: Any = tensor_lecun_normal

    def __post_init__(self) -> None:
        if self.max_degree is not None:
            check_degree(self.max_degree)

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return two nodes with the layouts of inputs and basis, and one edge."""
        if len(layouts) != 2 or not all(isinstance(layout, Layout) for layout in layouts):
            return super().example(*layouts)
        inputs, basis = layouts
        edge = np.zeros((1,), np.int32)
        return (inputs.example(2), basis.example(1)), {"dst_idx": edge, "src_idx": edge}

    def forward(
        self,
        p: Parameters,
        inputs: Array,
        basis: Array | FactoredBasis | None = None,
        weights: Array | None = None,
        *,
        adj_idx: Array | None = None,
        where: Array | None = None,
        dst_idx: Array | None = None,
        src_idx: Array | None = None,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Pass messages along a dense list of neighbours (``adj_idx``) or a sparse list of edges.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs : array of shape (..., N, P, (L+1)**2, F)
            Features of N nodes.
        basis : FactoredBasis or array of shape (..., N, M, 1, (Lb+1)**2, K) or (..., E, 1, (Lb+1)**2, K)
            Basis functions of every edge, for a dense or a sparse list.
        weights : array that broadcasts to the gathered inputs, optional
            Weights of edges, such as shape (..., E, 1, 1, 1).
        adj_idx : integer array of shape (..., N, M), optional
            For every node the numbers of its neighbours; numbers outside [0, N) are padding.
        where : bool array of shape (..., N, M), optional
            Which neighbours count, all but padding by default; passed over with a sparse list.
        dst_idx, src_idx : integer arrays of shape (..., E), optional
            For every edge the node that receives, and the one that sends; numbers out of range are padding.
        num_segments : int, optional
            Number of nodes that receive, N by default; sparse lists only.
        indices_are_sorted : bool
            A promise that ``dst_idx`` ascends; sparse lists only.

        Returns
        -------
        array of shape (..., N, P', (L'+1)**2, F)
            The sums of messages.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If there is no basis.
        ValueError
            If shapes do not fit.
        """
        if basis is None:
            raise TypeError("expected a basis, got None")
        kind = index_kind(adj_idx=adj_idx, dst_idx=dst_idx, src_idx=src_idx)
        if kind == "sparse" and (dst_idx is None or src_idx is None):
            raise TypeError("expected both dst_idx and src_idx, got only one of them")
        indices: Any = adj_idx if kind == "dense" else dst_idx
        layout = Layout.of(inputs)
        check_nodes(inputs, tuple(indices.shape[: -2 if kind == "dense" else -1]))
        check_basis(basis, indices)
        where = where if kind == "dense" else None
        if where is not None:
            check_mask(where, tuple(indices.shape))
        num_nodes = inputs.shape[-4]
        gathered = gather_src(inputs, adj_idx=adj_idx, src_idx=src_idx)
        if weights is not None:
            check_broadcastable(weights, gathered)
            gathered = gathered * weights
        segments = num_nodes if num_segments is None else num_segments
        if isinstance(basis, FactoredBasis):
            if where is not None:
                gathered = _masked(gathered, where)
            return self._sum_first(p, gathered, basis, layout, dst_idx, segments, indices_are_sorted)
        if adj_idx is not None and where is None:
            where = (adj_idx >= 0) & (adj_idx < num_nodes)
        filters = self._filter(layout.features)(p / "filter", basis)
        return indexed_sum(
            self._tensor()(p / "tensor", filters, gathered),
            adj_idx=adj_idx,
            where=where,
            dst_idx=dst_idx,
            num_segments=segments if kind == "sparse" else None,
            indices_are_sorted=indices_are_sorted,
        )

    def _sum_first(
        self,
        p: Parameters,
        gathered: Array,
        basis: FactoredBasis,
        layout: Layout,
        dst_idx: Array | None,
        num_segments: int,
        indices_are_sorted: bool,
    ) -> Array:
        """Sum products of the basis with neighbours over every neighbourhood, then couple them."""
        backend = backend_of(gathered, basis.radial, basis.angular)
        max_degree = basis.max_degree
        dense, tensor = self._filter(layout.features), self._tensor()
        radial, bias = dense.radial(p / "filter", basis.radial, max_degree)
        kernel = tensor.kernel(p / "tensor", Layout(max_degree, layout.features), layout)
        gathered, kernel, angular, bias, *radial = backend.promote(
            gathered, kernel, basis.angular, bias, *radial, dtype=self.dtype
        )
        if bias is not None:
            # The bias belongs to the product of radial part and constant harmonic: multiply that out.
            radial[0] = radial[0] * angular[..., :1] + bias
            angular = backend.xp.concat([backend.xp.ones_like(angular[..., :1]), angular[..., 1:]], axis=-1)
        if dst_idx is None:
            pairs = _neighbour_sums(backend, gathered, angular, radial)
        else:
            pairs = _edge_sums(backend, gathered, angular, radial, dst_idx, num_segments, indices_are_sorted)
        return couple_pairs(backend, pairs, kernel, tensor.plan(kernel))

    def _filter(self, features: int) -> Dense:
        return Dense(
            features,
            self.use_basis_bias,
            self.dtype,
            self.param_dtype,
            self.precision,
            self.dense_kernel_init,
            self.dense_bias_init,
        )

    def _tensor(self) -> Tensor:
        return Tensor(
            self.max_degree,
            self.include_pseudotensors,
            self.cartesian_order,
            self.dtype,
            self.param_dtype,
            self.precision,
            self.tensor_kernel_init,
        )


def check_nodes(inputs: Array, batch: tuple[int, ...]) -> None:
    """Raise a ValueError unless inputs are features of nodes with the leading axes of an index list."""
    if inputs.ndim < 4 or tuple(inputs.shape[:-4]) != batch:
        expected = ", ".join([*map(str, batch), "N", "1 or 2", "(max_degree+1)**2", "features"])
        raise ValueError(f"expected inputs of shape ({expected}) for this index list, got {tuple(inputs.shape)}")


def check_basis(basis: Any, indices: Array) -> None:
    """Raise a ValueError unless a basis has one entry for every index."""
    if isinstance(basis, FactoredBasis):
        edges = tuple(basis.radial.shape[:-2])
        basis.check()
    else:
        if Layout.of(basis, "basis").pseudotensors:
            raise ValueError(f"expected a basis with a parity axis of length 1, got shape {tuple(basis.shape)}")
        edges = tuple(basis.shape[:-3])
    if edges != tuple(indices.shape):
        raise ValueError(f"expected a basis for index lists of shape {tuple(indices.shape)}, got {edges}")


def check_broadcastable(weights: Array, gathered: Array) -> None:
    """Raise a ValueError unless weights broadcast to the gathered inputs."""
    ours, theirs = tuple(weights.shape), tuple(gathered.shape)
    pairs = zip(reversed(ours), reversed(theirs), strict=False)
    if len(ours) > len(theirs) or any(n not in (1, m) for n, m in pairs):
        raise ValueError(f"expected weights that broadcast to gathered inputs of shape {theirs}, got {ours}")


def _masked(gathered: Array, where: Array) -> Array:
    xp = backend_of(gathered, where).xp
    return xp.where(where[..., None, None, None], gathered, xp.zeros_like(gathered))


def _neighbour_sums(backend: Backend, gathered: Array, angular: Array, radial: list[Array]) -> Array:
    """Return A of shape (..., N, (Lb+1)**2, P, (L+1)**2, F) for a dense list of neighbours."""
    xp = backend.xp
    lead, columns = gathered.shape[:-3], gathered.shape[-3:]
    transposed = xp.matrix_transpose(angular)
    sums = []
    for l, weight in enumerate(radial):
        scaled = backend.scale_components(gathered, weight)
        scaled = xp.reshape(scaled, (*lead, columns[0] * columns[1] * columns[2]))
        sums.append(xp.matmul(transposed[..., degree_slice(l), :], scaled))
    return xp.reshape(xp.concat(sums, axis=-2), (*lead[:-1], angular.shape[-1], *columns))


def _edge_sums(
    backend: Backend,
    gathered: Array,
    angular: Array,
    radial: list[Array],
    dst_idx: Array,
    num_segments: int,
    indices_are_sorted: bool,
) -> Array:
    """Return A of shape (..., N, (Lb+1)**2, P, (L+1)**2, F) for a sparse list of edges."""
    sums = []
    for l, weight in enumerate(radial):
        scaled = backend.scale_components(gathered, weight)
        for m in range(l**2, (l + 1) ** 2):
            products = scaled * angular[..., m, None, None, None]
            sums.append(
                indexed_sum(
                    products,
                    dst_idx=dst_idx,
                    num_segments=num_segments,
                    indices_are_sorted=indices_are_sorted,
                )
            )
    return backend.xp.stack(sums, axis=-4)
