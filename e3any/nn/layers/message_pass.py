"""Messages between nodes: continuous convolutions with learned filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array

from e3any.checks import check_broadcast, floating_backend
from e3any.layout import Layout
from e3any.nn.basis import FactoredBasis
from e3any.nn.layer import Parameters
from e3any.nn.layers.convolution import Convolution
from e3any.nn.layers.edges import Edges

__all__ = ["MessagePass"]


@dataclass(frozen=True)
class MessagePass(Convolution):
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
    filter being its first factor), or ``fused_tensor/...`` (:class:`FusedTensor`).

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
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    use_fused_tensor : bool, optional
        Whether features are coupled by :class:`FusedTensor`, edge by edge, instead of :class:`Tensor`; by default the
        setting of :class:`e3any.Config`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    dense_kernel_init, dense_bias_init, tensor_kernel_init : Initializer or callable
        Initialisers of parameters.
    use_parity : bool, optional
        Whether irreps have a parity, see :class:`Tensor`; by default the setting of :class:`e3any.Config`.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs", "basis")

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
            Weights of edges, for example of shape (..., E, 1, 1, 1).
        adj_idx : integer array of shape (..., N, M), optional
            The neighbours of every node; entries outside [0, N) are padding.
        where : bool array of shape (..., N, M), optional
            Which neighbours count, all but padding by default; ignored with a sparse list.
        dst_idx, src_idx : integer arrays of shape (..., E), optional
            The receiving and the sending node of every edge; entries out of range are padding.
        num_segments : int, optional
            Number of receiving nodes, N by default; sparse lists only.
        indices_are_sorted : bool
            Promise that ``dst_idx`` is in ascending order; sparse lists only.

        Returns
        -------
        array of shape (..., N, P', (L'+1)**2, F)
            The sums of messages.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If there is no basis, a list is not an integer array, another input is not a floating-point array, or arrays
            belong to different libraries.
        ValueError
            If shapes do not fit, or ``num_segments`` is not an integer >= 0.
        """
        if basis is None:
            raise TypeError("expected a basis, got None")
        floating_backend(inputs=inputs)
        Layout.of(inputs)
        edges = Edges.between(
            inputs,
            inputs,
            adj_idx=adj_idx,
            where=where,
            dst_idx=dst_idx,
            src_idx=src_idx,
            num_segments=num_segments,
            indices_are_sorted=indices_are_sorted,
        )
        edges.check_basis(basis)
        senders = inputs
        if weights is not None:
            xp = floating_backend(inputs=inputs, weights=weights).xp
            gathered = (*edges.indices.shape, *inputs.shape[-3:])
            check_broadcast("weights", weights.shape, to=gathered)
            weights = xp.reshape(weights, (*(1,) * (len(gathered) - weights.ndim), *weights.shape))
            if any(n != 1 for n in weights.shape[-3:-1]):  # weights of components must come before the filters
                senders, edges = edges.with_own_senders(edges.gather_src(inputs) * weights, inputs.shape[-4])
                weights = None
            else:
                weights = weights[..., 0, 0, :]
        return self.convolve(p, senders, basis, edges, weights)
