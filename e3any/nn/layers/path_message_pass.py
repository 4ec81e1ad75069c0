"""Messages between nodes, with weights for every edge and path that a small network computes from the distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array, Backend
from e3any_backends.forms.tables import host_table
from numpy.typing import NDArray

from e3any.checks import check_callable, check_counts, check_degree, floating_backend
from e3any.layout import Layout
from e3any.nn.activations import silu
from e3any.nn.basis import FactoredBasis
from e3any.nn.initializers import lecun_normal
from e3any.nn.layer import Layer, Parameters
from e3any.nn.layers.couplings import coupling_plan, output_layout
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.edges import Edges
from e3any.ops.indexed import indexed_sum

__all__ = ["PathMessagePass"]


@dataclass(frozen=True)
class PathMessagePass(Layer):
    r"""Sum couplings of neighbours with harmonics, weighted for every edge, path and feature by a network.

    .. math::
        y_i^{(c)} = \frac{1}{\sqrt{n_c}} \sum_{j \in \mathcal{N}(i)} \sum_{b, a} w^{(bac)}(r_{ij}) \,
        \mathrm{couple}\bigl(Y^{(b)}(\hat r_{ij}), x_j^{(a)}\bigr)^{(c)} \qquad
        w(r) = W_n\, \phi(\cdots \phi(W_0\, g(r)))

    with radial functions g and the number :math:`n_c` of paths that end in an irrep c. This is
    the convolution of NequIP (Batzner et al., `E(3)-equivariant graph neural networks
    <https://arxiv.org/abs/2101.03164>`_, 2022) and MACE with one difference. They keep the sums of all paths separate,
    and a learned matrix mixes them. Here the paths that end in the same irrep are added.

    :class:`MessagePass` is cheaper. Its weight of a path is the product of a weight for the distance and b, and a
    weight for b, a and c, and it stores nothing for every edge and path.

    The network has no biases: if the activation of zero is zero, weights are zero where the radial functions are, for
    example beyond a cut-off. Parameters are ``mlp0/0+/kernel``, ``mlp1/0+/kernel``, ..., the last one of shape
    (H, paths * F).

    Parameters
    ----------
    max_degree : int, optional
        Largest degree of the output; the larger one of the inputs' and the basis' by default.
    hidden : sequence of int
        Sizes of the hidden layers of the network.
    activation : callable
        Activation after each hidden layer, for example :func:`e3any.nn.silu`.
    include_pseudotensors : bool
        Whether the output has both parities. It always has one if the inputs are proper tensors, and inputs, basis or
        output have degree 0 only.
    cartesian_order : bool, optional
        Order of components, see :mod:`e3any.conventions`; by default that of :class:`e3any.Config`.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    kernel_init : Initializer or callable
        Initialiser of parameters.
    use_parity : bool, optional
        Whether irreps have a parity, see :class:`Tensor`; by default the setting of :class:`e3any.Config`.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, or a setting is neither True nor False.
    TypeError
        If ``hidden`` is not a sequence, the activation can't be called, or a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs", "basis")

    max_degree: int | None = None
    hidden: Sequence[int] = (64, 64)
    activation: Any = silu
    include_pseudotensors: bool = True
    cartesian_order: bool | None = None
    dtype: Any = None
    param_dtype: Any = "float32"
    precision: Any = None
    kernel_init: Any = lecun_normal
    use_parity: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_degree is not None:
            check_degree(self.max_degree)
        check_counts(self.hidden, "hidden")
        object.__setattr__(self, "hidden", tuple(self.hidden))
        check_callable(self.activation, "activation")

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return two nodes with the layouts of inputs and basis, and one edge."""
        if len(layouts) != 2 or not all(isinstance(layout, Layout) for layout in layouts):
            return super().example(*layouts)
        inputs, basis = layouts
        parts = FactoredBasis(basis.example(1)[:, 0, :1, :], basis.example(1)[:, 0, :, 0])
        edge = np.zeros((1,), np.int32)
        return (inputs.example(2), parts), {"dst_idx": edge, "src_idx": edge}

    def forward(
        self,
        p: Parameters,
        inputs: Array,
        basis: FactoredBasis,
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
        basis : FactoredBasis
            Radial functions of shape (..., N, M, 1 or Lb+1, K) and harmonics of shape (..., N, M, (Lb+1)**2), for a
            dense list, or (..., E, 1 or Lb+1, K) and (..., E, (Lb+1)**2); see :func:`e3any.nn.basis` with
            ``factored=True``.
        adj_idx, where, dst_idx, src_idx, num_segments, indices_are_sorted
            See :meth:`MessagePass.forward`.

        Returns
        -------
        array of shape (..., N, P', (L'+1)**2, F)
            The sums of messages.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If the basis is not factored, a list is not an integer array, another input is not a floating-point array,
            or arrays belong to different libraries.
        ValueError
            If shapes do not fit, or ``num_segments`` is not an integer >= 0.
        """
        if not isinstance(basis, FactoredBasis):
            raise TypeError(f"expected a factored basis, see nn.basis(..., factored=True), got {type(basis).__name__}")
        backend, layout = floating_backend(inputs=inputs), Layout.of(inputs)
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
        harmonics = Layout(basis.max_degree, layout.features)
        use_parity = bool(self.use_parity)
        out = output_layout(harmonics, layout, self.max_degree, self.include_pseudotensors, use_parity)
        shapes = [(n.num_parities, n.max_degree + 1) for n in (harmonics, layout, out)]
        kernel_shape = tuple(n for shape in shapes for n in shape)
        weights = self._weights(backend, p, basis.radial, kernel_shape, layout.features)
        inputs, angular, weights = backend.promote(inputs, basis.angular, weights, dtype=self.dtype)
        gathered = edges.gather_src(inputs)
        shape = (*angular.shape[:-1], 1, angular.shape[-1], layout.features)
        y = backend.xp.broadcast_to(angular[..., None, :, None], shape)
        plan = coupling_plan(kernel_shape, bool(self.cartesian_order), use_parity)
        messages = backend.couple_paths(y, gathered, weights, plan)
        return indexed_sum(messages, **edges.reduction(inputs.shape[-4]))

    def _weights(
        self, backend: Backend, p: Parameters, radial: Array, kernel_shape: tuple[int, ...], features: int
    ) -> Array:
        """Return the weights (1, R, *edges, paths, F) of the paths of the table."""
        xp, lead = backend.xp, tuple(radial.shape[:-2])
        x = xp.reshape(radial, (*lead, 1, 1, radial.shape[-2] * radial.shape[-1]))
        kind = kernel_shape, bool(self.use_parity)
        num = num_weights(*kind)
        sizes = (*self.hidden, num * features)
        for number, size in enumerate(sizes):
            dense = Dense(size, False, self.dtype, self.param_dtype, self.precision, self.kernel_init)
            x = dense(p / f"mlp{number}", self.activation(x) if number else x)
        x = xp.reshape(x, (*lead, num, features))
        which = backend.table(_weight_of_path, *kind, like=x)
        x = backend.select(x, xp.reshape(which, (-1,)), axis=-2)
        x = xp.reshape(x, (*lead, *which.shape, features))
        x = x * backend.aligned(backend.table(_factor_of_path, *kind, like=x), x)
        order = (x.ndim - 3, *range(x.ndim - 3), x.ndim - 2, x.ndim - 1)
        return xp.permute_dims(x, order)[None, ...]


