"""Written by docs/stubs.py: the layers of :mod:`e3any_flax.nnx` as type checkers and editors see them."""

# mypy: disable-error-code="override"
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload
import jax
from flax import nnx
from jax.typing import ArrayLike
from e3any_flax.nnx_module import LayerModule as LayerModule
from e3any_flax.nnx_module import nnx_class as nnx_class
from e3any_flax.nnx_module import to_nnx as to_nnx
from e3any import Irreps, Layout
from e3any.nn import FactoredBasis as FactoredBasis
from e3any.nn import Layer as Layer
from e3any.nn import ParameterSpec as ParameterSpec
from e3any.nn import Parameters as Parameters
from e3any.nn import Variables as Variables
from e3any.nn import add as add
from e3any.nn import basic_bernstein as basic_bernstein
from e3any.nn import basic_chebyshev as basic_chebyshev
from e3any.nn import basic_fourier as basic_fourier
from e3any.nn import basic_gaussian as basic_gaussian
from e3any.nn import basis as basis
from e3any.nn import bent_identity as bent_identity
from e3any.nn import bessel as bessel
from e3any.nn import celu as celu
from e3any.nn import change_max_degree_or_type as change_max_degree_or_type
from e3any.nn import cosine_cutoff as cosine_cutoff
from e3any.nn import edge_frame as edge_frame
from e3any.nn import elu as elu
from e3any.nn import even_degree_mask as even_degree_mask
from e3any.nn import exponential_bernstein as exponential_bernstein
from e3any.nn import exponential_chebyshev as exponential_chebyshev
from e3any.nn import exponential_fourier as exponential_fourier
from e3any.nn import exponential_gaussian as exponential_gaussian
from e3any.nn import exponential_mapping as exponential_mapping
from e3any.nn import from_frame as from_frame
from e3any.nn import from_irreps as from_irreps
from e3any.nn import gate as gate
from e3any.nn import gelu as gelu
from e3any.nn import hard_silu as hard_silu
from e3any.nn import hard_swish as hard_swish
from e3any.nn import hard_tanh as hard_tanh
from e3any.nn import initializers as initializers
from e3any.nn import leaky_relu as leaky_relu
from e3any.nn import mish as mish
from e3any.nn import norm_activation as norm_activation
from e3any.nn import odd_degree_mask as odd_degree_mask
from e3any.nn import polynomial_cutoff as polynomial_cutoff
from e3any.nn import pool as pool
from e3any.nn import reciprocal_bernstein as reciprocal_bernstein
from e3any.nn import reciprocal_chebyshev as reciprocal_chebyshev
from e3any.nn import reciprocal_fourier as reciprocal_fourier
from e3any.nn import reciprocal_gaussian as reciprocal_gaussian
from e3any.nn import reciprocal_mapping as reciprocal_mapping
from e3any.nn import rectangular_window as rectangular_window
from e3any.nn import reflect as reflect
from e3any.nn import relu as relu
from e3any.nn import relu6 as relu6
from e3any.nn import rotate as rotate
from e3any.nn import selu as selu
from e3any.nn import serf as serf
from e3any.nn import shifted_softplus as shifted_softplus
from e3any.nn import silu as silu
from e3any.nn import sinc as sinc
from e3any.nn import smooth_cutoff as smooth_cutoff
from e3any.nn import smooth_damping as smooth_damping
from e3any.nn import smooth_switch as smooth_switch
from e3any.nn import smooth_window as smooth_window
from e3any.nn import soft_sign as soft_sign
from e3any.nn import swish as swish
from e3any.nn import to_frame as to_frame
from e3any.nn import to_irreps as to_irreps
from e3any.nn import triangular_window as triangular_window
from e3any.nn import xplor_cutoff as xplor_cutoff
from e3any.nn import zbl_repulsion as zbl_repulsion

