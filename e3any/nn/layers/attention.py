"""Attention between nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from e3any_backends import Array, Backend, backend_of

from e3any.checks import check_count, floating_backend
from e3any.conventions import degree_slice
from e3any.layout import Layout
from e3any.nn.basis import FactoredBasis
from e3any.nn.features import change_max_degree_or_type
from e3any.nn.initializers import lecun_normal, zeros
from e3any.nn.layer import Parameters
from e3any.nn.layers.convolution import Convolution
from e3any.nn.layers.couplings import check_one_parity
from e3any.nn.layers.dense import Dense
from e3any.nn.layers.edges import Edges
from e3any.ops.indexed import indexed_softmax

__all__ = ["MultiHeadAttention", "SelfAttention"]


@dataclass(frozen=True)
class _Attention(Convolution):
    """Hyper-parameters of attention, and its computation."""

    num_heads: int = 1
    qkv_features: int | None = None
    out_features: int | None = None
    use_relative_positional_encoding_qk: bool = True
    use_relative_positional_encoding_v: bool = True
    query_kernel_init: Any = lecun_normal
    query_bias_init: Any = zeros
    query_use_bias: bool = False
    key_kernel_init: Any = lecun_normal
    key_bias_init: Any = zeros
    key_use_bias: bool = False
    value_kernel_init: Any = lecun_normal
    value_bias_init: Any = zeros
    value_use_bias: bool = False
    output_kernel_init: Any = lecun_normal
    output_bias_init: Any = zeros
    output_use_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.num_heads, "num_heads")
        for name in ("qkv_features", "out_features"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        if self.num_heads == 0 or (self.qkv_features or 0) % self.num_heads:
            raise ValueError(
                f"expected num_heads that divides qkv_features, got {self.num_heads} and {self.qkv_features}"
            )

    def _attend(
        self,
        p: Parameters,
        inputs_q: Array,
        inputs_kv: Array,
        basis: Array | FactoredBasis | None,
        cutoff_value: Array | None,
        **lists: Any,
    ) -> Array:
        floating_backend(inputs_q=inputs_q, inputs_kv=inputs_kv)
        batches = tuple(inputs_q.shape[:-4]), tuple(inputs_kv.shape[:-4])
        if batches[0] != batches[1]:
            raise ValueError(
                f"expected inputs_q and inputs_kv with the same leading axes, got {batches[0]} and {batches[1]}"
            )
        queries, keys = Layout.of(inputs_q, "inputs_q"), Layout.of(inputs_kv, "inputs_kv")
        if not self.use_parity:
            check_one_parity(queries, "inputs_q")
            check_one_parity(keys, "inputs_kv")
        if basis is None and (self.use_relative_positional_encoding_qk or self.use_relative_positional_encoding_v):
            raise TypeError("expected a basis for relative positional encodings, got None")
        width = queries.features if self.qkv_features is None else self.qkv_features
        if width % self.num_heads:
            raise ValueError(f"expected num_heads that divides the {width} features of queries, got {self.num_heads}")
        edges = Edges.between(inputs_q, inputs_kv, **lists)
        _check_edges(edges, basis, cutoff_value)
        common = Layout(min(queries.max_degree, keys.max_degree), width, queries.pseudotensors and keys.pseudotensors)
        dots = self._dots(p, inputs_q, inputs_kv, common, basis, edges)
        if cutoff_value is not None:
            (cutoff_value,) = backend_of(dots).promote(cutoff_value, dtype=dots.dtype)
            cutoff_value = backend_of(dots).xp.broadcast_to(cutoff_value[..., None], dots.shape)
        weights = indexed_softmax(dots, cutoff_value, **edges.reduction(inputs_kv.shape[-4]))
        values = self._dense("value", width)(p / "value", inputs_kv)
        attention = self.convolve(
            p,
            values,
            basis if self.use_relative_positional_encoding_v else None,
            edges,
            _repeat(weights, width // self.num_heads),
        )
        return self._dense("output", queries.features if self.out_features is None else self.out_features)(
            p / "out", attention
        )

    def _dots(
        self,
        p: Parameters,
        inputs_q: Array,
        inputs_kv: Array,
        common: Layout,
        basis: Array | FactoredBasis | None,
        edges: Edges,
    ) -> Array:
        """Return the scaled products of queries and keys, of shape (*edges, heads)."""
        layout = common.max_degree, common.pseudotensors
        query = self._dense("query", common.features)(p / "query", change_max_degree_or_type(inputs_q, *layout))
        key = self._dense("key", common.features)(p / "key", change_max_degree_or_type(inputs_kv, *layout))
        query = query * math.sqrt(self.num_heads / max(math.prod(common.shape), 1))
        query, key = edges.gather_dst(query), edges.gather_src(key)
        backend = backend_of(query, key)
        encoding = None
        if self.use_relative_positional_encoding_qk:
            encoding = self._encoding(p / "relative_positional_encoding", basis, common)
            query, key, encoding = backend.promote(query, key, encoding, dtype=self.dtype)
        return _dots_of_heads(backend, query, key, encoding, self.num_heads)

    def _encoding(self, p: Parameters, basis: Any, common: Layout) -> Array:
        """Return a factor for every degree of the products, of shape (*edges, P, L+1, F)."""
        if isinstance(basis, FactoredBasis):
            scalars = basis.radial[..., 0, :] * basis.angular[..., :1]
        else:
            scalars = basis[..., 0, 0, :]
        backend = backend_of(scalars)
        sizes = common.num_parities, common.max_degree + 1, common.features
        width = math.prod(sizes)
        kernel = p.param("kernel", (scalars.shape[-1], width), self.dense_kernel_init, self.param_dtype)
        bias = p.param("bias", (width,), self.dense_bias_init, self.param_dtype) if self.use_basis_bias else None
        scalars, kernel, bias = backend.promote(scalars, kernel, bias, dtype=self.dtype)
        encoding = backend.matmul(scalars, kernel, self.precision)
        encoding = encoding if bias is None else encoding + backend.aligned(bias, encoding)
        return backend.xp.reshape(encoding, (*encoding.shape[:-1], *sizes))

    def _dense(self, name: str, features: int) -> Dense:
        return Dense(
            features,
            getattr(self, f"{name}_use_bias"),
            self.dtype,
            self.param_dtype,
            self.precision,
            getattr(self, f"{name}_kernel_init"),
            getattr(self, f"{name}_bias_init"),
        )


@dataclass(frozen=True)
class MultiHeadAttention(_Attention):
    r"""Sum the products of neighbours' features with learned filters, weighted by attention.

    .. math::
        y_i = \mathrm{dense}\Bigl(\sum_{j \in \mathcal{N}(i)} a_{ij} \,
        \mathrm{tensor}\bigl(\mathrm{filter}(b_{ij}), v_j\bigr)\Bigr) \qquad
        a_{ij} = \frac{c_{ij} \exp s_{ij}}{\sum_k c_{ik} \exp s_{ik}} \qquad
        s_{ij} = \frac{1}{\sqrt{d}} \sum_{l_p} e^{(l_p)}_{ij} \, q^{(l_p)}_i \cdot k^{(l_p)}_j

    for every head (Vaswani et al., `Attention is all you need <https://arxiv.org/abs/1706.03762>`_, 2017). Queries q
    are linear maps of one set of features, keys k and values v of another; e is a linear map of the radial part of the
    basis, c a cut-off, and d the number of terms of the product of q and k. The products of queries and keys are
    invariant, and therefore the weights a are. Without relative positional encodings the factor e, or the filter, is
    left out.

    Feature f of queries and keys belongs to head f mod H, feature f of values to head f // (F / H). This is the layout
    of e3x, so that its checkpoints can be loaded.

    Parameters are ``query/...``, ``key/...``, ``value/...`` and ``out/...`` (:class:`Dense`),
    ``relative_positional_encoding/kernel`` of shape (K, P (L+1) F), and those of :class:`MessagePass`.

    Parameters
    ----------
    max_degree, use_basis_bias, include_pseudotensors, cartesian_order, use_fused_tensor, use_parity : optional
        See :class:`MessagePass`; ``use_basis_bias`` also applies to the encodings of queries and keys.
    dtype, param_dtype, precision : optional
        See :class:`Dense`.
    dense_kernel_init, dense_bias_init, tensor_kernel_init : Initializer or callable
        Initialisers of the parameters of encodings and filters.
    num_heads : int
        Number of heads H.
    qkv_features : int, optional
        Number F of features of queries, keys and values, a multiple of H; that of ``inputs_q`` by default.
    out_features : int, optional
        Number of features of the output; that of ``inputs_q`` by default.
    use_relative_positional_encoding_qk, use_relative_positional_encoding_v : bool
        Whether the weights, and the values, depend on the basis.
    query_kernel_init, query_bias_init, query_use_bias : optional
        Parameters of the queries.
    key_kernel_init, key_bias_init, key_use_bias : optional
        Parameters of the keys.
    value_kernel_init, value_bias_init, value_use_bias : optional
        Parameters of the values.
    output_kernel_init, output_bias_init, output_use_bias : optional
        Parameters of the output; only these have a bias by default.

    Raises
    ------
    ValueError
        If a number is not an integer >= 0, a setting is neither True nor False, or ``num_heads`` does not divide
        ``qkv_features``.
    TypeError
        If a dtype is not a floating-point dtype.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs_q", "inputs_kv", "basis")
    num_optional_layouts: ClassVar[int] = 1

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return two nodes with the layouts of queries, and of keys and values, and one edge with that of the basis."""
        return _example(2, layouts) or super().example(*layouts)

    def forward(
        self,
        p: Parameters,
        inputs_q: Array,
        inputs_kv: Array,
        basis: Array | FactoredBasis | None = None,
        cutoff_value: Array | None = None,
        *,
        adj_idx: Array | None = None,
        where: Array | None = None,
        dst_idx: Array | None = None,
        src_idx: Array | None = None,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Attend to neighbours.

        Parameters
        ----------
        p : Parameters
            Parameters.
        inputs_q : array of shape (..., N, P, (L+1)**2, F)
            Features of the N receiving nodes.
        inputs_kv : array of shape (..., N', P', (L'+1)**2, F')
            Features of the N' sending nodes.
        basis : FactoredBasis or array of shape (..., N, M, 1, (Lb+1)**2, K) or (..., E, 1, (Lb+1)**2, K), optional
            Basis functions of every edge; required for relative positional encodings.
        cutoff_value : array of shape (..., N, M) or (..., E), optional
            Factors c of the exponentials. The result is zero for nodes whose factors are all zero.
        adj_idx, where, dst_idx, src_idx, num_segments, indices_are_sorted : optional
            Index list, see :class:`MessagePass`. By default there are N receiving nodes; senders outside [0, N') are
            padding.

        Returns
        -------
        array of shape (..., N, P'', (L''+1)**2, F'')
            Features.

        Raises
        ------
        RuntimeError
            If neither or both kinds of index list are given.
        TypeError
            If there is no basis for relative positional encodings, a list is not an integer array, another input is not
            a floating-point array, or arrays belong to different libraries.
        ValueError
            If shapes do not fit, or if the number of heads does not divide that of features.
        """
        return self._attend(
            p,
            inputs_q,
            inputs_kv,
            basis,
            cutoff_value,
            adj_idx=adj_idx,
            where=where,
            dst_idx=dst_idx,
            src_idx=src_idx,
            num_segments=num_segments,
            indices_are_sorted=indices_are_sorted,
        )