@host_table
def num_weights(kernel_shape: tuple[int, ...], use_parity: bool = True) -> int:
    """Return the number of paths that parity allows."""
    return int(_allowed(kernel_shape, use_parity).sum())


def _allowed(kernel_shape: tuple[int, ...], use_parity: bool) -> NDArray[np.bool_]:
    """Return which paths (R, paths) are allowed."""
    return np.asarray(coupling_plan(kernel_shape, True, use_parity).weight_mask[0, :, :, 0] != 0)


def _weight_of_path(kernel_shape: tuple[int, ...], use_parity: bool) -> NDArray[np.intp]:
    """Return the index of the weight of every allowed path; forbidden paths have any index."""
    allowed = _allowed(kernel_shape, use_parity)
    return np.where(allowed, np.cumsum(allowed).reshape(allowed.shape) - 1, 0)


def _factor_of_path(kernel_shape: tuple[int, ...], use_parity: bool) -> NDArray[np.float64]:
    r"""Return :math:`1 / \sqrt{n_c}` for every path, which ends in irrep c; zero for forbidden paths."""
    allowed = _allowed(kernel_shape, use_parity)
    index = coupling_plan(kernel_shape, True, use_parity).weight_index[0]
    *_, parity, degree = np.unravel_index(index, kernel_shape)
    ends = parity * kernel_shape[-1] + degree
    counts = np.bincount(ends[allowed], minlength=ends.max() + 1)
    return np.where(allowed, 1.0 / np.sqrt(np.maximum(counts[ends], 1)), 0.0)[..., None]