class BatchNorm(LayerModule):
    r"""Normalise every feature of every irrep by its mean square over a batch; scalars are centred as well."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        momentum: float = ...,
        epsilon: float = ...,
        use_bias: bool = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(
        self,
        inputs: ArrayLike,
        *,
        rngs: nnx.Rngs | None = ...,
        use_running_average: bool | None = ...,
        where: ArrayLike | None = ...,
    ) -> jax.Array: ...
    @overload
    def __call__(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        rngs: nnx.Rngs | None = ...,
        use_running_average: bool | None = ...,
        where: ArrayLike | None = ...,
    ) -> dict[str, jax.Array]: ...

class BesselBasis(LayerModule):
    r"""Basis functions of displacement vectors: spherical Bessel functions with learned frequencies times harmonics."""
    def __init__(self, limit: float = ..., param_dtype: Any = ..., *, rngs: nnx.Rngs) -> None: ...
    def __call__(self, r: ArrayLike, *, rngs: nnx.Rngs | None = ..., num: int, **options: Any) -> Any: ...

class Dense(LayerModule):
    r"""A linear map of features, with its own kernel for every degree and parity."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        features: int | Irreps,
        use_bias: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...) -> dict[str, jax.Array]: ...

class Dropout(LayerModule):
    r"""Set random irreps to zero in training."""
    def __init__(self, inputs: Layout | Irreps, /, rate: float, *, rngs: nnx.Rngs) -> None: ...
    @overload
    def __call__(
        self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ..., deterministic: bool | None = ...
    ) -> jax.Array: ...
    @overload
    def __call__(
        self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ..., deterministic: bool | None = ...
    ) -> dict[str, jax.Array]: ...