@dataclass(frozen=True)
class SelfAttention(_Attention):
    """Attend to neighbours, with queries, keys and values from the same features.

    Formulas, parameters, hyper-parameters and errors are those of :class:`MultiHeadAttention`.
    """

    layouts: ClassVar[tuple[str, ...]] = ("inputs", "basis")
    num_optional_layouts: ClassVar[int] = 1

    def example(self, *layouts: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return two nodes with the layout of the inputs, and one edge with that of the basis."""
        return _example(1, layouts) or super().example(*layouts)

    def forward(
        self,
        p: Parameters,
        inputs: Array,
        basis: Array | FactoredBasis | None = None,
        cutoff_value: Array | None = None,
        *,
        adj_idx: Array | None = None,
        where: Array | None = None,
        dst_idx: Array | None = None,
        src_idx: Array | None = None,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
    ) -> Array:
        """Attend to neighbours; arguments, results and errors are those of :meth:`MultiHeadAttention.forward`."""
        return self._attend(
            p,
            inputs,
            inputs,
            basis,
            cutoff_value,
            adj_idx=adj_idx,
            where=where,
            dst_idx=dst_idx,
            src_idx=src_idx,
            num_segments=num_segments,
            indices_are_sorted=indices_are_sorted,
        )


def _example(num_inputs: int, layouts: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return examples of inputs, of a basis if there is a layout for it, and a list of one edge."""
    if not num_inputs <= len(layouts) <= num_inputs + 1 or not all(isinstance(x, Layout) for x in layouts):
        return None
    edge = np.zeros((1,), np.int32)
    inputs = [layout.example(2) for layout in layouts[:num_inputs]]
    return (*inputs, *(layout.example(1) for layout in layouts[num_inputs:])), {"dst_idx": edge, "src_idx": edge}


def _check_edges(edges: Edges, basis: Array | FactoredBasis | None, cutoff_value: Array | None) -> None:
    """Raise a ValueError unless basis and cut-off have one entry for every edge."""
    if basis is not None:
        edges.check_basis(basis)
    if cutoff_value is None:
        return
    floating_backend(cutoff_value=cutoff_value)
    backend_of(cutoff_value, edges.indices)
    if tuple(cutoff_value.shape) != tuple(edges.indices.shape):
        raise ValueError(
            f"expected cutoff_value of shape {tuple(edges.indices.shape)}, as the index list, "
            f"got {tuple(cutoff_value.shape)}"
        )


def _dots_of_heads(backend: Backend, query: Array, key: Array, encoding: Array | None, num_heads: int) -> Array:
    """Return the products of queries and keys (*edges, P, (L+1)**2, F) for every head."""
    xp = backend.xp
    layout = Layout.of(key, "keys")
    total: Array = None
    for l in range(layout.max_degree + 1):
        products = backend.sum_components(query[..., degree_slice(l), :] * key[..., degree_slice(l), :])
        products = products if encoding is None else products * encoding[..., l, :]
        total = products if total is None else total + products
    total = total[..., 0, :] if layout.num_parities == 1 else total[..., 0, :] + total[..., 1, :]
    heads = xp.reshape(total, (*total.shape[:-1], layout.features // num_heads, num_heads))
    # Store the products: a compiler would compute them again for every operation that reads them.
    return backend.store(backend.sum_components(heads))[0]


def _repeat(weights: Array, times: int) -> Array:
    """Repeat the weight of every head (..., H) for its block of features, to (..., H * times)."""
    xp = backend_of(weights).xp
    wide = xp.broadcast_to(weights[..., None], (*weights.shape, times))
    return xp.reshape(wide, (*weights.shape[:-1], weights.shape[-1] * times))