class Embed(LayerModule):
    r"""Learned scalar features for integers, such as atomic numbers."""
    def __init__(
        self,
        num_embeddings: int,
        features: int | Irreps,
        dtype: Any = ...,
        param_dtype: Any = ...,
        embedding_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...

class ExponentialBasis(LayerModule):
    r"""Basis functions of displacement vectors, with a learned rate of the exponential mapping."""
    def __init__(self, initial_gamma: float = ..., param_dtype: Any = ..., *, rngs: nnx.Rngs) -> None: ...
    def __call__(
        self, r: ArrayLike, *, rngs: nnx.Rngs | None = ..., radial_fn: Callable[..., ArrayLike], **options: Any
    ) -> Any: ...

class FusedTensor(LayerModule):
    r"""Couple two features by products of matrices."""
    def __init__(
        self,
        inputs1: Layout | Irreps,
        inputs2: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(self, inputs1: ArrayLike, inputs2: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...

class Gate(LayerModule):
    r"""Activate scalars, and gate everything else by functions of a linear map of the scalars."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        activation: Any = ...,
        gate_activation: Any = ...,
        use_bias: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...) -> dict[str, jax.Array]: ...

class JointRMSNorm(LayerModule):
    r"""Divide all features of a sample by one root mean square, which keeps the ratios of its irreps."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        epsilon: float = ...,
        centre: bool = ...,
        balance: bool = ...,
        use_bias: bool = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...) -> dict[str, jax.Array]: ...

class LayerNorm(LayerModule):
    r"""Normalise the features of every degree and parity; those of scalars are centred as well."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        epsilon: float = ...,
        use_bias: bool = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...) -> dict[str, jax.Array]: ...

class MessagePass(LayerModule):
    r"""Sum the products of neighbours' features with learned filters."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        basis: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(
        self,
        inputs: ArrayLike,
        basis: ArrayLike | FactoredBasis | None = ...,
        weights: ArrayLike | None = ...,
        *,
        rngs: nnx.Rngs | None = ...,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> jax.Array: ...

class MultiHeadAttention(LayerModule):
    r"""Sum the products of neighbours' features with learned filters, weighted by attention."""
    @overload
    def __init__(
        self,
        inputs_q: Layout | Irreps,
        inputs_kv: Layout | Irreps,
        basis: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        num_heads: int = ...,
        qkv_features: int | None = ...,
        out_features: int | None = ...,
        use_relative_positional_encoding_qk: bool = ...,
        use_relative_positional_encoding_v: bool = ...,
        query_kernel_init: Any = ...,
        query_bias_init: Any = ...,
        query_use_bias: bool = ...,
        key_kernel_init: Any = ...,
        key_bias_init: Any = ...,
        key_use_bias: bool = ...,
        value_kernel_init: Any = ...,
        value_bias_init: Any = ...,
        value_use_bias: bool = ...,
        output_kernel_init: Any = ...,
        output_bias_init: Any = ...,
        output_use_bias: bool = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __init__(
        self,
        inputs_q: Layout | Irreps,
        inputs_kv: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        num_heads: int = ...,
        qkv_features: int | None = ...,
        out_features: int | None = ...,
        use_relative_positional_encoding_qk: bool = ...,
        use_relative_positional_encoding_v: bool = ...,
        query_kernel_init: Any = ...,
        query_bias_init: Any = ...,
        query_use_bias: bool = ...,
        key_kernel_init: Any = ...,
        key_bias_init: Any = ...,
        key_use_bias: bool = ...,
        value_kernel_init: Any = ...,
        value_bias_init: Any = ...,
        value_use_bias: bool = ...,
        output_kernel_init: Any = ...,
        output_bias_init: Any = ...,
        output_use_bias: bool = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(
        self,
        inputs_q: ArrayLike,
        inputs_kv: ArrayLike,
        basis: ArrayLike | FactoredBasis | None = ...,
        cutoff_value: ArrayLike | None = ...,
        *,
        rngs: nnx.Rngs | None = ...,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> jax.Array: ...

class NormActivation(LayerModule):
    r"""Activate the norm of every irrep, and keep its direction; see :func:`e3any.nn.norm_activation`."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        activation: Any = ...,
        use_bias: bool = ...,
        normalize: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...) -> dict[str, jax.Array]: ...

class PathMessagePass(LayerModule):
    r"""Sum couplings of neighbours with harmonics, weighted for every edge, path and feature by a network."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        basis: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        hidden: Sequence[int] = ...,
        activation: Any = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        features: int | Irreps | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(
        self,
        inputs: ArrayLike,
        basis: FactoredBasis,
        *,
        rngs: nnx.Rngs | None = ...,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> jax.Array: ...
    @overload
    def __call__(
        self,
        inputs: Mapping[str, ArrayLike],
        basis: FactoredBasis,
        *,
        rngs: nnx.Rngs | None = ...,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> dict[str, jax.Array]: ...

class RMSNorm(LayerModule):
    r"""Divide the features of every degree and parity by their root mean square."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        epsilon: float = ...,
        use_scale: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        scale_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(self, inputs: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...) -> dict[str, jax.Array]: ...

class Residual(LayerModule):
    r"""Add the input of a layer to its output."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        layer: Layer,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, *others: Any, rngs: nnx.Rngs | None = ..., **options: Any) -> jax.Array: ...
    @overload
    def __call__(
        self, inputs: Mapping[str, ArrayLike], *others: Any, rngs: nnx.Rngs | None = ..., **options: Any
    ) -> dict[str, jax.Array]: ...

class SO2Dense(LayerModule):
    r"""A linear map of features in the frames of edges, with a kernel for every order m."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        features: int,
        max_degree: int | None = ...,
        max_order: int | None = ...,
        include_pseudotensors: bool | None = ...,
        use_bias: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(
        self, inputs: ArrayLike, scale: ArrayLike | None = ..., *, rngs: nnx.Rngs | None = ...
    ) -> jax.Array: ...

class ScaleShift(LayerModule):
    r"""Scale and shift invariants of samples by numbers of their categories, such as energies of atoms of each species."""
    def __init__(
        self,
        num_embeddings: int,
        scale: Any = ...,
        shift: Any = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(self, inputs: ArrayLike, categories: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...

class SelfAttention(LayerModule):
    r"""Attend to neighbours, with queries, keys and values from the same features."""
    @overload
    def __init__(
        self,
        inputs: Layout | Irreps,
        basis: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        num_heads: int = ...,
        qkv_features: int | None = ...,
        out_features: int | None = ...,
        use_relative_positional_encoding_qk: bool = ...,
        use_relative_positional_encoding_v: bool = ...,
        query_kernel_init: Any = ...,
        query_bias_init: Any = ...,
        query_use_bias: bool = ...,
        key_kernel_init: Any = ...,
        key_bias_init: Any = ...,
        key_use_bias: bool = ...,
        value_kernel_init: Any = ...,
        value_bias_init: Any = ...,
        value_use_bias: bool = ...,
        output_kernel_init: Any = ...,
        output_bias_init: Any = ...,
        output_use_bias: bool = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        use_basis_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        num_heads: int = ...,
        qkv_features: int | None = ...,
        out_features: int | None = ...,
        use_relative_positional_encoding_qk: bool = ...,
        use_relative_positional_encoding_v: bool = ...,
        query_kernel_init: Any = ...,
        query_bias_init: Any = ...,
        query_use_bias: bool = ...,
        key_kernel_init: Any = ...,
        key_bias_init: Any = ...,
        key_use_bias: bool = ...,
        value_kernel_init: Any = ...,
        value_bias_init: Any = ...,
        value_use_bias: bool = ...,
        output_kernel_init: Any = ...,
        output_bias_init: Any = ...,
        output_use_bias: bool = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(
        self,
        inputs: ArrayLike,
        basis: ArrayLike | FactoredBasis | None = ...,
        cutoff_value: ArrayLike | None = ...,
        *,
        rngs: nnx.Rngs | None = ...,
        adj_idx: ArrayLike | None = ...,
        where: ArrayLike | None = ...,
        dst_idx: ArrayLike | None = ...,
        src_idx: ArrayLike | None = ...,
        num_segments: int | None = ...,
        indices_are_sorted: bool = ...,
    ) -> jax.Array: ...

class SpeciesDense(LayerModule):
    r"""A linear map of features, with its own kernels for every category of samples, such as the species of atoms."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        num_embeddings: int,
        features: int | Irreps,
        use_bias: bool = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        bias_init: Any = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, categories: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(
        self, inputs: Mapping[str, ArrayLike], categories: ArrayLike, *, rngs: nnx.Rngs | None = ...
    ) -> dict[str, jax.Array]: ...

class SphereActivation(LayerModule):
    r"""Apply a function to features as functions on the sphere, at the points of a grid."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        activation: Any = ...,
        grid_precision: int | None = ...,
        normalization: Any = ...,
        cartesian_order: bool | None = ...,
        *,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...

class SymmetricContraction(LayerModule):
    r"""Sum all couplings of up to ``correlation`` copies of a feature, with weights for every category."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        num_embeddings: int,
        correlation: int = ...,
        max_degree: int | None = ...,
        include_pseudotensors: bool | None = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        weight_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs: ArrayLike, categories: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(
        self, inputs: Mapping[str, ArrayLike], categories: ArrayLike, *, rngs: nnx.Rngs | None = ...
    ) -> dict[str, jax.Array]: ...

class Tensor(LayerModule):
    r"""Couple two features, with a learned weight for every coupling path and feature."""
    def __init__(
        self,
        inputs1: Layout | Irreps,
        inputs2: Layout | Irreps,
        /,
        max_degree: int | None = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    @overload
    def __call__(self, inputs1: ArrayLike, inputs2: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
    @overload
    def __call__(
        self, inputs1: Mapping[str, ArrayLike], inputs2: Mapping[str, ArrayLike], *, rngs: nnx.Rngs | None = ...
    ) -> dict[str, jax.Array]: ...

class TensorDense(LayerModule):
    r"""Couple two linear maps of the same features."""
    def __init__(
        self,
        inputs: Layout | Irreps,
        /,
        features: int | None = ...,
        max_degree: int | None = ...,
        use_bias: bool = ...,
        include_pseudotensors: bool = ...,
        cartesian_order: bool | None = ...,
        use_fused_tensor: bool | None = ...,
        dtype: Any = ...,
        param_dtype: Any = ...,
        precision: Any = ...,
        dense_kernel_init: Any = ...,
        dense_bias_init: Any = ...,
        tensor_kernel_init: Any = ...,
        *,
        use_parity: bool | None = ...,
        rngs: nnx.Rngs,
    ) -> None: ...
    def __call__(self, inputs: ArrayLike, *, rngs: nnx.Rngs | None = ...) -> jax.Array: ...
